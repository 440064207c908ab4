"""A package that is replaced under a running daemon: it starts anew, refuses nobody, and loses nothing."""

import os
import shutil
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from git_credential_bitbucket.daemon import upgrade
from tests.daemon.conftest import Start
from tests.daemon.daemons import Daemon, eventually, read_all
from tests.sockets import listener_of

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
    # Longer than the one before: Python tells a compiled module from a newer source of the same second by the size.
    longer = "#" * target.stat().st_size
    fresh.write_text(f'"""Another version."""\n\n__version__ = "{version}"\n{longer}\n')
    os.replace(fresh, target)


def hasten(copy: Path) -> None:
    """Let a daemon of this copy look for a new package all the time, and take it almost at once.

    Not at once: a package that changes while it is checked would be taken for the one that was.
    """
    for name, usual, here in (
        ("upgrade.py", "SETTLE_S = 2.0", "SETTLE_S = 0.1"),
        ("lifecycle.py", "CHECK_INTERVAL_S = 5.0", "CHECK_INTERVAL_S = 0.1"),
    ):
        replace(copy / PACKAGE.name / "daemon" / name, usual, here)


def replace(file: Path, usual: str, here: str) -> None:
    """Replace a piece of a module that is there once."""
    text = file.read_text()
    assert text.count(usual) == 1
    file.write_text(text.replace(usual, here))


def version(daemon: Daemon) -> str:
    """What the daemon says that it is."""
    return daemon.told_about("ping")["version"]


def test_it_starts_anew_and_refuses_nobody(start: Start, copy: Path) -> None:
    """While gets are coming in all the time: the same socket, the new version, and every get answered.

    Whoever waits for the process that was started, as a service manager does, sees no end.
    """
    daemon = start(package=str(copy))
    token, inode = daemon.store("acme/app"), os.stat(daemon.path).st_ino
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
    assert daemon.process.poll() is None
    assert os.stat(daemon.path).st_ino == inode
    assert listener_of(daemon.path) == int(daemon.told_about("ping")["pid"])


def test_a_stalled_client_does_not_hold_it_up(start: Start, copy: Path) -> None:
    """Whoever waits in the queue meanwhile would wait for it too. Here a peer may stall for an hour, and patience is
    short, so that nothing but the hurry ends the wait.
    """
    for name, usual, here in (
        ("limits.py", "PEER_TIMEOUT_S = 10.0", "PEER_TIMEOUT_S = 3600.0"),
        ("lifecycle.py", "UPGRADE_WAIT_S = 10.0", "UPGRADE_WAIT_S = 0.2"),
    ):
        replace(copy / PACKAGE.name / "daemon" / name, usual, here)
    hasten(copy)
    daemon = start(package=str(copy))
    with daemon.connect() as stalled:
        stalled.sendall(b"action=get\ntimeout=900\nprotocol=https\n")
        eventually(lambda: int(daemon.told_about("ping")["clients"]) > 1)
        install(copy, "9.9.9")
        eventually(lambda: version(daemon) == "9.9.9")
        assert read_all(stalled) == b""


def test_what_is_in_memory_only_survives(start: Start, bare_env: dict[str, str], copy: Path, home: Path) -> None:
    """Handed on in memory: it is on no disk, and no descriptor of the hand-over is left; the socket is still ours."""
    hasten(copy)
    daemon = start(env={**bare_env, "GIT_CREDENTIAL_BITBUCKET_KEYRING": "off"}, package=str(copy))
    token = daemon.store("acme/app")
    install(copy, "9.9.9")
    eventually(lambda: version(daemon) == "9.9.9")
    assert daemon.secret("acme/app") == token
    assert [p for p in home.rglob("*") if p.is_file() and token.encode() in p.read_bytes()] == []
    pid = daemon.told_about("ping")["pid"]
    links = [os.readlink(f"/proc/{pid}/fd/{number}") for number in os.listdir(f"/proc/{pid}/fd")]
    assert not [link for link in links if "memfd" in link or "pipe" in link]
    assert links.count("/dev/null") == 3
    assert daemon.ask("exit", b"force=1\n") == b"ok=1\n"
    assert daemon.ended() == 0
    assert not os.path.exists(daemon.path)


def test_a_package_that_does_not_start_is_not_started(start: Start, copy: Path) -> None:
    """Half an installation, or a broken one: the old daemon serves on, and takes the next whole one."""
    hasten(copy)
    daemon = start(package=str(copy))
    token = daemon.store("acme/app")
    broken = copy / PACKAGE.name / "agent" / "agent.py"
    whole = broken.read_text()
    tried = copy.parent / "tried"
    broken.write_text(f"open({str(tried)!r}, 'w'); raise SyntaxError\n")
    eventually(tried.exists)
    assert daemon.secret("acme/app") == token
    assert int(daemon.told_about("ping")["pid"]) == daemon.pid
    install(copy, "9.9.9")
    broken.write_text(whole)  # last: before it there is nothing that can be started
    eventually(lambda: version(daemon) == "9.9.9")
    assert daemon.secret("acme/app") == token


def test_a_successor_that_fails_changes_nothing(start: Start, copy: Path, bare_env: dict[str, str]) -> None:
    """It could be imported, and breaks when it is to take over: what is in memory only is served on."""
    hasten(copy)
    daemon = start(env={**bare_env, "GIT_CREDENTIAL_BITBUCKET_KEYRING": "off"}, package=str(copy))
    token = daemon.store("acme/app")
    tried = copy.parent / "tried"
    module = copy / PACKAGE.name / "agent" / "upgrade_state.py"
    whole = module.read_text()
    text = "    from git_credential_bitbucket.vault.key import Key"
    replace(module, text, f"    open({str(tried)!r}, 'w'); raise SystemExit\n{text}")
    eventually(tried.exists)
    assert daemon.secret("acme/app") == token
    assert int(daemon.told_about("ping")["pid"]) == daemon.pid
    install(copy, "9.9.9")
    module.write_text(whole)
    eventually(lambda: version(daemon) == "9.9.9")
    assert daemon.secret("acme/app") == token


@pytest.mark.parametrize("supervised", [True, False], ids=["process started", "daemon"])
def test_told_to_leave_in_the_middle_neither_stays(start: Start, copy: Path, supervised: bool) -> None:
    """The signal comes while the successor gets ready: whichever of the two serves then leaves, and unlinks."""
    hasten(copy)
    daemon = start(package=str(copy))
    daemon.store("acme/app")
    tried, go_on = copy.parent / "tried", copy.parent / "go-on"
    os.mkfifo(go_on)
    module = copy / PACKAGE.name / "agent" / "upgrade_state.py"
    text = "    from git_credential_bitbucket.vault.key import Key"
    replace(module, text, f"    open({str(tried)!r}, 'w'); open({str(go_on)!r}).read()\n{text}")
    eventually(tried.exists)
    os.kill(daemon.process.pid if supervised else daemon.pid, signal.SIGTERM)
    go_on.write_text("")
    assert daemon.ended() == 0
    assert not os.path.exists(daemon.path)


def test_where_processes_cannot_be_looked_into_the_same_one_goes_on(
    start: Start, copy: Path, bare_env: dict[str, str]
) -> None:
    """As on macOS: the program is executed in the process that was started, and a pipe holds what is handed on."""
    hasten(copy)
    supervisor = copy / PACKAGE.name / "daemon" / "supervisor.py"
    replace(supervisor, 'sys.platform.startswith("linux")', "False")
    daemon = start(env={**bare_env, "GIT_CREDENTIAL_BITBUCKET_KEYRING": "off"}, package=str(copy))
    token, inode = daemon.store("acme/app"), os.stat(daemon.path).st_ino
    for latest in ("9.9.8", "9.9.9"):
        install(copy, latest)
        eventually(lambda latest=latest: version(daemon) == latest)  # type: ignore[misc]  # it is called at once
        assert daemon.secret("acme/app") == token
    assert int(daemon.told_about("ping")["pid"]) == daemon.process.pid
    assert os.stat(daemon.path).st_ino == inode
    links = [os.readlink(f"/proc/{daemon.pid}/fd/{number}") for number in os.listdir(f"/proc/{daemon.pid}/fd")]
    assert not [link for link in links if "pipe" in link]


def test_what_does_not_fit_into_a_pipe_is_not_handed_over() -> None:
    """It would wait for a reader that is not executed yet: this process serves on."""
    with socket.socket(socket.AF_UNIX) as listener:
        before = set(os.listdir("/proc/self/fd"))
        upgrade.exec_successor(["/bin/false"], {"key": "x" * (1 << 20)}, {"--listen-fd": listener.fileno()})
        upgrade.exec_successor(["/nowhere"], {"key": "value"}, {"--listen-fd": listener.fileno()})
        assert not listener.get_inheritable()
    assert set(os.listdir("/proc/self/fd")) <= before


def test_the_own_arguments_are_replaced_and_the_way_in_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Isolation and the package's place are as they were."""
    monkeypatch.setattr("sys.orig_argv", ["python", "-I", "-S", "-c", "code", "/site", "--memory"])
    command = upgrade.command(["--listen-fd", "5"], ["--memory"])
    assert command[1:] == ["-I", "-S", "-c", "code", "/site", "--listen-fd", "5"]


def test_a_changed_package_is_noticed_once_it_stands_still(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installers write for a while: what they have not finished is not started, and what failed is put off."""
    stamps = {"now": upgrade.package_stamp()}
    monkeypatch.setattr(upgrade, "package_stamp", lambda: stamps["now"])
    watch = upgrade.PackageWatch()
    assert not watch.has_settled(100.0)
    for moment in (101.0, 102.0):
        stamps["now"] = ((str(home), int(moment), 0, 0),)
        assert not watch.has_settled(moment)
    assert not watch.has_settled(103.0)
    assert watch.has_settled(104.1)
    watch.retry_later(104.1)
    assert not watch.has_settled(160.0)
    assert watch.has_settled(104.1 + upgrade.RETRY_S)
    watch.retry_later(170.0)
    stamps["now"] = ((str(home), 170, 0, 0),)
    assert not watch.has_settled(171.0)
    assert watch.has_settled(171.0 + upgrade.SETTLE_S)
