"""Starts the daemon outside git's process group, session and pipes, and returns when it listens.

The daemon gets the variables of the caller's environment that are listed here, on its standard input.
"""

import fcntl
import os
import select
import sys
import time
import warnings

from git_credential_bitbucket import git_protocol, paths
from git_credential_bitbucket.client import ipc
from git_credential_bitbucket.errors import DaemonDisabled, DaemonUnavailable, system_reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping
    from typing import NoReturn

START_TIMEOUT_S = 40.0
"""From fork to listening: 0.2 s, and 3 s more where a keyring does not answer; the rest is for a machine under load,
where two hundred gits may start at once, and the keyring's child has half a minute to start."""
READY = b"ready\n"
NO_DOCUMENT = b"{}"
"""A daemon that reads this exits: it is not needed after all."""
GUARD_DESCRIPTOR = 3
"""The descriptor of the pipe at whose end the daemon stops."""

SPAWNED = "GIT_CREDENTIAL_BITBUCKET_SPAWNED"
"""Set by the native relay where it has executed a daemon's Python already, so that two interpreters start at the same
time: this process's id, and the descriptors of the pipes to and from that daemon."""

CONFIG_PREFIX = "GIT_CONFIG_"
"""git's configuration by variables: for a daemon that serves one command; any other drops it."""
DROPPED_VARIABLES = frozenset({"GIT_CREDENTIAL_BITBUCKET_TRACE", "GIT_CREDENTIAL_BITBUCKET_RELAYED", SPAWNED})
"""A trace is for one command; RELAYED and SPAWNED are between relay and fallback."""
PASSED_VARIABLES = frozenset(
    {
        *("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR"),  # directories
        *("USER", "LOGNAME", "PATH"),  # PATH: git, by its absolute path
        *("LANG", "LC_ALL", "LC_CTYPE"),  # the keyring's dialogue
        *("DBUS_SESSION_BUS_ADDRESS", "DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY"),  # the keyring and its dialogue
        *("XDG_CURRENT_DESKTOP", "XDG_SESSION_TYPE", "KDE_FULL_SESSION", "PYTHON_KEYRING_BACKEND"),  # which keyring
        *("http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"),  # as curl reads them
        *("no_proxy", "NO_PROXY"),
        *("GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "GIT_SSL_NO_VERIFY", "SSL_CERT_FILE", "SSL_CERT_DIR"),  # TLS
        *("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"),  # git's libraries, see INTERPRETER_VARIABLES
    }
)
"""The other variables that the daemon gets. No token of the caller's, and no GIT_DIR."""
INTERPRETER_VARIABLES = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
"""What the interpreter needs to start (with GitHub's setup-python, for one). The rest comes by a pipe, because
/proc/PID/environ shows what a process was started with."""

_START_CODE = (
    "import sys; sys.path.append(sys.argv.pop(1));"
    "from git_credential_bitbucket.client.activate import third_party; third_party();"
    "from git_credential_bitbucket.daemon.__main__ import main; sys.exit(main(sys.argv[1:]))"
)


def check_allowed(env: "Mapping[str, str]") -> None:
    """Raise `DaemonDisabled` where the environment switches the daemon off."""
    if ipc.is_daemon_off(env):
        cause = f"the daemon is switched off: {ipc.DAEMON}={env[ipc.DAEMON]}"
        raise DaemonDisabled(cause, hint=f"unset {ipc.DAEMON} and credentialBitbucket.daemon")


def start(env: "MutableMapping[str, str]", *, memory: bool = False, until_eof: int | None = None) -> None:
    """Start a daemon unless one runs, and wait until it listens. Raises `DaemonUnavailable` or `DaemonDisabled`.

    Our settings in git's configuration are set in `env`, too. With `memory` its vault is in memory; with `until_eof` it
    stops when that descriptor's pipe ends.
    """
    check_allowed(env)
    deadline = time.monotonic() + START_TIMEOUT_S
    told, ready = (None if memory else spawned()) or spawn(env, memory=memory, until_eof=until_eof)
    try:
        # The daemon's interpreter starts meanwhile.
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


def spawned() -> "tuple[int, int] | None":
    """The pipes to and from the daemon that the native relay has spawned for this process, once; None without one."""
    pid, *pipes = os.environ.pop(SPAWNED, "").split(" ")
    if pid != str(os.getpid()):
        return None
    for pipe in map(int, pipes):
        os.set_inheritable(pipe, False)  # noqa: FBT003 - positional only
    return int(pipes[0]), int(pipes[1])


def spawn(env: "Mapping[str, str]", *, memory: bool, until_eof: int | None) -> tuple[int, int]:
    """Spawn a daemon; returns the pipes to and from it. Raises `DaemonUnavailable`."""
    argv = [*command(), "--detached"]
    if memory:
        argv.append("--memory")
    if until_eof is not None:
        argv += ["--until-eof", str(GUARD_DESCRIPTOR)]
    reading, told = os.pipe()
    ready, tell_ready = os.pipe()
    try:
        with warnings.catch_warnings():
            # Python 3.12 warns of other threads; the child only prepares execve(2).
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            detach(argv, env, reading, tell_ready, until_eof)
    except OSError as exc:
        os.close(told)
        os.close(ready)
        cause = f"cannot start a process: {system_reason(exc)}"
        raise DaemonUnavailable(cause, hint="see: ulimit -u") from exc
    finally:
        os.close(reading)
        os.close(tell_ready)
    reap(child)
    return told, ready


def reap(child: int) -> None:
    """Wait until `child` has ended; returns at once where SIGCHLD is ignored, which a caller may hand down."""
    try:
        os.waitpid(child, 0)
    except ChildProcessError:
        pass


def document(env: "Mapping[str, str]") -> bytes:
    """The JSON that the daemon reads at its start."""
    from _json import encode_basestring_ascii as quoted  # lazy: json itself costs 5 ms more

    pairs = [f"{quoted(name)}: {quoted(value)}" for name, value in passed_environment(env).items()]
    return f'{{"env": {{{", ".join(pairs)}}}}}'.encode()


def passed_environment(env: "Mapping[str, str]") -> dict[str, str]:
    """The variables of `env` that the daemon gets."""
    prefixes = (paths.OWN_PREFIX, CONFIG_PREFIX, *paths.SOURCE_PREFIXES)
    return {
        name: value
        for name, value in env.items()
        if name not in DROPPED_VARIABLES and (name in PASSED_VARIABLES or name.startswith(prefixes))
    }


def command() -> list[str]:
    """The command that runs a daemon of this package in an isolated Python."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    return [sys.executable, "-I", "-S", "-c", _START_CODE, root]


def detach(argv: list[str], env: "Mapping[str, str]", document: int, ready: int, until_eof: int | None) -> "NoReturn":
    """In the child: execute `argv` in a grandchild that shares nothing with git. Does not return.

    It has a session of its own, so that the terminal's hangup does not reach it, but does not lead it, so that it never
    gets a terminal; and no descriptor of git's, because git waits for the end of its pipes.
    """
    try:
        os.setsid()
        if os.fork() != 0:
            os._exit(0)
        # Standard error goes to the starter until the daemon closes it: Python reports there what is missing.
        wanted = [document, ready, ready, ready if until_eof is None else until_eof]
        # Duplicated first: a process without standard descriptors gets their numbers for its pipes.
        held = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, len(wanted)) for descriptor in wanted]
        for number, descriptor in enumerate(held):
            os.dup2(descriptor, number)
        close_from(GUARD_DESCRIPTOR + (until_eof is not None))
        os.chdir("/")
        os.execve(argv[0], argv, {name: env[name] for name in INTERPRETER_VARIABLES if name in env})  # noqa: S606 - no shell
    finally:
        os._exit(127)


def close_from(first: int) -> None:
    """Close the open descriptors from `first` on; trying all numbers takes minutes where the limit is 2**30."""
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
    """Write all of `data` to a pipe; where the reader has gone, the other pipe may say why."""
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
    """The bytes from a pipe up to its end, or to READY."""
    answer = b""
    while not answer.endswith(READY):
        wait_for_pipe(descriptor, select.POLLIN, deadline)
        chunk = os.read(descriptor, 4096)
        if not chunk:
            break
        answer += chunk
    return answer


def wait_for_pipe(descriptor: int, event: int, deadline: float) -> None:
    """Wait until a pipe is ready or has ended. Raises `DaemonUnavailable` at the deadline."""
    poll = select.poll()
    poll.register(descriptor, event)
    if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
        hint = "to see the reason, run: git-credential-bitbucket daemon start"
        raise DaemonUnavailable(f"the daemon was not ready within {START_TIMEOUT_S:.0f} seconds", hint=hint)


def start_failure(answer: bytes) -> DaemonUnavailable:
    """The error in what the daemon wrote instead of READY: its own, or the last line of Python's traceback."""
    lines = [line for line in answer.decode("utf-8", "replace").split("\n") if line]
    said = dict(git_protocol.parse_pairs(answer))
    last = f": {lines[-1]}" if lines else ""
    return DaemonUnavailable(
        said.get("error") or f"the daemon stopped before it was ready{last}",
        hint=said.get("hint") or "reinstall git-credential-bitbucket",
    )
