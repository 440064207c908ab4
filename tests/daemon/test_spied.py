"""Another process of the same user that looks into the daemon while it starts and while it is upgraded."""

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.daemon import spy
from tests.daemon.conftest import Start
from tests.daemon.daemons import eventually
from tests.daemon.test_upgrade import PACKAGE, hasten, install, version
from tests.fake_bitbucket import tokens

NOBODY = 65534
THIRD_PARTY = sysconfig.get_path("purelib")
UPGRADES = 3

Spy = Callable[[Path, str], "subprocess.Popen[str]"]


@pytest.fixture
def python() -> list[str]:
    """A command that runs Python as a user who is not root, and who may look into what else this user runs."""
    if os.getuid() != 0:
        return [sys.executable]
    # The second program is what is executed without root's rights: setpriv(1) itself has them still.
    words = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "/usr/bin/env"]
    code = f"import sys; sys.path.append({THIRD_PARTY!r}); import requests, cryptography.hazmat.primitives.ciphers.aead"
    for python in (sys.executable, "/usr/bin/python3"):
        command = [*words, python, "-I", "-c", code]
        if subprocess.run(command, cwd="/", stderr=subprocess.DEVNULL, check=False).returncode == 0:
            return [*words, python]
    pytest.skip("only root can run a Python that has what is needed")


def give(home: Path) -> None:
    """Let everything in `home` belong to the user."""
    if os.getuid() == 0:
        for path in (home, *home.rglob("*")):
            os.chown(path, NOBODY, NOBODY)


@pytest.fixture
def spying(python: list[str], home: Path) -> Iterator[Spy]:
    """Starts a spy, of the same user, on the processes that name a path in their arguments; it looks already."""
    spies: list[subprocess.Popen[str]] = []

    def start_spy(path: Path, secret: str) -> "subprocess.Popen[str]":
        program = home / "spy.py"
        shutil.copy(str(spy.__file__), program)
        give(home)
        command = [*python, "-I", str(program), str(path), secret.encode().hex()]
        one = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/")
        spies.append(one)
        assert one.stdout is not None
        assert one.stdout.readline() == "looking\n"
        return one

    yield start_spy
    for one in spies:
        one.kill()
        one.communicate()


def told(one: "subprocess.Popen[str]") -> tuple[int, str]:
    """How many memories the spy opened, and where it found the secret."""
    out, _ = one.communicate("\n", timeout=60)
    opened, _, found = out.partition(" memories; ")
    return int(opened), found.strip()


def test_an_upgraded_daemon_shows_nothing(
    start: Start, bare_env: dict[str, str], home: Path, python: list[str], spying: Spy
) -> None:
    """Neither a start nor upgrades: memory that was opened before the program could forbid it holds no secret."""
    site = home / "site"
    shutil.copytree(PACKAGE, site / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
    hasten(site)
    (site / "third-party.pth").write_text(f"{THIRD_PARTY}\n")  # an interpreter that this user may run finds them so
    token = tokens.access_token()
    one = spying(site, token)
    env = {**bare_env, "GIT_CREDENTIAL_BITBUCKET_KEYRING": "off"}
    daemon = start(env=env, package=str(site), launcher=python[:-1], python=python[-1])
    daemon.store("acme/app", token)
    for number in range(UPGRADES):
        install(site, f"9.9.{number}")
        eventually(lambda number=number: version(daemon) == f"9.9.{number}")  # type: ignore[misc]  # it is called at once
        assert daemon.secret("acme/app") == token
    opened, found = told(one)
    assert opened > UPGRADES, "it was too late to see a daemon start"
    assert found == ""


def test_the_spy_sees_what_is_not_guarded(home: Path, python: list[str], spying: Spy) -> None:
    """A process that gets a secret after it was opened, by a socket; and one that forbids it too late."""
    token = tokens.access_token()
    one = spying(home / "victim", token)
    code = (
        "import ctypes, socket, sys, time\n"
        "ours, theirs = socket.socketpair(); print('started', flush=True); half = sys.stdin.readline()\n"
        "ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)\n"
        "secret = half.strip() + sys.stdin.readline().strip(); ours.send(secret.encode())\n"
        "print('told', flush=True); sys.stdin.read()"
    )
    command = [*python, "-c", code, str(home / "victim")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/") as victim:
        assert victim.stdin is not None
        assert victim.stdout is not None
        assert victim.stdout.readline() == "started\n"
        _wait_for_a_turn(one)
        victim.stdin.write(f"{token[:40]}\n{token[40:]}\n")
        victim.stdin.flush()
        assert victim.stdout.readline() == "told\n"
        _wait_for_a_turn(one)
        _, found = told(one)
        victim.stdin.close()
    assert "memory" in found
    assert "socket" in found


def _wait_for_a_turn(one: "subprocess.Popen[str]") -> None:
    """Wait until the spy has worked for two more ticks: it has looked at every process meanwhile."""

    def ticks() -> int:
        fields = Path(f"/proc/{one.pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    before = ticks()
    eventually(lambda: ticks() > before + 3)
