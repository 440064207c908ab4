"""The review of credentials: their age, OAuth scopes and use, and flags. Sends no request.

Atlassian's and others' guides ask for one each quarter, and for new secrets every ninety days. It says only what holds:
what the access log does not reach back to is not judged. Whether anything was pushed, no credential helper knows.
"""

from __future__ import annotations

from itertools import dropwhile
from typing import TYPE_CHECKING, Literal, NamedTuple, TypedDict

from git_credential_bitbucket import access_log
from git_credential_bitbucket.bitbucket import scopes, token_kinds
from git_credential_bitbucket.ui import arguments, dates

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from git_credential_bitbucket.access_log import Entry
    from git_credential_bitbucket.agent.status_views import CredentialView

UNUSED_S = 90 * dates.DAY_S
OLD_S = 90 * dates.DAY_S
TEST_OLD_S = 30 * dates.DAY_S
"""How old a token for tests may be."""
NEW_S = 7 * dates.DAY_S
"""How long a program counts as new."""
WIDE_AFTER_S = 30 * dates.DAY_S
"""How far the access log must reach back before it tells what a credential is not used for."""
_NO_PROGRAM = frozenset({"sh"})
"""What git runs its helpers by."""


class Flag(TypedDict):
    """What needs attention in a credential, for programs and for people."""

    flag: Literal["unused", "old", "wide", "new-program"]
    why: str


class Reviewed(TypedDict):
    """One credential; times are epoch seconds. `programs` and `repositories` are what the access log has of its use."""

    id: str
    scope: str
    kind: token_kinds.Kind
    account: str | None
    oauth_scopes: list[str]
    created_at: float
    age_days: int | None
    last_used_at: float | None
    programs: list[str]
    repositories: list[str]
    flags: list[Flag]


class Review(TypedDict):
    """All of them, at `now`. `log_since` is how far the access log reaches back; None where it has no line."""

    now: int
    log_on: bool
    log_since: float | None
    credentials: list[Reviewed]


class _Use(NamedTuple):
    """What the access log has of one credential: when each program first used it, and each scope that was asked for."""

    programs: dict[str, float]
    scopes: dict[str, None]


def review(
    credentials: Iterable[CredentialView], lines: Iterable[Entry], now: float, *, tests: frozenset[str], log_on: bool
) -> Review:
    """Look at each credential that is not disabled. `tests` are ids and accounts of tokens that are for tests."""
    since: float | None = None
    uses: dict[str, _Use] = {}
    for line in lines:
        at = access_log.time_of(line)
        if at is None or at > now:
            continue
        since = min(at, since or at)
        if line.get("outcome") == "given" and (name := str(line.get("credential"))):
            use = uses.setdefault(name, _Use({}, {}))
            use.programs.setdefault(program_of(line.get("program")), at)
            use.scopes.setdefault(str(line.get("scope")))
    named = frozenset(map(str.lower, tests))
    reach = 0.0 if since is None or not log_on else now - since
    found = []
    for one in (one for one in credentials if one["state"] != "disabled"):
        is_test = not named.isdisjoint({one["id"], *arguments.account_names(one)})
        found.append(_reviewed(one, uses.get(one["id"], _Use({}, {})), now, reach, is_test=is_test))
    return {"now": int(now), "log_on": log_on, "log_since": since, "credentials": found}


def program_of(lineage: object) -> str:
    """The program that had git run, of its names and its ancestors', nearest first: the first that is not git's own."""
    names = [str(name) for name in lineage] if isinstance(lineage, list) else []
    behind_git = list(dropwhile(lambda name: not _is_gits(name), names)) or names
    return next((name for name in behind_git if not _is_gits(name) and name not in _NO_PROGRAM), "unknown")


def _is_gits(name: str) -> bool:
    return name == "git" or name.startswith("git-")


def _reviewed(one: CredentialView, use: _Use, now: float, reach: float, *, is_test: bool) -> Reviewed:
    return {
        "id": one["id"],
        "scope": one["scope"],
        "kind": one["kind"],
        "account": one["account"],
        "oauth_scopes": one["oauth_scopes"],
        "created_at": one["created_at"],
        "age_days": int(max(0.0, now - one["created_at"]) // dates.DAY_S) if one["created_at"] else None,
        "last_used_at": one["last_used_at"],
        "programs": sorted(use.programs),
        "repositories": sorted(_without_scheme(scope) for scope in use.scopes if scopes.depth(scope)),
        "flags": [*_of_time(one, now, is_test=is_test), *_of_use(one, use, now, reach)],
    }


def _of_time(one: CredentialView, now: float, *, is_test: bool) -> Iterator[Flag]:
    used_at, created_at = one["last_used_at"], one["created_at"] or now  # 0 is not known
    idle_s = now - (used_at or created_at)
    if idle_s > UNUSED_S:
        said = "has not been used for" if used_at else "has never been used, and has been stored for"
        yield {"flag": "unused", "why": f"{said} {dates.time_left(idle_s)}"}
    limit = TEST_OLD_S if is_test else OLD_S
    renews = one["kind"] == token_kinds.OAUTH and one["renewed_at"] is not None
    if not renews and now - created_at > limit:
        age = dates.time_left(now - created_at)
        yield {"flag": "old", "why": f"is {age} old, and should be replaced after {dates.time_left(limit)}"}


def _of_use(one: CredentialView, use: _Use, now: float, reach: float) -> Iterator[Flag]:
    # A request that named no repository may have been for any.
    depth, asked = scopes.depth(one["url"]), list(use.scopes)
    if reach >= WIDE_AFTER_S and asked and all(scopes.depth(scope) > depth for scope in asked):
        scope = {"/".join(scope.split("/")[:5]) for scope in asked}
        scope = scope if len(scope) == 1 else {"/".join(scope.split("/")[:4]) for scope in asked}
        if len(scope) == 1 and scopes.depth(narrow := scope.pop()) > depth:
            why = f"is for {one['scope']}, but only {_without_scheme(narrow)} was asked for in {dates.time_left(reach)}"
            yield {"flag": "wide", "why": why}
    if reach > NEW_S and now - one["created_at"] > NEW_S:
        for name in sorted(name for name, first in use.programs.items() if now - first < NEW_S):
            why = f"was used by {name} for the first time, as far as the access log goes, on "
            yield {"flag": "new-program", "why": why + dates.day(use.programs[name])}


def _without_scheme(scope: str) -> str:
    return scope.partition("://")[2]
