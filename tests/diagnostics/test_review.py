"""The review of what is kept: what is flagged, what is not, and what is not known."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, cast

import pytest

from git_credential_bitbucket.diagnostics.review import Reviewed, program_of, review

if TYPE_CHECKING:
    from git_credential_bitbucket.agent.status_views import CredentialView

NOW = 1_800_000_000.0
DAY = 86400.0
HOST = "https://bitbucket.org"
GIT = ["git-credential-b", "git", "git-remote-http", "git"]


def kept(**fields: object) -> dict[str, Any]:
    """A credential as `status` shows it: a day old, and used."""
    names = {"account": "alice@example.test", "bitbucket_username": "alice", "account_id": None}
    times = {"created_at": NOW - DAY, "last_used_at": NOW - 60, "renewed_at": None, "state": "ready"}
    rest = {"id": "abc", "scope": "bitbucket.org", "url": HOST, "kind": "api-token", "oauth_scopes": []}
    return {**names, **times, **rest, **fields}


def given(days_ago: float, place: str = "acme/app", *programs: str, **fields: object) -> dict[str, Any]:
    """A line of the access log."""
    moment = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(NOW - days_ago * DAY))
    line = {"time": moment, "operation": "get", "outcome": "given", "scope": f"{HOST}/{place}".rstrip("/")}
    return {**line, "credential": "abc", "program": [*GIT, *(programs or ("make", "bash"))], **fields}


def reviewed(
    one: dict[str, Any], *lines: dict[str, Any], tests: frozenset[str] = frozenset(), log_on: bool = True
) -> Reviewed:
    """What is found of one credential."""
    found = review([cast("CredentialView", one)], lines, NOW, tests=tests, log_on=log_on)
    return found["credentials"][0]


def flags(
    one: dict[str, Any], *lines: dict[str, Any], tests: frozenset[str] = frozenset(), log_on: bool = True
) -> list[str]:
    """The flags alone."""
    return [flag["flag"] for flag in reviewed(one, *lines, tests=tests, log_on=log_on)["flags"]]


def test_what_was_used_lately_is_fine() -> None:
    found = reviewed(kept(oauth_scopes=["repository"]), given(0.5), given(0.4, "acme/lib", "code"), given(0.3, ""))
    assert found["flags"] == []
    assert (found["programs"], found["repositories"]) == (
        ["code", "make"],
        ["bitbucket.org/acme/app", "bitbucket.org/acme/lib"],
    )
    assert (found["age_days"], found["oauth_scopes"], found["scope"]) == (1, ["repository"], "bitbucket.org")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"created_at": NOW - 89 * DAY, "last_used_at": NOW - 89 * DAY}, []),
        ({"created_at": NOW - 91 * DAY, "last_used_at": None}, ["unused", "old"]),
        ({"created_at": NOW - 91 * DAY}, ["old"]),
        ({"created_at": NOW - 200 * DAY, "kind": "oauth", "renewed_at": NOW}, []),
        (
            {"created_at": NOW - 200 * DAY, "kind": "oauth", "renewed_at": NOW, "last_used_at": NOW - 91 * DAY},
            ["unused"],
        ),
        ({"created_at": NOW - 200 * DAY, "kind": "client-credentials", "renewed_at": NOW}, ["old"]),
        ({"created_at": 0.0, "last_used_at": None}, []),
    ],
)
@pytest.mark.parametrize("log_on", [True, False])
def test_age_and_last_use(fields: dict[str, Any], expected: list[str], log_on: bool) -> None:
    """They need no log; a login that renews itself has no age, and what is not known is not flagged."""
    assert flags(kept(**fields), log_on=log_on) == expected


@pytest.mark.parametrize("name", ["abc", "alice", "alice@example.test"])
def test_a_token_for_tests_is_old_after_thirty_days(name: str) -> None:
    """It is named by its id or by an account's name."""
    assert flags(kept(created_at=NOW - 31 * DAY)) == []
    assert flags(kept(created_at=NOW - 31 * DAY), tests=frozenset({name})) == ["old"]
    assert flags(kept(created_at=NOW - 29 * DAY), tests=frozenset({name})) == []


def test_what_is_wider_than_its_use() -> None:
    """Only where the log reaches back far enough, and every request named what it was for."""
    host, workspace = kept(), kept(url=f"{HOST}/acme", scope="bitbucket.org/acme")
    old = given(40)
    assert "only bitbucket.org/acme/app was asked for" in reviewed(host, old, given(1))["flags"][0]["why"]
    assert "only bitbucket.org/acme was asked for" in reviewed(host, old, given(1, "acme/lib"))["flags"][0]["why"]
    assert flags(workspace, old, given(1)) == ["wide"]
    for lines in ([old, given(1, "other/app")], [old, given(1, "")], [given(20)], [old]):
        named = [line if line is not old or len(lines) > 1 else {**old, "outcome": "nothing"} for line in lines]
        assert flags(host, *named) == []
    assert flags(workspace, old, given(1, "acme/lib")) == []
    assert flags(host, old, log_on=False) == []


def test_a_program_that_is_new_this_week() -> None:
    """Not where the log, or the credential, is no older than that."""
    mine = kept(created_at=NOW - 80 * DAY)
    lines = (given(20), given(20, ""), given(3, "", "curl"), given(2, "", "curl"))
    (flag,) = reviewed(mine, *lines)["flags"]
    assert (flag["flag"], "curl" in flag["why"]) == ("new-program", True)
    assert flags(kept(), *lines) == []
    assert flags(mine, *lines[2:]) == []
    assert flags(mine, *lines[:2], given(8, "", "curl"), given(1, "", "curl")) == []
    assert flags(mine, *lines, given(30, "", "x", credential="another")) == ["new-program"]


def test_the_program_is_who_had_git_run() -> None:
    """Not git, its helpers, or the shell that git runs them by."""
    assert program_of([*GIT, "make", "bash"]) == "make"
    assert program_of(["git-credential-b", "sh", "git", "code"]) == "code"
    assert program_of(["python3", "git", "git-lfs", "git", "bash"]) == "bash"
    assert program_of(["python3", "cron"]) == "python3"
    assert program_of(["git"]) == program_of(None) == "unknown"


def test_disabled_credentials_are_not_reviewed() -> None:
    one = cast("CredentialView", kept(state="disabled", created_at=1.0))
    found = review([one], [given(3)], NOW, tests=frozenset(), log_on=True)
    assert found["credentials"] == []
    assert found["log_since"] == NOW - 3 * DAY
