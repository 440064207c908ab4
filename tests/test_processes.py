"""What /proc tells of a process and its ancestors: real ones of a real helper."""

import contextlib
import http.server
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from git_credential_bitbucket import processes
from tests.git_versions import Git

WAITING_HELPER = "!f() { echo $$ >{home}/pid; read -r _ <{home}/go; }; f"


class Refusing(http.server.BaseHTTPRequestHandler):
    """Asks everybody for a password, so that git asks its helper."""

    def do_GET(self) -> None:
        """401."""
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="test"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def refusing() -> Iterator[str]:
    """The address of a server that refuses everybody."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("words", "path"),
    [
        (["clone", "http://{host}/acme/app.git", "here"], "acme/app.git"),
        (["ls-remote", "http://alice@{host}/acme/app.git"], "acme/app.git"),
        (["ls-remote", "http://{host}/a%20b/c"], "a b/c"),
        (["ls-remote", "http://{host}/"], None),
    ],
)
def test_the_path_comes_from_the_git_that_asks(
    bare_env: dict[str, str], home: Path, refusing: str, words: list[str], path: str | None
) -> None:
    """The transport is run with the remote's URL, and runs the helper: both are among its ancestors."""
    os.mkfifo(home / "go")
    os.mkfifo(home / "pid")
    helper = WAITING_HELPER.replace("{home}", str(home))
    command = ["git", "-c", f"credential.helper={helper}", *(word.format(host=refusing) for word in words)]
    with subprocess.Popen(command, env=bare_env, cwd=home / "work", stderr=subprocess.DEVNULL) as git:
        pid = int((home / "pid").read_text())
        assert processes.asked_path(pid, "http", refusing) == path
        assert processes.asked_path(pid, "https", refusing) is None
        assert processes.asked_path(pid, "http", "bitbucket.org") is None
        (home / "go").write_text("\n")
        git.kill()


@contextlib.contextmanager
def running(*words: str) -> Iterator[int]:
    """The pid of `words` run by cat, once the system shows them: a moment after the start it does not yet."""
    with subprocess.Popen(
        words, executable="/bin/cat", stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as program:
        try:
            while not Path(f"/proc/{program.pid}/cmdline").read_bytes():
                time.sleep(0.001)
            yield program.pid
        finally:
            program.kill()


def test_a_push_hook_of_lfs_names_its_repository() -> None:
    """A hook `git-lfs pre-push REMOTE URL`: a program of that name stands for it, since only its words are read."""
    with running("git-lfs", "-", "https://bitbucket.org/acme/big.git") as pid:
        assert processes.asked_path(pid, "https", "bitbucket.org") == "acme/big.git"


def test_what_is_not_git_is_not_listened_to() -> None:
    """A browser with that address among its words is no git."""
    with running("browser", "-", "https://bitbucket.org/acme/app") as pid:
        assert processes.asked_path(pid, "https", "bitbucket.org") is None


@pytest.mark.parametrize("pid", [0, 1, -1, 4194305])
def test_a_peer_that_cannot_be_seen_is_no_error(pid: int) -> None:
    """It lives in another pid namespace, or has ended."""
    assert processes.asked_path(pid, "https", "bitbucket.org") is None
    assert list(processes.command_lines(pid)) == []
    assert processes.programs(pid) == []


def test_command_lines_begin_with_the_process_itself() -> None:
    """Words as they were given, empty ones too; then those of its parent, which is this process."""
    with running("git", "-", "", "a b") as pid:
        own, parent, *_ = processes.command_lines(pid)
    assert own == ["git", "-", "", "a b"]
    assert parent == next(processes.command_lines(os.getpid()))


def test_command_lines_of_an_ended_process_are_empty() -> None:
    """It is still there until its parent takes notice, but its memory is gone; its ancestors are found all the same."""
    with subprocess.Popen(["true"]) as program:
        os.waitid(os.P_PID, program.pid, os.WEXITED | os.WNOWAIT)
        own, parent, *_ = processes.command_lines(program.pid)
    assert own == []
    assert not processes.is_git(own)
    assert parent == next(processes.command_lines(os.getpid()))


def test_programs_are_named_without_their_arguments() -> None:
    """The kernel's names, nearest first."""
    names = processes.programs(os.getpid())
    assert names
    assert not any("pytest " in name for name in names)
    with running("any", "-") as pid:
        assert processes.programs(pid) == ["cat", *names]


def test_programs_with_brackets_in_their_names_hide_nobody(tmp_path: Path) -> None:
    """The kernel writes a name as it is between brackets, and the numbers after it."""
    name = "a) R 1 (b"
    os.symlink("/bin/cat", tmp_path / name)
    with subprocess.Popen([tmp_path / name], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        assert program.stdin
        assert program.stdout
        program.stdin.write(b"x")
        program.stdin.flush()
        program.stdout.read(1)  # it runs
        assert processes.programs(program.pid) == [name, *processes.programs(os.getpid())]
        program.stdin.close()


@pytest.mark.parametrize(
    ("words", "is_approve"),
    [
        (["credential", "approve"], True),
        (["-C", ".", "-c", "user.name=credential", "--no-pager", "credential", "approve"], True),
        (["credential", "reject"], False),
        (["-c", "alias.keep=!git credential approve", "keep"], False),
        (["-c", "alias.keep=credential approve", "keep"], False),
    ],
)
@pytest.mark.parametrize("helper", ["{probe}", "probe"])
def test_who_types_git_credential_approve_is_told_from_other_gits(
    bare_env: dict[str, str], home: Path, git: Git, words: list[str], helper: str, *, is_approve: bool
) -> None:
    """The helper is run by path or by name; an alias in configuration is another git, and may be anybody's."""
    probe = home / "bin" / "git-credential-probe"
    probe.parent.mkdir(exist_ok=True)
    code = "import os; from git_credential_bitbucket.processes import is_credential_approve as f; "
    probe.write_text(f"#!/bin/sh\nexec {sys.executable} -c '{code}print(f(os.getpid()))' >>{home}/said\n")
    probe.chmod(0o700)
    env = {**bare_env, "PATH": f"{probe.parent}:{bare_env['PATH']}", "PYTHONPATH": str(Path(__file__).parents[1])}
    setting = f"credential.helper={helper.format(probe=probe)}"
    text = b"protocol=https\nhost=bitbucket.org\nusername=alice\npassword=secret\n\n"
    subprocess.run([git.path, "-c", setting, *words], env=env, cwd=home, input=text, check=True)
    assert (home / "said").read_text() == f"{is_approve}\n"


SLOW_TO_START = "import sys, time; time.sleep(1); print(flush=True); print(sys.stdin.read()[::-1])"
SILENT = "import sys, time; print(flush=True); time.sleep(600)"
GONE = "raise SystemExit(1)"


@pytest.mark.parametrize(("code", "answer"), [(SLOW_TO_START, b"\nyes\n"), (SILENT, None), (GONE, b"")])
def test_the_limit_of_a_child_counts_from_its_start(code: str, answer: bytes | None) -> None:
    """On a busy machine Python takes seconds to start: that is no reason to think that a keyring hangs."""
    assert processes.answer_of([sys.executable, "-ISc", code], {}, b"sey", 0.5) == answer
