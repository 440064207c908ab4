"""A daemon of the release 0.1.0 and this program: one becomes the other, and either serves the other's front end."""

import base64
import json
import os
import shutil
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from git_credential_bitbucket import __version__, paths
from git_credential_bitbucket.client import daemon_launcher
from git_credential_bitbucket.errors import DaemonUnavailable
from git_credential_bitbucket.secret import Secret
from git_credential_bitbucket.vault import key_sources
from git_credential_bitbucket.vault.key import Key
from git_credential_bitbucket.vault.storage.file import FileStorage
from git_credential_bitbucket.vault.vault import Vault
from tests import installed
from tests.daemon.conftest import Start
from tests.daemon.daemons import Daemon, cloud, eventually
from tests.fake_bitbucket import tokens
from tests.helper.peers import forwarded
from tests.upgrade import release

PACKAGE = "git_credential_bitbucket"
NEWER = "9.9.9"


@pytest.fixture
def old(start: Start, package: Path) -> Daemon:
    """A running daemon of the release."""
    daemon = start(package=str(package), enter=release.ENTER)
    assert daemon.told == "ready\n"
    return daemon


def install(package: Path) -> None:
    """Put this program in the place of the release's, file by file as an installer does, under another version."""
    source = installed.ROOT / PACKAGE
    wanted = {path.relative_to(source) for path in source.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    for path in wanted:
        target = package / PACKAGE / path
        target.parent.mkdir(parents=True, exist_ok=True)
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
    install(package)
    eventually(lambda: daemon.told_about("ping")["version"] == NEWER)
    assert daemon.process.poll() is None


def test_a_daemon_of_the_release_becomes_this_one(old: Daemon, package: Path) -> None:
    """The same socket, the process that was started still there; the key, the vault, and what was in memory only."""
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
    assert not os.path.exists(old.path)


def handed_over(start: Start, env: Mapping[str, str], agent: Mapping[str, Any]) -> Daemon:
    """A daemon of this program that is given the listening socket, and what the release hands over with it."""
    path = Path(paths.socket_path(env))
    path.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(8)
        found = path.stat()
        document = {
            "env": dict(env),
            "claim": [found.st_dev, found.st_ino],
            "agent": {
                "memory": {},
                "key": None,
                "locked_by_person": False,
                "locked_how": "by hand",
                "noted": {"used": {}, "warned": {}},
                "unwritten": {},
                **agent,
            },
            "started_at": time.time() - 60,
        }
        descriptor = os.memfd_create("git-credential-bitbucket")
        os.write(descriptor, json.dumps(document).encode())
        os.lseek(descriptor, 0, os.SEEK_SET)
        given = (listener.fileno(), descriptor)
        words = ("--listen-fd", str(given[0]), "--handover-fd", str(given[1]))
        try:
            return start(*words, env=env, pass_fds=given, stdin=b"")
        finally:
            os.close(descriptor)


def vault_of(env: Mapping[str, str], name: str) -> Path:
    """One of the release's vaults, where `env` has its own."""
    path = Path(paths.vault_path(env))
    path.parent.mkdir(mode=0o700, parents=True)
    shutil.copyfile(release.DATA / name, path)
    path.chmod(0o600)
    return path


def test_a_passphrase_is_not_asked_for_again(start: Start, bare_env: dict[str, str]) -> None:
    """The key that the release had is handed over, with the salt and costs that a new header needs."""
    env = {**bare_env, "GIT_CREDENTIAL_BITBUCKET_KEYRING": "off"}
    path = vault_of(env, "passphrase.vault")
    header = Vault(FileStorage(str(path))).header()
    assert header is not None
    key = key_sources.from_passphrase(Secret(release.PASSPHRASE), header.argon2)
    argon2 = header.argon2
    assert argon2 is not None
    stretched = f"{argon2.iterations},{argon2.lanes},{argon2.memory_kib}"
    record = {**key.to_record(), "source": "passphrase", "salt": argon2.salt.hex(), "argon2": stretched}
    daemon = handed_over(start, env, {"key": record})
    assert daemon.secret("acme/app") == release.secret("passphrase")


def test_what_a_person_locked_stays_locked(start: Start, bare_env: dict[str, str], home: Path) -> None:
    """Although the key is at hand: a person opens it again."""
    key = home / "key"
    key.write_bytes(release.KEY)
    key.chmod(0o600)
    env = {**bare_env, "GIT_CREDENTIAL_BITBUCKET_KEY_FILE": str(key)}
    vault_of(env, "states.vault")
    daemon = handed_over(start, env, {"locked_by_person": True})
    assert daemon.secret("repository/app") is None
    assert daemon.told_about("why", cloud("repository/app"))["state"] == "locked"
    assert daemon.ask("unlock", b"person=1\n") == b"ok=1\n"
    assert daemon.secret("repository/app") == release.secret("repository")


def test_a_grant_that_the_release_could_not_write_is_written(start: Start, bare_env: dict[str, str]) -> None:
    """The disk was full, say: the only refresh token that works was in its memory, and Bitbucket is asked for none."""
    path = vault_of(bare_env, "states.vault")
    vault = Vault(FileStorage(str(path)), Key(release.KEY, "file"))
    (record,) = (r for r in vault.snapshot().content["credentials"] if r["place"].endswith("/oauth"))
    token, refresh = tokens.oauth_token(), tokens.oauth_token()
    granted = {"secret": token, "refresh_token": refresh, "generation": 2, "expires_at": time.time() + 7200}
    daemon = handed_over(
        start,
        bare_env,
        {
            "key": {"key": base64.b64encode(release.KEY).decode(), "source": "file"},
            "unwritten": {record["id"]: {**record, **granted, "minted_at": time.time()}},
        },
    )
    assert daemon.secret("oauth/app") == token
    written = {r["id"]: r for r in vault.snapshot().content["credentials"]}[record["id"]]
    assert (written["generation"], written["refresh_token"] == refresh) == (2, True)


def test_what_was_in_memory_is_handed_over(start: Start, bare_env: dict[str, str], home: Path) -> None:
    """A token that no vault has; and it gets to no disk on the way."""
    token = tokens.access_token()
    record = {"id": "0123456789ab", "kind": "access-token", "place": "https://bitbucket.org", "secret": token}
    agent = {"memory": {"credentials": [record]}, "noted": {"used": {record["id"]: time.time()}, "warned": {}}}
    daemon = handed_over(start, {**bare_env, "GIT_CREDENTIAL_BITBUCKET_KEYRING": "off"}, agent)
    assert daemon.secret("acme/app") == token
    assert [p for p in home.rglob("*") if p.is_file() and token.encode() in p.read_bytes()] == []


def test_a_running_daemon_of_the_release_is_replaced_where_control_is_needed(old: Daemon) -> None:
    """It has no control socket, so the next verb has it stop, and starts one that has; the vault is as it was."""
    kept = tokens.access_token()
    old.store("acme/app", kept)
    daemon_launcher.start(old.env)
    assert old.ended() == 0
    told = old.told_about("status")
    assert (told["version"], told["vault"]) == (__version__, "open")
    assert old.secret("acme/app") == kept
    assert old.ask("exit") == b"ok=1\n"


def test_a_daemon_of_the_release_that_would_lose_something_is_not_replaced(old: Daemon) -> None:
    """It says itself what it has in memory only; so does whoever wanted another."""
    record = {"kind": "access-token", "place": "https://bitbucket.org/memory", "secret": tokens.access_token()}
    assert old.ask("add", f"memory=1\nrecord={json.dumps(record)}\n".encode()).startswith(b"ok=1\n")
    with pytest.raises(DaemonUnavailable, match="this is in its memory only") as refused:
        daemon_launcher.start(old.env)
    assert refused.value.hint
    assert old.told_about("ping")["pid"] == str(old.pid)
    assert old.secret("memory/app") == record["secret"]


def test_a_daemon_of_the_release_that_is_elsewhere_is_left_alone(old: Daemon, home: Path) -> None:
    """At the far end of a forwarded socket it is not ours to end: the process that listens is another."""
    there = home / "there" / "socket"
    with forwarded(there, old.path):
        daemon_launcher.start({**old.env, "GIT_CREDENTIAL_BITBUCKET_SOCKET": str(there)})
        assert old.told_about("ping")["pid"] == str(old.pid)
    assert old.told_about("ping")["pid"] == str(old.pid)
