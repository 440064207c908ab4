"""A process and its ancestors in /proc: names, command lines, and the repository of a git among them.

Linux only: elsewhere, and for a process of another pid namespace, nothing is found. Also forbids other
processes to read this one, and runs children of our own. Imports os and sys.
"""

from __future__ import annotations

import os
import sys

from git_credential_bitbucket.git_protocol import normalise_host

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

MAX_ANCESTORS = 12
"""Relay, shell, git, transport and porcelain are five or six; those above them do not matter."""
MAX_READ_BYTES = 65536
_OPTIONS_WITH_VALUE = frozenset(
    {"-C", "-c", "--git-dir", "--work-tree", "--namespace", "--config-env", "--attr-source"}
)
"""git's own options whose value is the next word (git(1))."""
START_LIMIT_S = 30
"""How long a child may take to start, on a machine where a Python that does nothing takes 10 s."""
PR_SET_DUMPABLE = 4
"""prctl(2): also takes /proc/PID/{mem,environ,fd} away from other processes of the same user, and core dumps."""
PT_DENY_ATTACH = 31
"""ptrace(2) on macOS."""


def forbid_tracing() -> None:
    """Forbid ptrace(2) and reading of our memory to other processes of the user, where the system can.

    After execve(2) the memory can be read again.
    """
    import ctypes  # lazy: 3 ms and 400 KiB, for processes that hold the vault's key or a secret in their environment

    libc = ctypes.CDLL(None)
    if sys.platform == "darwin":
        libc.ptrace(PT_DENY_ATTACH, 0, 0, 0)
    elif sys.platform.startswith("linux"):
        libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def own_command(module: str, *words: str) -> list[str]:
    """The command that runs the `main` of a module of ours in an isolated Python, with `words` as its arguments.

    With our own path: PYTHONPATH, the working directory and site hooks are ignored; it can start others so in turn.
    """
    code = (
        "import sys; n = sys.argv.index('--'); sys.path[:], sys.argv = sys.argv[n + 1 :], ['git-credential-bitbucket',"
        f" *sys.argv[1:n]]; from git_credential_bitbucket.{module} import main; main()"
    )
    return [sys.executable, "-I", "-S", "-c", code, *words, "--", *(path for path in sys.path if path.startswith("/"))]


def answer_of(command: Sequence[str], env: Mapping[str, str], request: bytes, limit_s: float) -> bytes | None:
    """What a child writes in answer to `request`; None where it had to be killed, with what it had started.

    The child writes a newline once it has started. It has `START_LIMIT_S` for that and `limit_s` from then on: a busy
    machine is not to be taken for a service that hangs.
    """
    import select  # lazy: these three cost 10 ms, and few processes have children
    import signal
    import subprocess

    pipe = subprocess.PIPE
    with subprocess.Popen(
        command,
        stdin=pipe,
        stdout=pipe,
        stderr=subprocess.DEVNULL,
        env=env,
        cwd="/",
        start_new_session=True,  # a Ctrl-C at the terminal is ours to handle, and killing takes what the child started
    ) as child:
        try:
            started = select.poll()
            started.register(child.stdout, select.POLLIN)  # type: ignore[arg-type]  # it is a pipe
            started.poll(START_LIMIT_S * 1000)
            return child.communicate(request, timeout=limit_s)[0]
        except subprocess.TimeoutExpired:
            return None
        finally:
            if child.returncode is None:
                os.killpg(child.pid, signal.SIGKILL)


def session_variables(env: Mapping[str, str], names: Sequence[str]) -> dict[str, str]:
    """The variables `names` of `env`, and the address of the session's bus.

    cron and ssh leave that unset; systemd has the user's bus there all the same, and libdbus looks there, too.
    """
    chosen = {name: env[name] for name in names if name in env}
    bus = f"{env.get('XDG_RUNTIME_DIR', '')}/bus"
    if "DBUS_SESSION_BUS_ADDRESS" in env or not (bus.startswith("/") and os.path.exists(bus)):
        return chosen
    return {**chosen, "DBUS_SESSION_BUS_ADDRESS": f"unix:path={bus}"}


def import_secretstorage() -> None:
    """Import it in a child that somebody else ends; a busy bus then has longer than the library's second to let it in.

    Raises `ImportError` where it is not installed, as elsewhere than on Linux.
    """
    from functools import partial  # lazy, all of it: only such a child needs it

    import secretstorage

    library: Any = secretstorage
    library.open_dbus_connection = partial(library.open_dbus_connection, auth_timeout=None)


def programs(pid: int) -> list[str]:
    """The names of `pid` and its ancestors, nearest first: no arguments, which may be secrets."""
    return [name for _, name, _ in _lineage(pid)]


def command_lines(pid: int) -> Iterator[list[str]]:
    """The command lines of `pid` and its ancestors, nearest first; an empty list where one cannot be read.

    Words may hold secrets (a URL's password): match them, never show or store them. A process
    can forge its own, so they prove nothing that the same user may not do anyway.
    """
    for process, _, _ in _lineage(pid):
        yield _command_line(process)


def _command_line(pid: int) -> list[str]:
    raw = _read(pid, "cmdline")
    return _without_loader([os.fsdecode(word) for word in raw.removesuffix(b"\0").split(b"\0")]) if raw else []


def is_git(command_line: list[str]) -> bool:
    """Whether a command line is that of git or of a program `git-…` (a subcommand, git-lfs)."""
    name = os.path.basename(command_line[0]) if command_line else ""
    return name == "git" or name.startswith("git-")


def _without_loader(words: list[str]) -> list[str]:
    """A command line without the dynamic loader that it may begin with, as that of a relocated git does (ld.so(8))."""
    name = os.path.basename(words[0])
    if not (name.startswith("ld-") and ".so" in name):
        return words
    named, rest = None, words[1:]
    while rest and rest[0].startswith("--"):
        named = rest[1] if rest[0] == "--argv0" and len(rest) > 1 else named
        rest = rest[1 if rest[0] in {"--list", "--verify", "--inhibit-cache"} else 2 :]
    return [named or rest[0], *rest[1:]] if rest else words


def is_credential_approve(pid: int) -> bool:
    """Whether `pid`, a credential helper, was run by a `git credential approve` that no other git runs.

    So scripts, editors and libraries store a secret. git-lfs does it, too, with a secret in an address of a
    repository's `.lfsconfig`, and is an ancestor then.
    """
    gits = [words for words in command_lines(pid) if is_git(words) and not _is_helper(words)]
    return [_subcommand(words) for words in gits] == [["credential", "approve"]]


def requesting_git(pid: int) -> tuple[int, int] | None:
    """The git that runs `pid`, a credential helper, as its pid and start time: the same for a `get` and its `store`.

    For `git credential`, which is another process each time, the git above it (git-lfs).
    """
    for process, _, started in _lineage(pid):
        words = _command_line(process)
        if is_git(words) and not _is_helper(words) and _subcommand(words)[0] != "credential":
            return process, started
    return None


def _is_helper(words: list[str]) -> bool:
    """Whether a command line is a credential helper's: ours, git's cache client, or the git that runs one."""
    name = os.path.basename(words[0])
    return name.startswith("git-credential-") or (name == "git" and _subcommand(words)[0].startswith("credential-"))


def _subcommand(words: list[str]) -> list[str]:
    """What follows git's own options: the subcommand and its arguments (git(1))."""
    name = os.path.basename(words[0])
    rest = words[1:] if name == "git" else [name.removeprefix("git-"), *words[1:]]
    while rest and rest[0].startswith("-"):
        rest = rest[2 if rest[0] in _OPTIONS_WITH_VALUE else 1 :]
    return rest or [""]


def asked_path(pid: int, protocol: str, host: str) -> str | None:
    """The path in the nearest URL for `protocol` and `host` (normalised) that `pid` or an ancestor, a git, was given.

    git leaves the path out of a request unless `credential.useHttpPath` is set, but the process that asks descends
    from `git remote-https REMOTE URL` (or `git clone URL`, or a hook such as `git-lfs pre-push REMOTE URL`).
    """
    for words in command_lines(pid):
        if is_git(words) and (path := _path_in(words[1:], protocol, host)):
            return path
    return None


def _path_in(words: list[str], protocol: str, host: str) -> str | None:
    from urllib.parse import unquote, urlsplit  # lazy: 2 ms, and mostly git says the path itself

    for word in words:
        if not word.startswith(f"{protocol}://"):
            continue
        try:
            url = urlsplit(word)
        except ValueError:  # such as https://[
            continue
        if normalise_host(protocol, url.netloc.rpartition("@")[2]) == host:
            return unquote(url.path.strip("/"), errors="surrogateescape")
    return None


def _lineage(pid: int) -> Iterator[tuple[int, str, int]]:
    """`pid` and its ancestors below the first process, nearest first, with their names and start times in ticks."""
    for _ in range(MAX_ANCESTORS):
        # The second field is the program's name, with spaces and brackets as it pleases: count from its end (proc(5)).
        head, _, tail = _read(pid, "stat").rpartition(b") ") if pid > 1 else (b"", b"", b"")
        if not tail:
            return
        fields = tail.split()
        yield pid, head.partition(b"(")[2].decode("utf-8", "replace"), int(fields[19])
        pid = int(fields[1])


def _read(pid: int, name: str) -> bytes:
    try:
        with open(f"/proc/{pid}/{name}", "rb", buffering=0) as file:
            return file.read(MAX_READ_BYTES) or b""
    except OSError:  # it has ended, or there is no /proc
        return b""
