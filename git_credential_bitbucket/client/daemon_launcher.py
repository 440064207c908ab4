"""Starts the daemon: out of git's process group, session and pipes, and told what it must know by its standard input.

Owns what of the caller's environment the daemon gets to see. Returns when the daemon listens.
"""

import fcntl
import os
import select
import sys
import time
import warnings

from git_credential_bitbucket import git_protocol, paths
from git_credential_bitbucket.client import ipc
from git_credential_bitbucket.errors import DaemonDisabled, DaemonUnavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping
    from typing import NoReturn

START_TIMEOUT_S = 15.0
"""From fork to listening: 0.2 s, and 3 s more where a keyring does not answer; the rest is for a machine under load."""
READY = b"ready\n"
NO_DOCUMENT = b"{}"
"""With this a daemon ends: it is not wanted after all."""
GUARD_DESCRIPTOR = 3
"""Where the daemon finds the pipe whose end it is to leave with."""

CONFIG_PREFIX = "GIT_CONFIG_"
"""git's configuration by variables: for a daemon that serves one command. One that serves all drops it."""
DROPPED_VARIABLES = frozenset({"GIT_CREDENTIAL_BITBUCKET_TRACE", "GIT_CREDENTIAL_BITBUCKET_RELAYED"})
"""A trace is for one command, too; the other is between relay and fallback."""
PASSED_VARIABLES = frozenset(
    {
        *("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR"),  # where things lie
        *("USER", "LOGNAME", "PATH"),  # PATH: git, by its absolute path
        *("LANG", "LC_ALL", "LC_CTYPE"),  # the keyring's dialogue
        *(
            "DBUS_SESSION_BUS_ADDRESS",
            "DISPLAY",
            "WAYLAND_DISPLAY",
            "XAUTHORITY",
        ),  # the keyring, and where it shows itself
        *("XDG_CURRENT_DESKTOP", "XDG_SESSION_TYPE", "KDE_FULL_SESSION", "PYTHON_KEYRING_BACKEND"),  # which keyring
        *(
            "http_proxy",
            "https_proxy",
            "HTTPS_PROXY",
            "all_proxy",
            "ALL_PROXY",
            "no_proxy",
            "NO_PROXY",
        ),  # as curl reads them
        *("GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "GIT_SSL_NO_VERIFY", "SSL_CERT_FILE", "SSL_CERT_DIR"),  # whom TLS trusts
        *("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"),  # git's libraries, see INTERPRETER
    }
)
"""What else of the caller's environment the daemon gets to know. No token of the caller's, and no GIT_DIR."""
INTERPRETER_VARIABLES = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
"""What the interpreter itself may need before it can read anything (GitHub's setup-python, for one). All the rest comes
by pipe, for /proc/PID/environ shows for ever what a process was started with."""

_START_CODE = (
    "import sys; sys.path.append(sys.argv.pop(1));"
    "from git_credential_bitbucket.client.activate import third_party; third_party();"
    "from git_credential_bitbucket.daemon.__main__ import main; sys.exit(main(sys.argv[1:]))"
)


def check_allowed(env: "Mapping[str, str]") -> None:
    """Raise `DaemonDisabled` where the environment says that no daemon may run."""
    if ipc.is_daemon_off(env):
        cause = f"the daemon is switched off: {ipc.DAEMON}={env[ipc.DAEMON]}"
        raise DaemonDisabled(cause, hint=f"unset {ipc.DAEMON} and credentialBitbucket.daemon")


def start(env: "MutableMapping[str, str]", *, memory: bool = False, until_eof: int | None = None) -> None:
    """Start a daemon unless one is there, and wait until it listens. Raises `DaemonUnavailable` with its reason, or
    `DaemonDisabled`.

    What git's configuration sets is set in `env`, too. With `memory` its vault is in memory; with `until_eof` it
    leaves when that descriptor's pipe ends.
    """
    check_allowed(env)
    deadline = time.monotonic() + START_TIMEOUT_S
    argv = [*command(), "--detached"]
    if memory:
        argv.append("--memory")
    if until_eof is not None:
        argv += ["--until-eof", str(GUARD_DESCRIPTOR)]
    reading, told = os.pipe()
    ready, tell_ready = os.pipe()
    try:
        try:
            with warnings.catch_warnings():
                # Python 3.12 warns of other threads; what the child does leads straight to execve(2).
                warnings.simplefilter("ignore", DeprecationWarning)
                child = os.fork()
            if child == 0:
                detach(argv, env, reading, tell_ready, until_eof)
        except OSError as exc:
            cause = f"cannot start a process: {(exc.strerror or '').lower()}"
            raise DaemonUnavailable(cause, hint="see: ulimit -u") from exc
        finally:
            os.close(reading)
            os.close(tell_ready)
        reap(child)
        # The daemon is on its way meanwhile, and asks for its document later than this takes.
        data = NO_DOCUMENT
        try:
            if not memory:
                from git_credential_bitbucket import git_config  # lazy: it takes some ms, while the daemon starts

                git_config.adopt(env)
                check_allowed(env)
            data = document(env)
        finally:
            write_before(told, data, deadline)
            os.close(told)
            told = -1
        answer = read_answer(ready, deadline)
    finally:
        os.close(ready)
        if told >= 0:
            os.close(told)
    if not answer.endswith(READY):
        raise start_failure(answer)


def reap(child: int) -> None:
    """Wait until a child has ended. None is there to wait for where SIGCHLD is ignored: a caller may hand that down."""
    try:
        os.waitpid(child, 0)
    except ChildProcessError:
        pass


def document(env: "Mapping[str, str]") -> bytes:
    """What the daemon reads at its start."""
    from _json import encode_basestring_ascii as quoted  # lazy: json itself costs 5 ms more

    pairs = [f"{quoted(name)}: {quoted(value)}" for name, value in passed_environment(env).items()]
    return f'{{"env": {{{", ".join(pairs)}}}}}'.encode()


def passed_environment(env: "Mapping[str, str]") -> dict[str, str]:
    """What of `env` the daemon gets to see."""
    prefixes = (paths.OWN_PREFIX, CONFIG_PREFIX, *paths.SOURCE_PREFIXES)
    return {
        name: value
        for name, value in env.items()
        if name not in DROPPED_VARIABLES and (name in PASSED_VARIABLES or name.startswith(prefixes))
    }


def command() -> list[str]:
    """The command that runs a daemon: isolated, as every Python of ours, on the package that this module is part of."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    return [sys.executable, "-I", "-S", "-c", _START_CODE, root]


def detach(argv: list[str], env: "Mapping[str, str]", document: int, ready: int, until_eof: int | None) -> "NoReturn":
    """In the child: execute `argv` in a grandchild that has nothing in common with git. Never comes back.

    A session of its own, so that the terminal's hangup does not reach it, but not that session's leader, so that it
    never gets a terminal; and no descriptor of git's, for git waits for the end of its pipes while anybody holds them.
    """
    try:
        os.setsid()
        if os.fork() != 0:
            os._exit(0)
        # Standard error goes to the starter too, until the daemon lets go of it: Python says there what is missing.
        wanted = [document, ready, ready, ready if until_eof is None else until_eof]
        # Out of the way first: a process without standard descriptors gets their numbers for its pipes.
        held = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, len(wanted)) for descriptor in wanted]
        for number, descriptor in enumerate(held):
            os.dup2(descriptor, number)
        close_from(GUARD_DESCRIPTOR + (until_eof is not None))
        os.chdir("/")
        os.execve(argv[0], argv, {name: env[name] for name in INTERPRETER_VARIABLES if name in env})  # noqa: S606 - no shell
    finally:
        os._exit(127)


def close_from(first: int) -> None:
    """Close the descriptors from `first` on that are there; counting to the limit takes minutes where that is 2**30."""
    try:
        numbers = [int(name) for name in os.listdir("/dev/fd")]
    except OSError:
        numbers = list(range(min(os.sysconf("SC_OPEN_MAX"), 1 << 16)))
    for number in numbers:
        if number >= first:
            try:
                os.close(number)
            except OSError:  # the listing's own
                continue


def write_before(descriptor: int, data: bytes, deadline: float) -> None:
    """Write all of `data` to a pipe; a reader that has gone says why on the other pipe, or nothing."""
    os.set_blocking(descriptor, False)
    while data:
        wait_for_pipe(descriptor, select.POLLOUT, deadline)
        try:
            data = data[os.write(descriptor, data) :]
        except BlockingIOError:
            continue
        except BrokenPipeError:
            return


def read_answer(descriptor: int, deadline: float) -> bytes:
    """What comes from a pipe up to its end, or to READY."""
    answer = b""
    while not answer.endswith(READY):
        wait_for_pipe(descriptor, select.POLLIN, deadline)
        chunk = os.read(descriptor, 4096)
        if not chunk:
            break
        answer += chunk
    return answer


def wait_for_pipe(descriptor: int, event: int, deadline: float) -> None:
    """Wait until a pipe can be used or has ended. Raises `DaemonUnavailable` at the deadline."""
    poll = select.poll()
    poll.register(descriptor, event)
    if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
        raise DaemonUnavailable(
            f"the daemon was not ready within {START_TIMEOUT_S:.0f} seconds",
            hint="to see the reason, run: git-credential-bitbucket daemon start",
        )


def start_failure(answer: bytes) -> DaemonUnavailable:
    """What the daemon said instead of READY: why it does not start, or the last line of what Python says of a fault."""
    lines = [line for line in answer.decode("utf-8", "replace").split("\n") if line]
    said = dict(git_protocol.parse_pairs(answer))
    last = f": {lines[-1]}" if lines else ""
    return DaemonUnavailable(
        said.get("error") or f"the daemon stopped before it was ready{last}",
        hint=said.get("hint") or "reinstall git-credential-bitbucket",
    )
