"""Whose program has connected to the loopback page: every user of the machine can, and a log-in's address is no secret.

The address, with its state, stands among the arguments of whatever opens the browser, where other users may read it;
one of them could go through Bitbucket's consent in an account of their own, and bring that answer.
"""

import os
import socket
import sys

ESTABLISHED = "01"
_MAPPED = "0000000000000000FFFF0000"
"""Before an IPv4 address in a socket of IPv6's (RFC 4291, 2.5.5.2), as the kernel prints it."""


def is_welcome(visitor: tuple[str, int], here: tuple[str, int]) -> bool:
    """Whether the program at `visitor`, connected to `here`, is this user's or root's; also where nobody can say.

    Nobody can on other systems than Linux, and where the connection comes from another network namespace.
    """
    uid = uid_of(visitor, here) if sys.platform == "linux" else None
    return uid in (None, os.getuid(), 0)


def uid_of(visitor: tuple[str, int], here: tuple[str, int]) -> int | None:
    """The user who owns the socket at `visitor` that is connected to `here`, as /proc/net/tcp has it (proc(5))."""
    ends = {(own, other) for own in _printed(*visitor) for other in _printed(*here)}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table, encoding="ascii") as rows:
                for row in rows:
                    fields = row.split()
                    if fields[3] == ESTABLISHED and (fields[1], fields[2]) in ends:
                        return int(fields[7])
        except OSError:  # no IPv6, or no /proc
            continue
    return None


def _printed(host: str, port: int) -> tuple[str, ...]:
    """An address as the kernel's tables have it: words of 32 bits in the machine's byte order, in hexadecimal."""
    packed = socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
    words = (int.from_bytes(packed[at : at + 4], sys.byteorder) for at in range(0, len(packed), 4))
    shown = "".join(f"{word:08X}" for word in words)
    return tuple(f"{address}:{port:04X}" for address in (shown, _MAPPED + shown)[: 2 if ":" not in host else 1])
