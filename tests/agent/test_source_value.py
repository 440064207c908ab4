"""Credentials whose secret is fetched: from real files and commands, rotated and broken under the agent."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from git_credential_bitbucket import secret_sources
from git_credential_bitbucket.agent import matching, retention
from git_credential_bitbucket.agent.agent import ACKNOWLEDGED
from git_credential_bitbucket.agent.control_actions import control
from git_credential_bitbucket.agent.credential import Credential
from git_credential_bitbucket.agent.deferred_answer import Deferred, wait_for
from git_credential_bitbucket.agent.source_value import RECHECK_S
from git_credential_bitbucket.bitbucket import token_kinds
from tests.agent.conftest import World
from tests.fake_bitbucket import tokens

API = token_kinds.API_TOKEN_USERNAME
REQUEST = b"protocol=https\nhost=%b\npath=acme/app.git\n"
STATE = "capability[]=state\n"


class Source:
    """A secret outside the vault: a file, and a command that prints it and counts how often it was asked."""

    def __init__(self, folder: Path) -> None:
        self.file, self.count, self.program = folder / "secret", folder / "count", folder / "program"
        self.count.write_text("")
        self.gate = folder / "gate"
        self.program.write_text(
            f"#!/bin/sh\necho >> {self.count}\n[ -p {self.gate} ] && cat {self.gate}\ncat {self.file}\n"
        )
        self.program.chmod(0o755)
        self.rotate()

    def rotate(self) -> str:
        """Put a new token there, which is returned."""
        self.file.write_text(token := tokens.api_token())
        return token

    def token(self) -> str:
        """What is there now."""
        return self.file.read_text()

    @contextmanager
    def held(self) -> Iterator[None]:
        """While it lasts the command, once started, does not end."""
        os.mkfifo(self.gate)
        yield
        with self.gate.open("wb"):
            self.gate.unlink()

    def asked(self) -> int:
        """How often the command was run."""
        return len(self.count.read_text())


@pytest.fixture
def source(tmp_path: Path) -> Source:
    """One with a token."""
    folder = tmp_path / "source"
    folder.mkdir()
    return Source(folder)


def fetched_by(world: World, reference: str, **more: object) -> Credential:
    """A credential of the vault that has a source."""
    record = {"kind": token_kinds.API_TOKEN, "place": world.standin.url, "secret": "", "source": reference, **more}
    return world.keep(retention.credential_from_login(record, world.clock()))


def of_file(world: World, source: Source) -> Credential:
    """Fetched from the file."""
    return fetched_by(world, f"file:{source.file}")


def by_command(world: World, source: Source) -> Credential:
    """Fetched by the command."""
    return fetched_by(world, f"exec:{source.program}")


def stored(world: World) -> str:
    """All that the vault holds, decrypted."""
    return json.dumps(world.agent.credential_store.vault.snapshot().content)


def now(world: World, kept: Credential) -> Credential:
    """The credential as the agent has it now."""
    found = world.agent.credential_store.index().get(kept.id)
    assert found is not None
    return found


def test_changed_file_is_what_git_gets(world: World, source: Source) -> None:
    """Without a rejection in between; and nothing of either value is ever in the vault."""
    of_file(world, source)
    first = world.get()["password"]
    assert (world.get()["username"], first) == (API, source.token())
    second = source.rotate()
    assert world.get()["password"] == second
    world.agent.credential_store.flush()
    assert first not in stored(world)
    assert second not in stored(world)


def test_command_is_asked_once_by_many(world: World, source: Source) -> None:
    """Two hundred at once, and later ones within its time; after that it is asked again."""
    by_command(world, source)
    with source.held():
        waiting = [world.agent.get(world.lines()) for _ in range(200)]
    assert all(isinstance(answer, Deferred) for answer in waiting)
    assert {wait_for(answer) for answer in waiting} == {f"username={API}\npassword={source.token()}\n".encode()}
    assert world.get()["password"] == source.token()
    assert source.asked() == 1
    world.offset += secret_sources.CACHED_S
    new = source.rotate()
    assert world.get()["password"] == new
    assert source.asked() == 2


@pytest.mark.parametrize(
    ("known", "told", "username"),
    [("alice", None, "alice"), (None, "bob", "bob"), (None, None, token_kinds.ACCESS_TOKEN_USERNAME)],
)
def test_a_data_centers_token_goes_with_its_owner(
    world: World, source: Source, known: str | None, told: str | None, username: str
) -> None:
    """As the login learnt it, or as the source tells it; without one it is a project's."""
    source.file.write_text(
        json.dumps({"token": (token := tokens.http_token()), **({"username": told} if told else {})})
    )
    fetched_by(world, f"exec:{source.program}", kind=token_kinds.ACCESS_TOKEN, bitbucket_username=known)
    answer = world.get()
    assert (answer["username"], answer["password"]) == (username, token)


def test_expiry_that_the_source_tells_is_kept(world: World, source: Source) -> None:
    """Git is told of it, and just before it the command is asked again."""
    until = int(world.clock()) + 3600
    source.file.write_text(json.dumps({"token": tokens.api_token(), "expires": until}))
    by_command(world, source)
    assert world.get()["password_expiry_utc"] == str(until)
    world.offset += 3000
    world.get()
    assert source.asked() == 1
    source.file.write_text(json.dumps({"token": (later := tokens.api_token()), "expires": until + 3600}))
    world.offset += 500
    assert world.get()["password"] == later


def test_rotation_is_seen_in_the_same_command(world: World, source: Source) -> None:
    """Git asks again with its state when the server says 401 (since 2.46), and gets the new one."""
    kept = by_command(world, source)
    answer = world.get(STATE)
    new = source.rotate()
    again = world.get(f"{STATE}state[]={answer['state[]']}\n")
    assert again["password"] == new
    assert now(world, kept).suspect_until is None


def test_rotation_is_seen_before_the_old_value_is_blamed(world: World, source: Source) -> None:
    """An older git only erases: the next command has the new value, and nothing is held against the credential."""
    kept = by_command(world, source)
    old = world.get()["password"]
    new = source.rotate()
    assert world.erase(old) == ACKNOWLEDGED
    assert world.get()["password"] == new
    assert world.erase(old) == ACKNOWLEDGED
    assert (now(world, kept).suspect_until, now(world, kept).suspensions) == (None, None)
    assert source.asked() == 2


def test_value_that_is_still_the_same_is_suspended(world: World, source: Source) -> None:
    """After one more question; and it is offered again as soon as the source has another."""
    of_file(world, source)
    old = world.get()["password"]
    world.erase(old)
    assert world.get() == {}
    assert world.get() == {}
    new = source.rotate()
    assert world.get()["password"] == new


def test_suspended_command_is_not_run_by_each_get(world: World, source: Source) -> None:
    """git-lfs asks 155 times in 20 seconds."""
    by_command(world, source)
    world.erase(world.get()["password"])
    for _ in range(20):
        assert world.get() == {}
    assert source.asked() == 2
    new = source.rotate()
    world.offset += RECHECK_S + 1
    assert world.get()["password"] == new


def test_rejections_never_disable_it(world: World, source: Source) -> None:
    """Its source may have a better value at any time."""
    kept = by_command(world, source)
    for _ in range(5):
        world.get()
        world.erase(source.token(), path="")
        world.offset += 3601
    assert now(world, kept).set_aside_at is None
    assert world.get()["password"] == source.token()


def test_failing_source_loses_nothing(world: World, source: Source) -> None:
    """What was fetched is used for as long as it is not rejected; then it is told why there is no other."""
    kept = by_command(world, source)
    old = world.get()["password"]
    source.file.unlink()
    world.offset += secret_sources.CACHED_S
    assert world.get()["password"] == old
    assert "exit code 1" in (now(world, kept).trouble or "")
    world.erase(old)
    assert world.get() == {}


def test_missing_value_is_told_and_asked_for_again(world: World, source: Source) -> None:
    """A sealed vault is unsealed at some time; the pause is short, and by hand there is none."""
    token = source.token()
    source.file.unlink()
    kept = by_command(world, source)
    assert world.get() == {}
    why = wait_for(control(world.agent, "why", REQUEST % world.standin.netloc.encode())).decode()
    assert "the API token" in why
    assert "program failed with exit code 1" in why
    assert source.asked() == 1
    world.get()
    assert source.asked() == 1
    source.file.write_text(token)
    assert b"ok=1" in wait_for(control(world.agent, "refresh", f"id={kept.id}\nby_hand=1\n".encode()))
    assert world.get()["password"] == token


@pytest.mark.parametrize("is_same_process", [True, False])
def test_git_does_not_store_what_came_from_a_source(world: World, source: Source, *, is_same_process: bool) -> None:
    """Each command that worked ends with a `store`; another process, or a daemon started since, knows no value."""
    by_command(world, source)
    token = world.get()["password"]
    if not is_same_process:
        world.agent = world.another()
        world.agent.credential_store.open()
    assert world.store(API, token, approved=False) == ACKNOWLEDGED
    if is_same_process:
        source.rotate()
        world.offset += secret_sources.CACHED_S
        world.get()
        assert world.store(API, token, approved=False) == ACKNOWLEDGED
    assert len(list(world.agent.credential_store.index())) == 1
    assert token not in stored(world)


def test_rejection_in_a_process_that_knows_no_value(world: World, source: Source) -> None:
    """Without a daemon each command is one: the source tells whether what was rejected is what it has."""
    kept = by_command(world, source)
    token = world.get()["password"]
    world.agent = world.another()
    world.agent.credential_store.open()
    request = world.lines(f"username={API}\npassword={token}\n")
    wait_for(world.agent.erase(request))
    assert world.get() == {}
    assert now(world, kept).suspensions


def test_locked_vault_has_no_values(world: World, source: Source) -> None:
    by_command(world, source)
    token = world.get()["password"]
    world.agent.lock("by hand")
    assert world.get() == {}
    assert token not in str([vars(world.agent.credential_store)])


def test_logout_lets_go_of_the_value(world: World, source: Source) -> None:
    kept = by_command(world, source)
    token = world.get()["password"]
    retention.remove(world.agent.credential_store, kept.id)
    assert world.get() == {}
    assert token not in str([vars(world.agent.credential_store)])


def test_login_again_with_the_same_source_replaces_it(world: World, source: Source) -> None:
    of_file(world, source)
    kept = of_file(world, source)
    assert [one.id for one in world.agent.credential_store.index()] == [kept.id]


def test_secret_of_a_consumer_is_fetched_for_each_token(world: World, source: Source) -> None:
    """It is rotated elsewhere, and is neither in the vault nor in an answer that waits to be written."""
    consumer = world.standin.add_consumer()
    source.file.write_text(consumer.secret)
    kept = fetched_by(
        world,
        f"exec:{source.program}",
        kind=token_kinds.CLIENT_CREDENTIALS,
        client_id=consumer.key,
        endpoint=world.endpoint.to_record(),
    )
    assert world.get()["username"] == token_kinds.ACCESS_TOKEN_USERNAME
    assert source.asked() == 1
    assert consumer.secret not in stored(world)
    assert now(world, kept).client_secret is None


def test_older_version_passes_over_it(world: World, source: Source) -> None:
    """It does not know the field, and finds a token that is empty."""
    kept = by_command(world, source)
    record = kept.to_record()
    del record["source"]
    index = matching.Index([record])
    (older,) = matching.find_candidates(index, world.lines(), lambda: None).candidates
    assert (older.secret.reveal(), older.is_fetched) == ("", False)
