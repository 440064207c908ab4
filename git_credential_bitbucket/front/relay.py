"""The hot path: hand git's request to the daemon, and its reply to git. It parses neither.

Imports os, time (built in) and _socket, and of ours paths and errors; tests/front/test_imports.py holds it to that.
Everything that is not the plain case is `fallback`'s.
"""

import _socket
import os
import time

from git_credential_bitbucket import paths
from git_credential_bitbucket.errors import PlaceRefused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

OPERATIONS = frozenset({"get", "store", "erase"})
CAPABILITIES = b"version 0\ncapability state\n"
"""The answer to `capability`. Not authtype: git 2.46 to 2.53 then fails to push more than 1 MiB."""
ACKNOWLEDGED = b"ok=1\n"
"""The daemon's answer to a `store` or `erase` that is done; git throws it away."""

ANSWERED = "answered"
EMPTY = "empty"
ABSENT = "absent"
TIMEOUT = "timeout"
UNACKNOWLEDGED = "unacknowledged"
UNASKED = "unasked"
"""What became of a request: the daemon had nothing to offer, none listens, it kept silent until the time was up, it did
not say that a `store` or `erase` is done, or it has not been asked."""
RELAYED = "GIT_CREDENTIAL_BITBUCKET_RELAYED"
"""Set to one of these by the native relay (relay.c), which has done this module's part already."""

DAEMON = "GIT_CREDENTIAL_BITBUCKET_DAEMON"
OFF = frozenset({"off", "0", "false", "no"})
SECRET_VARIABLES = (
    "BITBUCKET_API_TOKEN",
    "BITBUCKET_ACCESS_TOKEN",
    "BITBUCKET_TOKEN",
    "BITBUCKET_CLIENT_SECRET",
    "BITBUCKET_OAUTH_CLIENT_SECRET",
)
"""Where a credential may stand in the environment, each also as `…_FILE`: it comes before the daemon."""

RELAY_TIMEOUT_S = 40.0
"""The daemon answers within 30 s, if with nothing: who waits longer waits for something that is stuck."""
DAEMON_TIMEOUT = b"35"
"""What git's own client sends as `timeout=`; the daemon has its own deadlines."""
MAX_REQUEST_BYTES = 1 << 20
"""wire.py's limit, without the cost of importing it; more is read only to see that it is too much."""
BUSY_RETRY_S = 0.005


def main(argv: "list[str]") -> int:
    """The executable: git's operations here, a person's verbs in cli/. Does not come back from the former."""
    try:
        if len(argv) == 2 and argv[1] in OPERATIONS:  # noqa: PLR2004 - git gives one word, the operation
            relay(argv[1])
            # Not by `return`: taking the interpreter down costs a millisecond, and there is nothing left to lose.
            os._exit(0)
        if argv[1:] == ["capability"]:
            write(1, CAPABILITIES)
            return 0
        from git_credential_bitbucket.front import verbs  # here, not above: a person's verbs cost a hundred times more

        return verbs.run(argv[1:])
    except KeyboardInterrupt:  # Ctrl-C reaches git and us alike; git says what there is to say
        os._exit(130)


def relay(operation: str) -> None:
    """Serve one request of git's, from standard input to standard output."""
    request = read_request()
    outcome = os.environ.pop(RELAYED, "")
    if not outcome:
        outcome = UNASKED
        if not is_special(os.environ):
            outcome, reply = ask_daemon(operation, request)
            if outcome == ANSWERED:
                if operation == "get":
                    write(1, reply)
                return
    from git_credential_bitbucket.front import fallback  # here, not above: an answer from the daemon does not need it

    fallback.run(operation, request, outcome)


def is_off(env: "Mapping[str, str]") -> bool:
    """Whether no daemon may run here."""
    return env.get(DAEMON, "").lower() in OFF


def is_special(env: "Mapping[str, str]") -> bool:
    """Whether the environment holds a credential of its own, or forbids the daemon."""
    if env.get(DAEMON):
        return True
    return any(env.get(name) or env.get(name + "_FILE") for name in SECRET_VARIABLES)


def ask_daemon(operation: str, request: bytes) -> tuple[str, bytes]:
    """What became of git's request, and the reply. What is wrong with the socket's place is `fallback`'s to say."""
    try:
        path = paths.socket_path(os.environ)
        outcome, reply = exchange(path, message(operation, request))
    except PlaceRefused:
        return ABSENT, b""
    if operation != "get" and outcome in (ANSWERED, EMPTY) and reply != ACKNOWLEDGED:
        outcome = UNACKNOWLEDGED
    return outcome, reply


def message(action: str, request: bytes) -> bytes:
    """A request on git-credential-cache's socket: `request` as git gave it, after the action."""
    return b"action=%b\ntimeout=%b\n%b" % (action.encode(), DAEMON_TIMEOUT, request)


def exchange(path: str, sent: bytes, seconds: float = RELAY_TIMEOUT_S) -> tuple[str, bytes]:
    """Send one request to the socket at `path`; returns ANSWERED, EMPTY, ABSENT or TIMEOUT, and the reply if answered.

    Raises `PlaceRefused` where somebody else could have put the socket there.
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
        try:
            connection.sendall(sent)
            connection.shutdown(_socket.SHUT_WR)
        except TimeoutError:
            raise
        except OSError:
            pass  # it did not want all of it, and may have said why
        reply = b""
        while chunk := receive(connection, deadline):
            reply += chunk
    except TimeoutError:
        return TIMEOUT, b""
    except OSError:  # cut off in the middle: nobody knows what it would have said
        return EMPTY, b""
    finally:
        connection.close()
    # git would take a password that was cut off in its middle.
    return (ANSWERED, reply) if reply.endswith(b"\n") else (EMPTY, b"")


def connect(connection: "_socket.socket", path: str, deadline: float) -> bool:
    """Whether somebody listens at `path`. Raises TimeoutError where nobody takes the connection in time."""
    connection.settimeout(max(deadline - time.monotonic(), 0.001))
    while True:
        try:
            connection.connect(path)
            return True
        except BlockingIOError:
            # Linux does not wait for a place in a full queue of connections where there is a time-out (unix(7)).
            if time.monotonic() > deadline:
                raise TimeoutError from None
            time.sleep(BUSY_RETRY_S)
        except TimeoutError:
            raise
        except OSError:
            return False


def receive(connection: "_socket.socket", deadline: float) -> bytes:
    """The next bytes, b"" at the end. Raises TimeoutError at the deadline, however slowly bytes drip in."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    connection.settimeout(left)
    return connection.recv(65536)


def read_request() -> bytes:
    """Standard input up to its end, or to a blank line: some programs keep the pipe open after it."""
    data = b""
    while len(data) <= MAX_REQUEST_BYTES and b"\n\n" not in data[-65540:] and not data.startswith(b"\n"):
        try:
            chunk = os.read(0, 65536)
        except OSError:  # there is no standard input
            break
        if not chunk:
            break
        data += chunk
    return data


def write(descriptor: int, data: bytes) -> None:
    """Write all of `data`; a reader that went away does not need it."""
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    except OSError:
        return
