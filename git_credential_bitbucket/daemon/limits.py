"""Limits of peers, of all together and of each. Imports nothing of ours."""

from typing import NamedTuple

BACKLOG = 1024
"""Connections that queue at the socket while the loop is busy or the daemon restarts."""
ACCEPT_BATCH = 64
"""Connections accepted before open ones are served again."""
READ_BYTES = 16384
READS_PER_TURN = 8
"""Reads from one peer before others are served."""
MAX_HEADER_BYTES = 1024
"""`action=` and `timeout=`, which come before git's own lines."""
MAX_DISCARDED_BYTES = 16 << 20
"""A request that is too large is read up to this: closing with unread input resets the connection."""
MAX_BUFFERED_BYTES = 16 << 20
"""Unfinished requests of all peers together; past it, the largest one's connection is closed."""
SWEEP_INTERVAL_S = 1.0
"""The precision of deadlines."""


MAX_CLIENTS = 1024
RESERVED_FILES = 64
"""Descriptors reserved for renewals, the vault and git."""
MIN_CLIENTS = 16
PEER_TIMEOUT_S = 10.0


class Limits(NamedTuple):
    """The limits of one peer; lower in tests."""

    clients: int = MAX_CLIENTS
    """Connections at once. git runs one helper at a time per process; a thousand is a very busy build machine."""
    peer_s: float = PEER_TIMEOUT_S
    """For sending the whole request, and again for reading the answer: a few hundred bytes each, from and to a pipe."""
    answer_s: float = 30.0
    """For a job (a renewal, the vault's lock, the keyring); then `give_up` answers. Clients wait longer."""


def max_clients(open_files: int) -> int:
    """The number of connections that may be open where the system allows `open_files` descriptors."""
    return max(MIN_CLIENTS, min(MAX_CLIENTS, open_files - RESERVED_FILES))
