"""The owner of a connection to the loopback page, to which every user of the machine can connect.

Another user who learns a login's address could consent with an account of their own, and bring that answer.
"""

import os
import socket
import sys

_CONNECTING = "02"  # TCP_SYN_SENT (include/net/tcp_states.h)
_NO_INODE = "0"
_MAPPED = "0000000000000000FFFF0000"
"""Before an IPv4 address in a socket of IPv6's (RFC 4291, 2.5.5.2), as the kernel prints it."""
_TRIES = 2
"""The kernel prints its table in pieces, so that a row can be missed while others change."""


def is_own(visitor: tuple[str, int], here: tuple[str, int]) -> bool:
    """Whether the program at `visitor`, connected to `here`, is known to be this user's or root's.

    Always True on systems other than Linux, where it cannot be known.
    """
    return sys.platform != "linux" or uid_of(visitor, here) in (os.getuid(), 0)


def can_identify() -> bool:
    """Whether owners can be identified, tried with a connection of this process."""
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        try:
            with (
                socket.create_server((address, 0), family=family) as server,
                socket.create_connection(server.getsockname()[:2]) as visitor,
            ):
                return is_own(visitor.getsockname()[:2], server.getsockname()[:2])
        except OSError:  # a machine without IPv4, or without IPv6
            continue
    return False


def uid_of(visitor: tuple[str, int], here: tuple[str, int]) -> int | None:
    """The user who owns the socket at `visitor` that is connected to `here`, as /proc/net/tcp has it (proc(5)).

    None where the kernel does not tell. For a socket that its program has closed it does not: inode and uid are then
    printed as 0, whoever it was.
    """
    ends = {(own, other) for own in _printed(*visitor) for other in _printed(*here)}
    for table in ("/proc/net/tcp", "/proc/net/tcp6") * _TRIES:
        try:
            with open(table, encoding="ascii") as rows:
                for row in rows:
                    fields = row.split()
                    if (fields[1], fields[2]) in ends and fields[3] != _CONNECTING:
                        return int(fields[7]) if fields[9] != _NO_INODE else None
        except OSError:  # no IPv6, or no /proc
            continue
    return None


def _printed(host: str, port: int) -> tuple[str, ...]:
    """An address as in the kernel's tables: 32-bit words in the machine's byte order, in hexadecimal."""
    packed = socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
    words = (int.from_bytes(packed[at : at + 4], sys.byteorder) for at in range(0, len(packed), 4))
    shown = "".join(f"{word:08X}" for word in words)
    return tuple(f"{address}:{port:04X}" for address in (shown, _MAPPED + shown)[: 2 if ":" not in host else 1])
