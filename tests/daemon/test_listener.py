"""Whose path it is: stale sockets, git's own cache daemon, two at once, things in the way, and giving it back."""

import contextlib
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from git_credential_bitbucket.daemon import listener
from git_credential_bitbucket.daemon.listener import claim, socket_paths
from git_credential_bitbucket.errors import DaemonUnavailable, InsecurePath
from tests.daemon.conftest import Start
from tests.daemon.daemons import Daemon, cloud, eventually
from tests.fake_bitbucket import tokens
from tests.sockets import listener_at, listener_of


def test_directory_and_socket_are_born_closed_to_others(daemon: Daemon) -> None:
    """0700 around 0600."""
    assert stat.S_IMODE(os.stat(os.path.dirname(daemon.path)).st_mode) == 0o700
    assert stat.S_IMODE(os.stat(daemon.path).st_mode) == 0o600


def test_a_dead_daemons_socket_is_taken_over(start: Start) -> None:
    """A killed daemon leaves its socket behind; the next one does not mind."""
    first = start()
    first.kill()
    assert os.path.exists(first.path)
    second = start()
    assert second.told == "ready\n"
    assert int(second.told_about("ping")["pid"]) == second.pid


def test_gits_own_cache_daemon_on_our_path_is_sent_away(start: Start, keyed_env: dict[str, str], home: Path) -> None:
    """`git credential-cache store` starts git's daemon where it finds nobody: ours takes its path back."""
    place = home / "run" / "git-credential-bitbucket"
    place.mkdir(mode=0o700)
    path = str(place / "socket")
    typed = cloud() + f"username=u\npassword={tokens.api_token()}\n".encode()
    store = ["git", "credential-cache", "--socket", path, "store"]
    subprocess.run(store, input=typed, env=keyed_env, cwd="/", check=True, timeout=60)
    intruder = listener_of(path)
    daemon = start()
    assert daemon.told == "ready\n"
    assert listener_of(path) == daemon.pid
    eventually(lambda: not os.path.exists(f"/proc/{intruder}") or _is_zombie(intruder))


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_of_daemons_that_start_at_once_one_stays(start: Start) -> None:
    """All of them say `ready`, for one is; the others leave, and every question reaches the same one."""
    with ThreadPoolExecutor(6) as pool:
        daemons = list(pool.map(lambda _: start(), range(6)))
    assert {daemon.told for daemon in daemons} == {"ready\n"}
    stays = listener_of(daemons[0].path)
    for daemon in daemons:
        if daemon.pid != stays:
            assert daemon.ended() == 0
    assert {daemon.told_about("ping")["pid"] for daemon in daemons} == {str(stays)}


def test_a_daemon_that_finds_another_leaves_it_alone(start: Start, daemon: Daemon) -> None:
    """A second start is no restart."""
    second = start()
    assert second.told == "ready\n"
    assert second.ended() == 0
    assert listener_of(daemon.path) == daemon.pid


def test_a_daemon_whose_path_was_replaced_drains_and_stops(daemon: Daemon) -> None:
    """Whoever took the path keeps it: nothing of the successor's is unlinked."""
    aside = daemon.path + ".old"
    waiting = daemon.connect()
    os.rename(daemon.path, aside)
    with listener_at(daemon.path):
        waiting.sendall(b"action=ping\ntimeout=1\n")
        waiting.shutdown(socket.SHUT_WR)
        assert b"pid=" in waiting.recv(4096)
        waiting.close()
        assert daemon.ended() == 0
        assert os.path.exists(daemon.path)
        os.unlink(daemon.path)


def test_a_daemon_whose_directory_is_gone_stops(daemon: Daemon) -> None:
    """`/run/user` is emptied at logout: nobody can come any more."""
    directory = os.path.dirname(daemon.path)
    os.rename(directory, directory + ".gone")
    assert daemon.ended() == 0


def test_a_daemon_that_listens_and_keeps_silent_is_named(start: Start, daemon: Daemon) -> None:
    """It may hold what is in memory only: it is not pushed aside, and the person learns which process it is."""
    os.kill(daemon.pid, signal.SIGSTOP)
    try:
        second = start()
        assert second.told.startswith("error=process ")
        assert f"hint=stop it: kill {daemon.pid}\n" in second.told
        assert second.ended() == 1
    finally:
        os.kill(daemon.pid, signal.SIGCONT)
    assert int(daemon.told_about("ping")["pid"]) == daemon.pid


def test_a_file_in_the_way_is_not_removed(start: Start, home: Path) -> None:
    """Only sockets are ours to unlink."""
    place = home / "run" / "git-credential-bitbucket"
    place.mkdir(mode=0o700)
    (place / "socket").write_text("precious")
    told = start().told
    assert told.startswith("error=")
    assert "is not a socket" in told
    assert (place / "socket").read_text() == "precious"


@pytest.mark.parametrize("trap", ["open", "link", "foreign"])
def test_a_directory_that_is_not_private_is_refused(start: Start, home: Path, trap: str) -> None:
    """One that others may enter, a link to somewhere else, another user's: with what mends it."""
    place = home / "run" / "git-credential-bitbucket"
    if trap == "foreign" and os.getuid() != 0:
        pytest.skip("only root can give a directory away")
    if trap == "open":
        place.mkdir()
        place.chmod(0o755)
    elif trap == "foreign":
        place.mkdir(mode=0o700)
        os.chown(place, 65534, -1)
    else:
        (home / "elsewhere").mkdir(mode=0o700)
        place.symlink_to(home / "elsewhere")
    told = start().told
    assert told.startswith("error=")
    assert "\nhint=" in told


def test_a_path_that_is_too_long_is_refused_and_never_cut(start: Start, keyed_env: dict[str, str], home: Path) -> None:
    """A cut path would be somebody else's."""
    told = start(env={**keyed_env, "GIT_CREDENTIAL_BITBUCKET_SOCKET": f"{home}/{'x' * 120}/socket"}).told
    assert "error=the socket's path is longer than" in told
    assert "\nhint=" in told


def test_a_relative_path_is_refused(start: Start, keyed_env: dict[str, str]) -> None:
    """Every process would look for it from where it stands."""
    told = start(env={**keyed_env, "GIT_CREDENTIAL_BITBUCKET_SOCKET": "run/socket"}).told
    assert told.startswith("error=the socket's path is relative")


def test_a_path_that_cannot_be_written_is_one_clear_line(start: Start, keyed_env: dict[str, str]) -> None:
    """For instance a runtime directory that does not exist any more, below one that cannot be written."""
    told = start(env={**keyed_env, "XDG_RUNTIME_DIR": "/proc/nowhere"}).told
    assert told.startswith("error=cannot listen at ")
    assert "\nhint=" in told


def test_the_claim_knows_its_own_socket_from_another_of_that_name(home: Path) -> None:
    """Releasing unlinks only what is still ours."""
    path = str(home / "run" / "s")
    taken = claim(socket_paths(path, guests=False))
    assert taken is not None
    listeners, held = taken
    with contextlib.ExitStack() as closing:
        for listener in listeners.values():
            closing.enter_context(listener)
        assert held.owns_paths()
        os.unlink(path)
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(path)
            assert not held.owns_paths()
            assert held.release()
            assert os.path.exists(path)


def test_releasing_never_waits_for_who_is_just_starting(home: Path) -> None:
    """The starter holds the lock while it asks us who we are; who waited for it then would not answer."""
    path = str(home / "run" / "s")
    taken = claim(socket_paths(path, guests=False))
    assert taken is not None
    listeners, held = taken
    code = (
        "import fcntl, os, sys; fd = os.open(sys.argv[1], os.O_RDWR); fcntl.flock(fd, fcntl.LOCK_EX);"
        "print(flush=True); sys.stdin.read()"
    )
    with (
        contextlib.ExitStack() as closing,
        subprocess.Popen(
            [sys.executable, "-c", code, path + ".lock"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as starter,
    ):
        for listener in listeners.values():
            closing.enter_context(listener)
        assert starter.stdout is not None
        starter.stdout.readline()
        assert not held.release()
        starter.communicate()
        assert held.release()
        assert not os.path.exists(path)


@pytest.mark.parametrize("there", [True, False])
def test_a_link_in_the_place_of_the_lock_is_refused(home: Path, there: bool) -> None:
    """It leads to somebody else's file: that is neither locked nor made, and nobody listens."""
    path, target = home / "run" / "s", home / "target"
    if there:
        target.write_text("precious")
    (home / "run" / "s.lock").symlink_to(target)
    with pytest.raises(InsecurePath, match=r"s\.lock is not a plain file") as refused:
        claim(socket_paths(str(path), guests=False))
    assert refused.value.hint
    assert not path.exists()
    assert (target.read_text() if there else target.exists()) == ("precious" if there else False)


def test_a_path_in_a_shared_directory_is_refused() -> None:
    """Never under /tmp itself, whatever the setting says."""
    with pytest.raises(InsecurePath):
        claim(socket_paths("/tmp/git-credential-bitbucket-socket", guests=False))  # noqa: S108 - that it is refused is the point


@pytest.mark.parametrize("said", [b"a", b"a" * 65536])
def test_who_says_something_without_end_is_waited_for_no_longer(
    home: Path, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    """A byte now and then, or more than fits into memory: whoever starts holds the lock meanwhile."""
    monkeypatch.setattr(listener, "PING_TIMEOUT_S", 0.5)
    path = str(home / "run" / "git-credential-bitbucket" / "socket")
    ended = threading.Event()

    def talk(standing: socket.socket) -> None:
        connection, _ = standing.accept()
        with connection, contextlib.suppress(OSError):
            while not ended.wait(0.05 if len(said) == 1 else 0):
                connection.sendall(said)

    with listener_at(path) as standing:
        talking = threading.Thread(target=talk, args=(standing,))
        talking.start()
        stopping = threading.Timer(60, ended.set)  # a test that failed would not end
        stopping.start()
        try:
            with contextlib.suppress(DaemonUnavailable):
                claim({"git": path})
            assert not ended.is_set()
        finally:
            stopping.cancel()
            ended.set()
            talking.join()
