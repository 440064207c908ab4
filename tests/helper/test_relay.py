"""The hot path: bytes to the daemon, bytes to git, and what it calls what became of them."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from git_credential_bitbucket.client import environment_tokens, ipc
from git_credential_bitbucket.errors import InsecurePath
from tests.daemon.daemons import read_all
from tests.fake_bitbucket import tokens
from tests.helper.peers import answering, hung_up, listening
from tests.helpers import CHECKOUT, request, socket_of
from tests.running import Runner
from tests.sockets import connected, listener_at


def test_request_and_reply_pass_unread(front: Runner, helper: Path, home: Path) -> None:
    """git-credential-cache's framing, then git's own bytes; the reply's bytes, whatever they are."""
    text = request().encode() + b"wwwauth[]=Basic realm=\xff\xe2\x80\xa8\n"
    reply = b"username=\xfe\npassword=\xe2\x80\xa8\x1c=\n\n"
    with listening(socket_of(home), answering(reply)) as received:
        out = subprocess.run(
            [helper, "get"], env=front.env, input=text, capture_output=True, timeout=60, check=True
        ).stdout
    assert received == [b"action=get\ntimeout=35\n" + text]
    assert out == reply[:-1]


@pytest.mark.parametrize("operation", ["store", "erase"])
def test_acknowledgement_is_not_shown_to_git(front: Runner, helper: Path, home: Path, operation: str) -> None:
    """`ok=1` is for the front end; git gets nothing."""
    with listening(socket_of(home), answering(b"ok=1\n")):
        done = front(helper, operation, stdin=request(username="alice", password="unimportant"))
    assert (done.stdout, done.stderr) == ("", "")


def test_reading_stops_at_a_blank_line(front: Runner, helper: Path, home: Path) -> None:
    """Some programs keep the pipe open behind it, and wait for the answer."""
    with (
        listening(socket_of(home), answering(b"username=u\npassword=p\n\n")),
        subprocess.Popen([helper, "get"], env=front.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(request().encode() + b"\n")
        process.stdin.flush()
        assert process.stdout.read() == b"username=u\npassword=p\n"


@pytest.mark.parametrize("cut", [b"username=u\npassword=hal", b"x"])
def test_answer_that_was_cut_off_is_none(home: Path, cut: bytes) -> None:
    """Git would send half a password as a whole one, and erase it."""
    with listening(socket_of(home), answering(cut)):
        assert ipc.send_request(str(socket_of(home)), b"action=get\n") == (ipc.EMPTY, b"")


def test_peer_that_hangs_up_at_once_has_nothing_to_offer(home: Path) -> None:
    """A daemon that does not want us (another user's process) closes without reading."""
    with listening(socket_of(home), lambda _: b""):
        assert ipc.send_request(str(socket_of(home)), b"action=get\n" + b"x" * 500_000) == (ipc.EMPTY, b"")


@pytest.mark.parametrize("drip", [False, True], ids=["silent", "dripping"])
def test_peer_that_takes_too_long_is_left(home: Path, drip: bool) -> None:
    """The time-out is the whole answer's, and not begun anew by each byte."""

    def serve(connection: socket.socket) -> bytes:
        data = read_all(connection)
        while drip:
            connection.sendall(b"x")  # fails, and so ends, when the other side has gone
            time.sleep(0.02)
        hung_up(connection)
        return data

    with listening(socket_of(home), serve):
        began = time.monotonic()
        assert ipc.send_request(str(socket_of(home)), b"action=get\n", 0.5) == (ipc.TIMEOUT, b"")
        assert 0.4 < time.monotonic() - began < 60


def test_full_queue_is_waited_for_and_then_left(home: Path) -> None:
    """Linux refuses at once where the queue of connections is full; a daemon that is busy is not an absent one."""
    path = socket_of(home)
    with listener_at(path, 0), connected(path), socket.socket(socket.AF_UNIX) as second:
        second.setblocking(False)
        second.connect_ex(str(path))
        assert ipc.send_request(str(path), b"action=get\n", 0.3) == (ipc.TIMEOUT, b"")


def test_no_socket_and_a_dead_one_are_an_absent_daemon(home: Path) -> None:
    """Nothing there, no directory either, and a socket that nobody listens at."""
    path = socket_of(home)
    assert ipc.send_request(str(path), b"action=get\n") == (ipc.ABSENT, b"")
    path.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert ipc.send_request(str(path), b"action=get\n") == (ipc.ABSENT, b"")


@pytest.mark.parametrize("how", ["open", "link", "foreign"])
def test_socket_in_a_directory_of_others_is_not_connected_to(home: Path, how: str) -> None:
    """Whoever could put a socket there would be handed what git stores."""
    if how == "foreign" and os.getuid() != 0:
        pytest.skip("only root can give a directory away")
    path = socket_of(home)
    with listening(home / "elsewhere" / "socket", answering(b"ok=1\n")) as received:
        if how != "link":
            path.parent.mkdir(mode=0o700)
            os.symlink(home / "elsewhere" / "socket", path)
        if how == "open":
            path.parent.chmod(0o770)
        elif how == "foreign":
            os.chown(path.parent, 65534, -1)
        elif how == "link":
            os.symlink(home / "elsewhere", path.parent)
        with pytest.raises(InsecurePath):
            ipc.send_request(str(path), b"action=store\n")
    assert received == []


def test_refused_path_is_one_error_with_the_hint(front: Runner, helper: Path, home: Path) -> None:
    """The chmod to type, nothing to git, and no daemon of ours in there."""
    place = home / "run" / "git-credential-bitbucket"
    place.mkdir()
    place.chmod(0o755)
    done = front(helper, "get", stdin=request())
    assert done.stdout == ""
    assert done.stderr == (
        f"git-credential-bitbucket: error: {place} is open to others\n"
        f"git-credential-bitbucket: hint: run: chmod 0700 {place}\n"
    )


def test_capability_names_state_and_not_authtype(front: Runner, helper: Path) -> None:
    """Authtype makes git 2.46 to 2.53 fail to push more than 1 MiB."""
    assert front(helper, "capability").stdout == "version 0\ncapability state\n"


def test_reader_that_has_gone_is_not_an_error(front: Runner, helper: Path, home: Path) -> None:
    """Git may have died meanwhile: no trace of it on the terminal."""
    with listening(socket_of(home), answering(b"username=u\npassword=p\n\n")):
        done = front("sh", "-c", f"printf '{request()}' | {helper} get | true", check=False)
    assert done.stderr == ""


def test_interrupt_ends_it_quietly(home: Path) -> None:
    """Ctrl-C reaches git and its helper alike; a traceback would be the helper's only contribution."""
    code = (
        f"import os, signal, sys; sys.path.append({str(CHECKOUT)!r})\n"
        "from git_credential_bitbucket.helper import relay\n"
        "def read(): os.kill(os.getpid(), signal.SIGINT); return b''\n"
        "relay.read_request = read\n"
        "relay.main(['git-credential-bitbucket', 'get'])"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], env={"HOME": str(home)}, capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


def test_hostile_work_tree_is_not_imported_from(front: Runner, helper: Path, home: Path) -> None:
    """Git runs its helpers in the work tree: modules lying there under a library's name are somebody else's."""
    tree = home / "work" / "clone"
    front("git", "init", "-q", tree)
    for name in ("json", "os", "_socket", "subprocess", "typing", "git_credential_bitbucket", "sitecustomize", "git"):
        (tree / f"{name}.py").write_text(f"open({str(home / 'stolen')!r}, 'w').close()")
        (tree / name).write_text(f"#!/bin/sh\ntouch {home / 'stolen'}\n")
        (tree / name).chmod(0o755)
    typed = tokens.api_token()
    env = {**front.env, "PYTHONPATH": str(tree), "PATH": f".:{tree}:{front.env['PATH']}", "GIT_DIR": str(tree / ".git")}
    text = request(host="bitbucket.org", username="alice", password=typed)
    front("/usr/bin/git", "credential", "approve", stdin=text, env=env, cwd=tree)
    done = front("/usr/bin/git", "credential", "fill", stdin=request(), env=env, cwd=tree)
    assert typed in done.stdout
    front(helper, "get", stdin=request(host="git.example"), env=env, cwd=tree)
    assert not (home / "stolen").exists()


def test_both_lists_of_variables_are_one() -> None:
    """What the relay looks for is what the fallback reads."""
    names = [name for name, _ in environment_tokens.TOKENS] + [secret for _, secret in environment_tokens.CLIENTS]
    assert sorted(ipc.SECRET_VARIABLES) == sorted(names)
