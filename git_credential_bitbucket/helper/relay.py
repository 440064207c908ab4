"""The hot path: passes git's request to the daemon, and its reply to git. Parses neither.

Imports os, paths, and client/ipc.py, which is on the hot path too; tests/helper/test_imports.py pins the list.
All other cases are `fallback`'s.
"""

import os

from git_credential_bitbucket import paths
from git_credential_bitbucket.client import ipc
from git_credential_bitbucket.errors import InsecurePath

OPERATIONS = frozenset({"get", "store", "erase"})
CAPABILITIES = b"version 0\ncapability state\n"
"""The answer to `capability`. Not authtype: git 2.46 to 2.53 then fails to push more than 1 MiB."""
RELAYED = "GIT_CREDENTIAL_BITBUCKET_RELAYED"
"""Set to an outcome by the native relay (relay.c), which has asked the daemon already."""

DAEMON_PROCESS = "daemon-process"
"""The word by which the native relay runs a daemon (`daemon_launcher.SPAWNED`), not a command for users."""

MAX_REQUEST_BYTES = 1 << 20
"""git_protocol.py's limit, without the cost of importing it."""


def main(argv: "list[str]") -> int:
    """The executable: git's operations here, commands in cli/. Does not return from the former."""
    try:
        paths.adopt_second_names(os.environ)
        if argv[1:2] in (["-v"], ["--verbose"]) and argv[2:] and argv[2] in OPERATIONS:
            os.environ.setdefault(ipc.TRACE, "1")  # git appends the operation to the configured helper
            del argv[1]
        if len(argv) == 2 and argv[1] in OPERATIONS:  # noqa: PLR2004 - git gives one word, the operation
            relay(argv[1])
            # Not by `return`: the interpreter's shutdown costs a millisecond.
            os._exit(0)
        if argv[1:] == ["capability"]:
            write(1, CAPABILITIES)
            return 0
        if argv[1:2] == [DAEMON_PROCESS]:
            return run_daemon(argv[2:])
        return run_command(argv[1:])
    except KeyboardInterrupt:  # Ctrl-C reaches git as well, which reports it
        os._exit(130)


def run_command(arguments: "list[str]") -> int:
    """Run a command of the command line; returns the exit code. Silent for an operation that only a later git knows."""
    from git_credential_bitbucket.client.activate import third_party  # lazy: click costs a hundred times a `get`

    third_party()
    from git_credential_bitbucket.cli import app  # lazy: as above

    # gitcredentials(7): a helper ignores operations that it does not know. git gives it a pipe to read from; at a
    # terminal a mistyped command is reported always, elsewhere where the word resembles one of ours.
    if len(arguments) == 1 and not os.isatty(0) and not (app.is_command(arguments[0]) or app.suggest(arguments[0])):
        return 0
    return app.main(arguments)


def run_daemon(arguments: "list[str]") -> int:
    """Run a daemon in this process, as `daemon_launcher.command` does; returns the exit code."""
    from git_credential_bitbucket.client.activate import third_party  # lazy: a daemon is started once a day

    third_party()
    from git_credential_bitbucket.daemon import __main__ as daemon  # lazy: as above

    return daemon.main(arguments)


def relay(operation: str) -> None:
    """Serve one request of git, from standard input to standard output."""
    request = read_request()
    outcome = os.environ.pop(RELAYED, "")
    if not outcome:
        outcome = ipc.UNASKED
        if not ipc.needs_fallback(os.environ):
            outcome, reply = ask_daemon(operation, request)
            if outcome == ipc.ANSWERED:
                if operation == "get":
                    write(1, reply[:-1])  # without the blank line, which is between the daemon and us
                return
    from git_credential_bitbucket.helper import fallback  # lazy: an answer from the daemon does not need it

    write(1, fallback.run(operation, request, outcome))


def ask_daemon(operation: str, request: bytes) -> "tuple[ipc.Outcome, bytes]":
    """The outcome of git's request, and the reply. `fallback` reports an insecure path."""
    try:
        message = ipc.format_request(operation, request, paths.named_vault_id(os.environ))
        outcome: ipc.Outcome = ipc.ABSENT
        reply = b""
        for path in paths.socket_candidates(os.environ):
            if outcome == ipc.ABSENT:
                outcome, reply = ipc.send_request(path, message)
    except InsecurePath:
        return ipc.ABSENT, b""
    if operation != "get" and outcome in (ipc.ANSWERED, ipc.EMPTY) and reply != ipc.ACKNOWLEDGED:
        outcome = ipc.UNACKNOWLEDGED
    if operation == "get" and outcome == ipc.ANSWERED and not reply.endswith(ipc.END_OF_ANSWER):
        outcome = ipc.UNACKNOWLEDGED
    return outcome, reply


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
    """Write all of `data`, or what the reader takes."""
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    except OSError:
        return
