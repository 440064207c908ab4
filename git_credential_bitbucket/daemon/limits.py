"""What peers may cost, all of them together and each by itself. Imports nothing of ours."""

from typing import NamedTuple

BACKLOG = 1024
"""Connections that queue at the socket while the loop is busy or the daemon restarts."""
ACCEPT_BATCH = 64
"""Connections taken before those that are open get their turn again."""
READ_BYTES = 16384
READS_PER_TURN = 8
"""What one peer may send before the others get their turn."""
MAX_HEADER_BYTES = 1024
"""`action=` and `timeout=`, which come before git's own lines."""
MAX_DISCARDED_BYTES = 16 << 20
"""A request too large is read to its end, for closing with unread input resets the connection; but not for ever."""
MAX_BUFFERED_BYTES = 16 << 20
"""Unfinished requests of all peers together: the one that holds most of it is dropped."""
SWEEP_INTERVAL_S = 1.0
"""How precisely deadlines are kept."""


MAX_CLIENTS = 1024
RESERVED_FILES = 64
"""Descriptors that connections leave alone: for a renewal's, the vault's and git's own."""
MIN_CLIENTS = 16
PEER_TIMEOUT_S = 10.0


class Limits(NamedTuple):
    """Of one peer. Tests set them lower."""

    clients: int = MAX_CLIENTS
    """Connections at once. git runs one helper at a time per process; a thousand is a very busy build machine."""
    peer_s: float = PEER_TIMEOUT_S
    """For sending the whole request, and again for reading the answer: a few hundred bytes each, from and to a pipe."""
    answer_s: float = 30.0
    """For a job (a refresh, the vault's lock, the keyring); then `give_up` answers. Front ends wait longer."""


def max_clients(open_files: int) -> int:
    """How many connections may be open where the system allows so many descriptors."""
    return max(MIN_CLIENTS, min(MAX_CLIENTS, open_files - RESERVED_FILES))
