"""Owns how tests run programs: bounded in time, in an environment made for them, with nothing left behind."""

import contextlib
import os
import re
import select
import signal
import stat
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.sockets import listener_of

TIMEOUT_S = 120.0
ENDING_S = 5.0

# What may be a token is not shown when a test fails.
_SECRET = re.compile(r"[A-Za-z0-9_=-]{60,}|ATBB[A-Za-z0-9_=-]+")


class Runner:
    """Runs programs for one test. Its state: the environment and the folder that they get unless told otherwise."""

    def __init__(self, env: Mapping[str, str], folder: Path) -> None:
        self.env = dict(env)
        self.folder = folder

    def __call__(
        self,
        *command: str | os.PathLike[str],
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdin: str | bytes = b"",
        check: bool = True,
        timeout: float = TIMEOUT_S,
    ) -> "subprocess.CompletedProcess[str]":
        """Run `command` to its end, or kill its process group; with `check`, a failure is the test's."""
        with subprocess.Popen(
            [os.fspath(word) for word in command],
            env=dict(self.env if env is None else env),
            cwd=cwd or self.folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        ) as process:
            try:
                data = stdin.encode() if isinstance(stdin, str) else stdin
                out, err = process.communicate(data, timeout=timeout)
            except subprocess.TimeoutExpired:
                out, err = _killed(process)
                err += b"\n(killed: no end within %d s)" % timeout
        answer = subprocess.CompletedProcess(
            process.args, process.returncode, out.decode("utf-8", "replace"), err.decode("utf-8", "replace")
        )
        if check and answer.returncode != 0:
            raise AssertionError(told(answer))
        return answer


def told(answer: "subprocess.CompletedProcess[str]") -> str:
    """What a program did, without secrets."""
    words = " ".join(map(str, answer.args))
    return _SECRET.sub("…", f"{words}\nexit {answer.returncode}\n{answer.stdout}\n{answer.stderr}")


def end_processes_of(home: Path) -> None:
    """End what was started with that HOME and still runs: daemons, as a rule. Returns when they are gone.

    Looks again after it has ended any, for one may have forked since; a socket may name a process that is gone.
    """
    for _ in range(3):
        running = {*_listeners_under(home), *_processes_with_home(home)} - {os.getpid()}
        for pid in running:
            with contextlib.suppress(ProcessLookupError):
                _end(pid)
        if not running:
            return


def _killed(process: "subprocess.Popen[bytes]") -> tuple[bytes, bytes]:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return process.communicate()


def _end(pid: int) -> None:
    handle = os.pidfd_open(pid)
    try:
        for number in (signal.SIGTERM, signal.SIGKILL):
            signal.pidfd_send_signal(handle, number)
            if select.select([handle], [], [], ENDING_S)[0]:
                return
    finally:
        os.close(handle)


def _listeners_under(home: Path) -> Iterator[int]:
    """Who listens on a socket below `home`: a daemon that forbids looking at its environment is found so."""
    for folder, _, names in os.walk(home):
        for name in names:
            path = os.path.join(folder, name)
            with contextlib.suppress(OSError):
                if stat.S_ISSOCK(os.lstat(path).st_mode):
                    yield listener_of(path, ENDING_S)


def _processes_with_home(home: Path) -> Iterator[int]:
    mark = b"\0HOME=%s\0" % os.fsencode(home)
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        with contextlib.suppress(OSError):
            environment = Path("/proc", name, "environ").read_bytes()
            if mark in b"\0" + environment:
                yield int(name)
