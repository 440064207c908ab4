"""The life-cycle log: what happens a few times in a credential's life, and nothing else."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from git_credential_bitbucket import access_log, git_protocol
from git_credential_bitbucket.agent import event_log_entry, matching
from git_credential_bitbucket.agent.deferred_answer import wait_for
from git_credential_bitbucket.agent.dispatch import CONTROL, Caller, Dispatcher
from git_credential_bitbucket.vault.key import Key
from tests.agent.conftest import World
from tests.fake_bitbucket import tokens


class Desk:
    """A person's verbs at a dispatcher that notes events. Its state: the log, and the dispatcher."""

    def __init__(self, world: World, path: str) -> None:
        self.world = world
        self.path = path
        self.log = access_log.AccessLog(path)
        self.asked = Dispatcher(world.agent, life_cycle_log=self.log)

    def __call__(self, action: str, body: bytes = b"", /, **fields: str) -> dict[str, str]:
        """What a verb is answered."""
        text = git_protocol.emit(list(fields.items())) + body
        return dict(
            git_protocol.parse_pairs(wait_for(self.asked.answer(action, text, Caller(os.getpid(), 0, CONTROL)) or b""))
        )

    def log_in(self, account: str, **more: str) -> str:
        """A person's API token; returns its id."""
        record = {
            "kind": "api-token",
            "place": self.world.standin.url,
            "secret": tokens.api_token(),
            "account": account,
        }
        return self("add", record=json.dumps(record), **more)["id"]

    def events(self) -> list[dict[str, Any]]:
        """What was written since the last look."""
        self.log.close()
        lines = list(access_log.read(self.path))
        if lines:
            os.unlink(self.path)
        return lines


@pytest.fixture
def desk(world: World, home: Path) -> Desk:
    """A dispatcher over the world's agent."""
    return Desk(world, str(home / "events.jsonl"))


def told(events: list[dict[str, Any]]) -> list[tuple[str, str | None]]:
    """Each event and its account."""
    return [(one["event"], one.get("account")) for one in events]


def test_a_credentials_life(desk: Desk) -> None:
    """Login, switch, rotation, a login in its place, restore, logout: each with what it was about; no secret."""
    first = desk.log_in("alice")
    (login,) = desk.events()
    assert (login["credential"], login["kind"], login["scope"]) == (first, "api-token", desk.world.standin.url)
    assert login["time"].endswith("Z")
    assert login["program"]
    desk("default", id=first)
    desk.log_in("", replaces=first)
    assert told(desk.events()) == [("switch", "alice"), ("rotate", "alice"), ("disable", "alice")]
    record = {"kind": "api-token", "place": desk.world.standin.url, "secret": tokens.api_token()}
    assert "unclear" in desk("add", record=json.dumps(record))
    assert desk.events() == []
    desk.log_in("alice")
    assert told(desk.events()) == [("login", "alice"), ("disable", "alice")]
    desk("restore", id=first)
    assert told(desk.events()) == [("restore", "alice"), ("disable", "alice")]
    desk("remove", id=first, revoke="1")
    (logout,) = desk.events()
    assert (logout["event"], logout["credential"], logout["account"]) == ("logout", first, "alice")


def test_the_vault_s_life_and_a_revocation(desk: Desk) -> None:
    """Lock, unlock and rekey; an unlock of what is open is none; Bitbucket's revocation is told beside the logout."""
    login = desk.world.login()
    assert desk("unlock", **Key(desk.world.key, "environment").to_record())["ok"]
    assert told(desk.events()) == []
    desk("lock")
    desk("unlock", person="1", **Key(desk.world.key, "environment").to_record())
    new = Key(os.urandom(32), "environment").to_record()
    old = Key(desk.world.key, "environment").to_record()["key"]
    assert desk("rekey", old_key=old, **new) == {"ok": "1"}
    assert told(desk.events()) == [("lock", None), ("unlock", None), ("rekey", None)]
    assert desk("remove", id=login.id, revoke="1")["revoked"] == "yes"
    assert told(desk.events()) == [("logout", None), ("revoke", None)]


def test_rejections_that_disable_are_told_and_gets_are_not(desk: Desk) -> None:
    """Of all that git asks, only the third rejection over an hour is an event; what is refused is none."""
    world, token = desk.world, tokens.api_token()
    record = {"kind": "api-token", "place": world.standin.url, "secret": token, "account": "a"}
    desk("add", record=json.dumps(record))
    desk.events()
    head = f"protocol=https\nhost={world.standin.netloc}\n".encode()
    for _ in range(3):
        desk("get", head)
        desk("store", head + f"username=x\npassword={tokens.access_token()}\n".encode())
        desk("erase", head + f"username=x\npassword={token}\nreplaces=x\n".encode())
        world.offset += 2000
    (disabled,) = desk.events()
    assert disabled["event"] == "disable"
    assert "rejected 3 times" in disabled["why"]
    assert token not in json.dumps(disabled)
    desk("restore", id="nobody")
    desk("add", record="{}")
    assert desk.events() == []


def test_a_revocation_that_waited_is_told(desk: Desk) -> None:
    """Bitbucket did not answer at the logout; it does later."""
    world, login = desk.world, desk.world.login()
    world.standin.script_fault("revoke", "503")
    assert desk("remove", id=login.id, revoke="1")["revoked"] == "queued"
    assert told(desk.events()) == [("logout", None)]
    world.offset += 3600
    world.agent.tick()
    world.executor.shutdown()  # waits for what `tick` has begun
    (revoked,) = desk.events()
    assert (revoked["event"], revoked["credential"]) == ("revoke", login.id)


def test_what_is_in_memory_only_leaves_no_line(desk: Desk, home: Path) -> None:
    """Where there is no vault, nobody wanted anything on a disk."""
    desk.world.path.parent.mkdir(mode=0o700, exist_ok=True)
    record = {"kind": "api-token", "place": desk.world.standin.url, "secret": tokens.api_token()}
    assert desk("add", record=json.dumps(record), memory="1")["id"]
    assert desk.events() == []
    assert not (home / "events.jsonl").exists()


def test_idleness_is_told(desk: Desk) -> None:
    """A lock that nobody typed has no program."""
    desk.world.login()
    desk.asked.lock_for_idleness()
    assert [(one["event"], one["why"]) for one in desk.events()] == [("lock", "because it was idle")]


def test_what_is_remembered_of_an_action_holds_no_secret(world: World) -> None:
    """Nor does what is remembered of an answer: either may be shown with an error."""
    token = tokens.api_token()
    begun = event_log_entry.begin(world.agent, "add", git_protocol.emit([("record", json.dumps({"secret": token}))]))
    assert begun is not None
    assert token not in repr(begun)
    answer = matching.KnownAnswer(f"password={token}\n".encode(), world.login(), 0.0, 1.0, None)
    assert token not in repr(answer)
