"""A daemon of the release 0.1.0 and this program: one becomes the other, and either serves the other's front end."""

import json
import os
from pathlib import Path

import pytest

from git_credential_bitbucket import __version__
from tests import installed
from tests.daemon.conftest import Start
from tests.daemon.daemons import Daemon, eventually
from tests.standin import tokens
from tests.upgrade import release

PACKAGE = "git_credential_bitbucket"
ENTER = (
    "import sys; sys.path.append(sys.argv.pop(1));"
    "from git_credential_bitbucket.client.activate import third_party; third_party();"
    "from git_credential_bitbucket.daemon.__main__ import main; sys.exit(main(sys.argv[1:]))"
)
"""What the release's launcher gives to `python -c`: a daemon that it started is started anew in this way."""
NEWER = "9.9.9"


@pytest.fixture
def package(home: Path) -> Path:
    """The folder of the release's package, free to be changed."""
    return release.unpack(home / "site")


@pytest.fixture
def old(start: Start, package: Path) -> Daemon:
    """A running daemon of the release."""
    daemon = start(package=str(package), enter=ENTER)
    assert daemon.told == "ready\n"
    return daemon


def install(package: Path) -> None:
    """Put this program in the place of the release's, file by file as an installer does, under another version."""
    source = installed.ROOT / PACKAGE
    wanted = {path.relative_to(source) for path in source.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    for path in wanted:
        target = package / PACKAGE / path
        target.parent.mkdir(exist_ok=True)
        content = (source / path).read_bytes()
        if path == Path("__init__.py"):
            content = content.replace(f'"{__version__}"'.encode(), f'"{NEWER}"'.encode())
        target.with_suffix(".new").write_bytes(content)
        os.replace(target.with_suffix(".new"), target)
    for path in (package / PACKAGE).rglob("*"):
        if path.is_file() and path.suffix != ".pyc" and path.relative_to(package / PACKAGE) not in wanted:
            path.unlink()


def upgraded(daemon: Daemon, package: Path) -> None:
    """Install this program under the release's daemon, and wait until it runs."""
    pid = daemon.pid
    install(package)
    eventually(lambda: daemon.told_about("ping")["version"] == NEWER)
    assert int(daemon.told_about("ping")["pid"]) == pid


def test_a_daemon_of_the_release_becomes_this_one(old: Daemon, package: Path) -> None:
    """The same process and socket; the key, the vault, and what was in its memory only."""
    kept, remembered = tokens.access_token(), tokens.access_token()
    old.store("acme/app", kept)
    record = {"kind": "access-token", "place": "https://bitbucket.org/memory", "secret": remembered}
    assert old.ask("add", f"memory=1\nrecord={json.dumps(record)}\n".encode()).startswith(b"ok=1\n")
    inode = os.stat(old.path).st_ino
    upgraded(old, package)
    assert os.stat(old.path).st_ino == inode
    assert old.secret("acme/app") == kept
    assert old.secret("memory/app") == remembered
    answer = old.ask("exit")  # it stays, for what is in its memory only would be lost
    assert answer.startswith(b"error=")
    assert old.ask("exit", b"force=1\n") == b"ok=1\n"
    assert old.ended() == 0
