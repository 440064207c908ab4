"""A package that is replaced under a running daemon: it starts anew, refuses nobody, and loses nothing."""

import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from git_credential_bitbucket.daemon import upgrade
from tests.daemon.conftest import Start
from tests.daemon.daemons import Daemon, eventually, read_all
from tests.standin import tokens

PACKAGE = Path(__file__).parents[2] / "git_credential_bitbucket"


@pytest.fixture
def copy(home: Path) -> Path:
    """A folder with a copy of the package, free to be changed."""
    shutil.copytree(PACKAGE, home / "site" / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
    return home / "site"


def install(copy: Path, version: str) -> None:
    """Replace the package's version, as an installer would: a new file under the old name."""
    target = copy / PACKAGE.name / "__init__.py"
    fresh = target.with_suffix(".new")
    fresh.write_text(f'"""Another version."""\n\n__version__ = "{version}"\n')
    os.replace(fresh, target)


def version(daemon: Daemon) -> str:
    """What the daemon says that it is."""
    return daemon.told_about("ping")["version"]


def test_it_starts_anew_and_refuses_nobody(start: Start, copy: Path) -> None:
    """While gets are coming in all the time: the same process and socket, the new version, and every get answered."""
    daemon = start(package=str(copy))
    token, inode = tokens.access_token(), os.stat(daemon.path).st_ino
    daemon.store("acme/app", token)
    answers: set[str | None] = set()
    done: list[bool] = []

    def keep_asking() -> None:
        while not done:
            answers.add(daemon.secret("acme/app"))
            time.sleep(0.002)

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(keep_asking) for _ in range(4)]
        try:
            install(copy, "9.9.9")
            eventually(lambda: version(daemon) == "9.9.9")
        finally:
            done.append(True)
        for one in asking:
            one.result()
    assert answers == {token}
    assert int(daemon.told_about("ping")["pid"]) == daemon.pid
    assert os.stat(daemon.path).st_ino == inode


def test_a_stalled_client_does_not_hold_it_up(start: Start, copy: Path) -> None:
    """Whoever waits in the queue meanwhile would wait for it too. Here a peer may stall for an hour, and patience is
    short, so that nothing but the hurry ends the wait.
    """
    for name, usual, here in (
        ("limits.py", "peer_s: float = 10.0", "peer_s: float = 3600.0"),
        ("lifecycle.py", "UPGRADE_PATIENCE_S = 10.0", "UPGRADE_PATIENCE_S = 0.2"),
    ):
        file = copy / PACKAGE.name / "daemon" / name
        text = file.read_text()
        assert usual in text
        file.write_text(text.replace(usual, here))
    daemon = start(package=str(copy))
    with daemon.connect() as stalled:
        stalled.sendall(b"action=get\ntimeout=900\nprotocol=https\n")
        eventually(lambda: int(daemon.told_about("ping")["clients"]) > 1)
        install(copy, "9.9.9")
        eventually(lambda: version(daemon) == "9.9.9")
        assert read_all(stalled) == b""
    assert int(daemon.told_about("ping")["pid"]) == daemon.pid


def test_what_is_in_memory_only_survives(start: Start, bare_env: dict[str, str], copy: Path, home: Path) -> None:
    """Handed on in memory: it is on no disk, and no descriptor of the hand-over is left; the socket is still ours."""
    daemon = start(env={**bare_env, "GIT_CREDENTIAL_BITBUCKET_KEYRING": "off"}, package=str(copy))
    token = tokens.access_token()
    daemon.store("acme/app", token)
    install(copy, "9.9.9")
    eventually(lambda: version(daemon) == "9.9.9")
    assert daemon.secret("acme/app") == token
    assert [p for p in home.rglob("*") if p.is_file() and token.encode() in p.read_bytes()] == []
    links = [os.readlink(f"/proc/{daemon.pid}/fd/{n}") for n in os.listdir(f"/proc/{daemon.pid}/fd")]
    assert not [link for link in links if "memfd" in link or "pipe" in link]
    assert links.count("/dev/null") == 3
    assert daemon.ask("exit", b"force=1\n") == b"ok=1\n"
    assert daemon.ended() == 0
    assert not os.path.exists(daemon.path)


def test_a_package_that_does_not_start_is_not_started(start: Start, copy: Path) -> None:
    """Half an installation, or a broken one: the old daemon serves on, and takes the next whole one."""
    daemon = start(package=str(copy))
    token = tokens.access_token()
    daemon.store("acme/app", token)
    broken = copy / PACKAGE.name / "agent" / "agent.py"
    whole = broken.read_text()
    broken.write_text("this is no Python\n")
    time.sleep(upgrade.SETTLE_S + 2.5)
    assert daemon.secret("acme/app") == token
    broken.write_text(whole)
    install(copy, "9.9.9")
    eventually(lambda: version(daemon) == "9.9.9")
    assert daemon.secret("acme/app") == token


def test_what_is_handed_over_is_no_file() -> None:
    """An anonymous piece of memory, which the next program reads to its end and closes."""
    descriptor = upgrade.hand_over({"key": "value", "more": list(range(100000))})
    assert descriptor is not None
    assert os.fstat(descriptor).st_nlink == 0
    assert upgrade.received(descriptor)["key"] == "value"
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_where_there_is_no_such_memory_a_pipe_takes_what_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on macOS, where nothing is handed over that would have to wait in a pipe nobody reads."""
    monkeypatch.delattr(os, "memfd_create")
    descriptor = upgrade.hand_over({"key": "value"})
    assert descriptor is not None
    assert upgrade.received(descriptor) == {"key": "value"}
    assert upgrade.hand_over({"key": "x" * (1 << 20)}) is None


def test_the_own_arguments_are_replaced_and_the_way_in_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Isolation and the package's place are as they were."""
    monkeypatch.setattr("sys.orig_argv", ["python", "-I", "-S", "-c", "code", "/site", "--memory"])
    command = upgrade.command(["--listen-fd", "5"], ["--memory"])
    assert command[1:] == ["-I", "-S", "-c", "code", "/site", "--listen-fd", "5"]


def test_a_changed_package_is_noticed_once_it_stands_still(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installers write for a while: what they have not finished is not started, and what failed is put off."""
    stamps = {"now": upgrade.package_stamp()}
    monkeypatch.setattr(upgrade, "package_stamp", lambda: stamps["now"])
    watch = upgrade.Watch()
    assert not watch.settled(100.0)
    for moment in (101.0, 102.0):
        stamps["now"] = ((str(home), int(moment), 0, 0),)
        assert not watch.settled(moment)
    assert not watch.settled(103.0)
    assert watch.settled(104.1)
    watch.put_off(104.1)
    assert not watch.settled(160.0)
    assert watch.settled(104.1 + upgrade.RETRY_S)
    watch.put_off(170.0)
    stamps["now"] = ((str(home), 170, 0, 0),)
    assert not watch.settled(171.0)
    assert watch.settled(171.0 + upgrade.SETTLE_S)
