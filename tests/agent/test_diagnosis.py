"""`explain` over a real vault: it announces what the next `get` does, whatever the credentials have been through."""

import json
import random
from typing import Any

import pytest

from git_credential_bitbucket.agent import diagnosis, retention, status_views
from git_credential_bitbucket.agent.credential import Credential
from git_credential_bitbucket.bitbucket import token_kinds
from git_credential_bitbucket.secret import Secret
from tests.agent.conftest import World
from tests.agent.credentials import an_oauth_login
from tests.fake_bitbucket import tokens

SEEDS = range(6)
STEPS = 12
PLACES = ("", "/acme", "/acme/app")


def explained(world: World, text: str = "", path: str = "acme/app.git") -> list[dict[str, Any]]:
    """The candidates, the first to be looked at first."""
    pairs = status_views.explain_view(world.agent, world.lines(text, path), None)
    return [json.loads(value) for key, value in pairs if key == "candidate[]"]


def a_static(world: World, place: str = "") -> Credential:
    """An API token, kept for that place of the stand-in."""
    record = {"kind": token_kinds.API_TOKEN, "place": world.standin.url + place, "secret": tokens.api_token()}
    return world.keep(retention.credential_from_login(record, world.clock()))


@pytest.mark.parametrize("seed", SEEDS)
def test_the_winner_is_what_the_next_get_hands_out(world: World, seed: int) -> None:
    """Through rejections, renewals, failures and time: the same credential, or nothing."""
    chance = random.Random(seed)
    kept = [world.login(), *(a_static(world, place) for place in PLACES)]
    for _ in range(STEPS):
        move = chance.choice(["erase", "time", "unreachable", "revoke", "get"])
        if move == "erase":
            one = chance.choice(world.kept() or kept)
            world.erase(one.secret.reveal() or None)
        elif move == "time":
            world.offset += chance.choice([30.0, 400.0, 6900.0])
        elif move == "unreachable":
            world.standin.script_fault("token", "503")
        elif move == "revoke":
            world.standin.revoke()
        said = explained(world)
        winner = next((one for one in said if one["wins"]), None)
        got = world.get()
        if winner is not None and winner["outcome"] == "renewed":
            continue  # what comes of a renewal, nobody knows before it
        client = next((one.id for one in world.kept() if one.secret == Secret(got.get("password", ""))), None)
        assert (winner["id"] if winner else None) == client, [move, said]


def test_every_candidate_that_is_passed_over_says_why_and_what_helps(world: World) -> None:
    tokens_kept = [a_static(world, place) for place in PLACES]
    for one in tokens_kept:
        world.erase(one.secret.reveal())
    said = explained(world)
    assert [one["outcome"] for one in said] == ["passed over"] * 3
    assert all(one["why"] and one["hint"] for one in said)
    assert not any(one["wins"] for one in said)


def test_a_suspended_login_whose_refresh_token_was_rejected_is_over() -> None:
    """Its token is rejected and there will be no other: to wait, restore it or check its access helps nobody."""
    rejected: dict[str, Any] = {"suspect_until": 60.0, "trouble": "Bitbucket rejected the refresh token"}
    cases: list[tuple[dict[str, Any], str, str]] = [
        ({"refresh_rejected": True}, "login-expired", "run: git-credential-bitbucket login --oauth"),
        ({}, "suspended", "to ask Bitbucket"),
        ({"refresh_rejected": True, "set_aside_at": 1.0}, "disabled", "restore"),
    ]
    for more, state, hint in cases:
        found = diagnosis.diagnose(an_oauth_login(**rejected, **more), 1.0)
        assert found is not None
        assert (found.state, hint in found.hint) == (state, True), found
    assert diagnosis.diagnose(an_oauth_login(refresh_rejected=True), 1.0) is None, "its token may still work"


def test_it_tells_why_the_winner_goes_before_the_others(world: World) -> None:
    """The first rule that sets it apart."""
    wide = a_static(world)
    assert explained(world)[0]["because"] == "it is the only candidate"
    narrow = a_static(world, "/acme/app")
    assert "scope is narrower" in explained(world)[0]["because"]
    world.erase(narrow.secret.reveal())
    by_id = {one["id"]: one for one in explained(world)}
    assert by_id[wide.id]["because"] == "it is the only candidate left"


def test_nothing_is_changed_and_nothing_secret_is_told(world: World) -> None:
    login = world.login()
    world.offset = 7300.0
    before = world.standin.mark()
    said = explained(world)
    assert said[0]["outcome"] == "renewed"
    assert said[0]["last_used_at"] is None
    assert not world.standin.token_requests(since=before)
    assert login.secret.reveal()[:20] not in json.dumps(said)


def test_other_scopes_on_the_host_are_named(world: World) -> None:
    a_static(world, "/beta/x")
    pairs = status_views.explain_view(world.agent, world.lines(), None)
    assert ("elsewhere[]", f"{world.standin.netloc}/beta/x") in pairs
