"""One request on the daemon's socket, and whether the environment precedes the daemon or forbids it. Parses nothing.

The protocol is git-credential-cache's own. On the hot path: imports os, sys, time (built in) and _socket, and of ours
paths and errors; tests/helper/test_imports.py pins the list.
"""

import _socket
import os
import sys
import time

from git_credential_bitbucket import paths
from git_credential_bitbucket.errors import InsecurePath

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final, Literal

    Outcome = Literal["answered", "empty", "absent", "timeout", "unacknowledged", "unasked"]

ACKNOWLEDGED = b"ok=1\n"
"""The daemon's answer to a `store` or `erase` that is done; git throws it away."""

ANSWERED: "Final" = "answered"
EMPTY: "Final" = "empty"
ABSENT: "Final" = "absent"
TIMEOUT: "Final" = "timeout"
UNACKNOWLEDGED: "Final" = "unacknowledged"
UNASKED: "Final" = "unasked"
"""The outcomes of a request beside an answer: an empty answer; no daemon listens; no answer before the time-out; a
`store` or `erase` not acknowledged, or an answer without its end; not sent."""
END_OF_ANSWER = b"\n\n"
"""The end of a daemon's answer to `get`. Neither git's own cache daemon nor the release 0.1.0 writes the blank line,
and other clients read no further."""

DAEMON = "GIT_CREDENTIAL_BITBUCKET_DAEMON"
TRACE = "GIT_CREDENTIAL_BITBUCKET_TRACE"
"""Each decision is reported (`messages.trace`), so the relay does not ask the daemon itself."""
OUTER = "GIT_CREDENTIAL_BITBUCKET_OUTER"
"""Within `exec`: the sockets of the private daemons around this one, nearest first, a colon between."""
SECRET_VARIABLES = (
    "BITBUCKET_API_TOKEN",
    "BITBUCKET_ACCESS_TOKEN",
    "BITBUCKET_TOKEN",
    "BITBUCKET_CLIENT_SECRET",
    "BITBUCKET_OAUTH_CLIENT_SECRET",
)
"""Variables that may hold a credential, each also as `…_FILE` and `…_FROM`: it comes before the daemon."""
TOKENS_FILE = "BITBUCKET_TOKENS_FILE"
"""Names a file with tokens, which precede the daemon, too."""

_SECTION = "credentialbitbucket."
"""config.SECTION, without the cost of importing it."""
RELAY_TIMEOUT_S = 40.0
"""The daemon answers within 30 s; after this it is stuck."""
DAEMON_TIMEOUT = b"35"
"""What git's own client sends as `timeout=`; the daemon has its own deadlines."""
BUSY_RETRY_S = 0.005
_UCRED_BYTES, _XUCRED_BYTES = 12, 76
_SOL_LOCAL, _LOCAL_PEERCRED = 0, 1  # sys/un.h on macOS


def is_daemon_off(env: "Mapping[str, str]") -> bool:
    """Whether the daemon is switched off. Raises `SettingsError` where the variable is neither on nor off."""
    from git_credential_bitbucket import config  # lazy: no part of an answer by the daemon

    return not config.is_on(env, DAEMON, default=True)


def needs_fallback(env: "Mapping[str, str]") -> bool:
    """Whether the environment holds a credential, switches the daemon off, names more than one, or wants a trace."""
    if env.get(DAEMON) or env.get(TRACE) or env.get(OUTER) or env.get(TOKENS_FILE) or names_settings(env):
        return True
    return any(env.get(name) or env.get(name + "_FILE") or env.get(name + "_FROM") for name in SECRET_VARIABLES)


def names_settings(env: "Mapping[str, str]") -> bool:
    """Whether git's configuration by variables (`git -c`) may hold settings of ours, which count for one command."""
    if _SECTION in env.get("GIT_CONFIG_PARAMETERS", "").lower():
        return True
    names = [name for name in env if name.startswith("GIT_CONFIG_KEY_")] if "GIT_CONFIG_COUNT" in env else []
    return any(env[name].lower().startswith(_SECTION) for name in names)


def format_request(action: str, request: bytes, vault_id: str = "") -> bytes:
    """A request on git-credential-cache's socket: `request` as git gave it, after the action.

    A daemon that has another vault than `vault_id` refuses it; an empty one is any.
    """
    named = b"vault=%b\n" % vault_id.encode() if vault_id else b""
    return b"action=%b\ntimeout=%b\n%b%b" % (action.encode(), DAEMON_TIMEOUT, named, request)


def send_request(path: str, sent: bytes, seconds: float = RELAY_TIMEOUT_S) -> "tuple[Outcome, bytes]":
    """Send one request to the socket at `path`; returns ANSWERED, EMPTY, ABSENT or TIMEOUT, and the reply if answered.

    Raises `InsecurePath` where another user could have made the socket, or listens.
    """
    deadline = time.monotonic() + seconds
    try:
        paths.check_private_dir(os.path.dirname(path))
    except OSError:
        return ABSENT, b""
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        if not connect(connection, path, deadline):
            return ABSENT, b""
        check_peer(connection)
        try:
            connection.sendall(sent)
            connection.shutdown(_socket.SHUT_WR)
        except TimeoutError:
            raise
        except OSError:
            pass  # it read only a part, and may have replied
        chunks = []
        while chunk := receive(connection, deadline):
            chunks.append(chunk)
    except TimeoutError:
        return TIMEOUT, b""
    except OSError:  # cut off
        return EMPTY, b""
    finally:
        connection.close()
    reply = b"".join(chunks)
    # git would take a password that was cut off in its middle.
    return (ANSWERED, reply) if reply.endswith(b"\n") else (EMPTY, b"")


def connect(connection: "_socket.socket", path: str, deadline: float) -> bool:
    """Connect to `path`; False where no process listens. Raises TimeoutError where none accepts in time."""
    connection.settimeout(max(deadline - time.monotonic(), 0.001))
    while True:
        try:
            connection.connect(path)
            return True
        except BlockingIOError:
            # Linux does not wait for a full queue of connections where there is a time-out (unix(7)).
            if time.monotonic() > deadline:
                raise TimeoutError from None
            time.sleep(BUSY_RETRY_S)
        except TimeoutError:
            raise
        except OSError:
            return False


def check_peer(connection: "_socket.socket") -> None:
    """Raise `InsecurePath` unless this user or root listens: the directory may have been replaced since its check."""
    if sys.platform == "darwin":
        credentials = connection.getsockopt(
            _SOL_LOCAL, _LOCAL_PEERCRED, _XUCRED_BYTES
        )  # struct xucred: version, uid, …
    else:
        credentials = connection.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, _UCRED_BYTES)  # pid, uid, gid
    uid = int.from_bytes(credentials[4:8], sys.byteorder)
    if uid not in (os.getuid(), 0):
        raise InsecurePath(
            f"another user's process (user id {uid}) listens at the daemon's socket",
            hint="stop it, or set GIT_CREDENTIAL_BITBUCKET_SOCKET to a path in a directory of your own",
        )


def receive(connection: "_socket.socket", deadline: float) -> bytes:
    """The next bytes, b"" at the end. Raises TimeoutError at the deadline, however slowly bytes drip in."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    connection.settimeout(left)
    return connection.recv(65536)
