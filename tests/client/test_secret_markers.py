"""Marks on erased secrets from the environment: a minute of silence, and why."""

import os
import stat
import time
from pathlib import Path

import pytest

from git_credential_bitbucket.client import secret_markers
from git_credential_bitbucket.errors import InsecurePath
from git_credential_bitbucket.secret import Secret
from tests.fake_bitbucket import tokens
from tests.helpers import request, socket_of
from tests.running import Runner

HOST = "https://bitbucket.org"


def marks(home: Path) -> list[Path]:
    """The marks that lie in the runtime directory."""
    return sorted((home / "run" / "git-credential-bitbucket").glob("erased-*"))


def test_erased_secret_is_not_offered_for_a_minute(front: Runner, helper: Path, home: Path) -> None:
    """git-lfs would ask on without end. After the minute it is offered again; no daemon hears of any of it."""
    secret = tokens.access_token()
    front.env["BITBUCKET_TOKEN"] = secret
    front("git", "credential", "reject", stdin=request(username="x-token-auth", password=secret))
    done = front(helper, "get", stdin=request())
    assert done.stdout == ""
    assert "BITBUCKET_TOKEN" in done.stderr
    assert secret not in done.stderr
    (mark,) = marks(home)
    past = time.time() - secret_markers.ERASED_TTL_S - 1
    os.utime(mark, (past, past))
    assert secret in front(helper, "get", stdin=request()).stdout
    assert not socket_of(home).exists()


def test_other_secret_in_the_same_variable_is_offered_at_once(front: Runner, helper: Path) -> None:
    """A mark is a secret's, not a variable's."""
    old, new = tokens.access_token(), tokens.access_token()
    front("git", "credential", "reject", stdin=request(password=old), env={**front.env, "BITBUCKET_TOKEN": old})
    assert new in front(helper, "get", stdin=request(), env={**front.env, "BITBUCKET_TOKEN": new}).stdout


def test_erase_without_a_secret_marks_what_was_offered(front: Runner, helper: Path, home: Path) -> None:
    """A truncated erase says no secret; nothing that it does is final."""
    front.env["BITBUCKET_TOKEN"] = tokens.access_token()
    front(helper, "erase", stdin=request())
    assert len(marks(home)) == 1


@pytest.mark.parametrize(
    "more", [{"password": "another"}, {"username": "alice"}, {"authtype": "Bearer", "credential": "another"}]
)
def test_erase_of_something_else_leaves_no_mark(front: Runner, helper: Path, home: Path, more: dict[str, str]) -> None:
    """An old secret of the vault, or another account's, is the daemon's to judge; another helper's nobody's here."""
    front.env["BITBUCKET_TOKEN"] = tokens.access_token()
    front(helper, "erase", stdin=request(**more))
    assert marks(home) == []


@pytest.mark.parametrize("named", [{"password": ""}, {"authtype": "Bearer", "credential": "another"}])
def test_only_a_minted_token_holds_the_consumer_back(
    front: Runner, helper: Path, home: Path, named: dict[str, str]
) -> None:
    """Where no daemon remembers what was minted; what another helper handed out ready-made was not."""
    key, secret = tokens.consumer_pair()
    front.env |= {"BITBUCKET_CLIENT_ID": key, "BITBUCKET_CLIENT_SECRET": secret}
    front.env["GIT_CREDENTIAL_BITBUCKET_DAEMON"] = "off"
    front(helper, "erase", stdin=request(username="x-token-auth", **named))
    assert len(marks(home)) == (1 if "password" in named else 0)


def test_the_same_secret_as_a_ready_made_credential_is_suspended(front: Runner, helper: Path, home: Path) -> None:
    """Whoever handed it to git: it was rejected."""
    secret = front.env["BITBUCKET_TOKEN"] = tokens.access_token()
    front(helper, "erase", stdin=request(authtype="Bearer", credential=secret))
    assert len(marks(home)) == 1


def test_mark_is_private_and_tells_nothing(home: Path, bare_env: dict[str, str]) -> None:
    """An empty file, born 0600 in a directory that is ours alone, whatever the umask; its name is a keyed digest."""
    secret = tokens.access_token()
    before = os.umask(0)
    try:
        secret_markers.mark(bare_env, HOST, Secret(secret))
    finally:
        os.umask(before)
    (mark,) = marks(home)
    assert stat.S_IMODE(mark.stat().st_mode) == 0o600
    assert stat.S_IMODE(mark.parent.stat().st_mode) == 0o700
    assert mark.read_bytes() == b""
    assert secret not in mark.name


def test_mark_counts_for_its_host_only(bare_env: dict[str, str]) -> None:
    """What one host refuses, another may take."""
    secret = Secret(tokens.access_token())
    secret_markers.mark(bare_env, HOST, secret)
    assert secret_markers.is_marked(bare_env, HOST, secret)
    assert not secret_markers.is_marked(bare_env, "https://git.example", secret)


@pytest.mark.parametrize(("ahead", "stands"), [(-61, False), (-59, True), (30, True), (3600, False)])
def test_clock_that_was_set_back_keeps_no_mark_for_ever(
    home: Path, bare_env: dict[str, str], ahead: int, stands: bool
) -> None:
    """A mark's time may lie in the future then; a little of that counts, an hour does not."""
    secret = Secret(tokens.access_token())
    secret_markers.mark(bare_env, HOST, secret)
    at = time.time() + ahead
    os.utime(marks(home)[0], (at, at))
    assert secret_markers.is_marked(bare_env, HOST, secret) is stands


def test_second_rejection_begins_a_new_minute(home: Path, bare_env: dict[str, str]) -> None:
    """The same secret's mark is renewed, not left as it was."""
    secret = Secret(tokens.access_token())
    secret_markers.mark(bare_env, HOST, secret)
    past = time.time() - 50
    os.utime(marks(home)[0], (past, past))
    secret_markers.mark(bare_env, HOST, secret)
    assert time.time() - marks(home)[0].stat().st_mtime < 40


def test_old_marks_are_swept(home: Path, bare_env: dict[str, str]) -> None:
    """Leaving one removes those that no longer stand, and nothing else."""
    secret_markers.mark(bare_env, HOST, Secret(tokens.access_token()))
    (old,) = marks(home)
    other = old.parent / "socket.lock"
    other.touch()
    for path in (old, other):
        os.utime(path, (0, 0))
    secret_markers.mark(bare_env, HOST, Secret(tokens.access_token()))
    assert old not in marks(home)
    assert len(marks(home)) == 1
    assert other.exists()


def test_open_directory_is_refused_with_the_chmod_to_type(
    home: Path, bare_env: dict[str, str], front: Runner, helper: Path
) -> None:
    """Others could leave marks there, and learn who was marked."""
    place = home / "run" / "git-credential-bitbucket"
    place.mkdir(mode=0o755)
    place.chmod(0o755)
    secret = tokens.access_token()
    with pytest.raises(InsecurePath):
        secret_markers.mark(bare_env, HOST, Secret(secret))
    text = request(username="x-token-auth", password=secret)
    done = front(helper, "erase", stdin=text, env={**front.env, "BITBUCKET_TOKEN": secret})
    assert f"chmod 0700 {place}" in done.stderr


def test_runtime_directory_that_cannot_be_written_to_is_told(front: Runner, helper: Path, home: Path) -> None:
    (home / "file").touch()
    secret = tokens.access_token()
    env = {**front.env, "BITBUCKET_TOKEN": secret, "XDG_RUNTIME_DIR": str(home / "file")}
    done = front(helper, "erase", stdin=request(password=secret), env=env)
    assert "cannot record the rejection" in done.stderr
    assert secret not in done.stderr
