"""A plain model of what is kept and what answers: lists and loops, no index, no vault, nothing shared with the program.

Which credential answers, what git may store, and what a rejection means, as the design's decisions 7 and 8 say it.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field
from urllib.parse import unquote

API, ACCESS, UNKNOWN, OAUTH = "api-token", "access-token", "unknown", "oauth"
USERNAMES = {API: "x-bitbucket-api-token-auth", ACCESS: "x-token-auth", OAUTH: "x-token-auth"}
DELAYS_S = (60, 300, 900, 1800, 3600)
MISS_S = 600
SPREAD_S = 600
LIFE_S = 7200
PROMISED_S = 600
ASKED, UNASKED = "asked", "unasked"


@dataclass
class Mark:
    """A rejection at one repository: when, how often by then, and until when it keeps the credential from there.

    `counts` until the credential is accepted somewhere. `renews`: a new token may be tried there.
    """

    at: float
    until: float
    times: int
    renews: bool
    counts: bool = True


@dataclass
class Kept:
    """One credential. `names` are its person's; `typed` is what git stored it for, if that binds it."""

    kind: str
    host: str
    scope: tuple[str, ...]
    secret: str = field(repr=False)
    made: float
    id: str = ""
    names: frozenset[str] = frozenset()
    typed: tuple[str, str | None] | None = None
    unasked: bool = False
    default: bool = False
    fallback: bool = False
    disabled: bool = False
    replaced: list[Kept] = field(default_factory=list, repr=False)
    until: float = 0.0
    rejections: list[float] = field(default_factory=list)
    marks: dict[str, Mark] = field(default_factory=dict)
    minted: float = 0.0
    dropped: bool = False
    rejected_at: float | None = None
    former: set[str] = field(default_factory=set, repr=False)

    @property
    def bound(self) -> bool:
        """Whether git stored it unasked, although it is of a kind that could serve more."""
        return self.unasked and self.kind != UNKNOWN

    @property
    def personal(self) -> bool:
        """Whether it acts for a person."""
        return self.kind in (API, OAUTH) and not self.bound

    @property
    def own(self) -> str:
        """Its scope, as rejections name repositories."""
        return "/".join((self.host, *self.scope))

    def suspended(self, now: float, repository: str) -> bool:
        """Whether a rejection keeps it from being offered there."""
        there = [self.marks[name] for name in {repository, self.own} & self.marks.keys()]
        return now < self.until or any(now < mark.until and not mark.renews for mark in there)

    def must_renew(self, now: float, repository: str) -> bool:
        """Whether its token is not to be offered there, but a new one may be."""
        if self.kind != OAUTH:
            return False
        mark = self.marks.get(repository)
        return self.dropped or (mark is not None and mark.renews) or self.minted + LIFE_S - now < PROMISED_S

    def stands(self, now: float) -> bool:
        """Whether nothing speaks against it."""
        ended = self.kind == OAUTH and self.minted + LIFE_S <= now
        return not (self.disabled or self.suspended(now, "") or self.rejections or self.bound or ended)

    def renewed(self, secret: str, now: float) -> None:
        """A new token has taken the old one's place."""
        if not self.dropped:
            self.former.add(self.secret)
        self.secret, self.minted, self.dropped, self.until = secret, now, False, 0.0
        for mark in self.marks.values():
            mark.until, mark.renews = (0.0, False) if mark.renews else (mark.until, False)


class Model:
    """What is kept, and what git asked for in vain."""

    def __init__(self) -> None:
        self.kept: list[Kept] = []
        self.misses: dict[tuple[str, str | None, str | None], float] = {}

    def choice(self, host: str, path: str | None, user: str | None, now: float, *, rest: bool = False) -> Kept | None:
        """What answers; asking changes nothing."""
        repository = repository_of(host, path)
        for kept in self.order(host, path, user):
            if not (kept.disabled or kept.suspended(now, repository) or (rest and kept.unasked)):
                return kept
        return None

    def order(self, host: str, path: str | None, user: str | None) -> list[Kept]:
        """What may answer, best first."""
        named = names(path)
        found = []
        for kept in self.kept:
            covers = is_open(path) or named[: len(kept.scope)] == kept.scope
            if kept.host == host and covers and fits(kept, path, user) and self.is_of(kept, host, user):
                found.append(kept)
        inside = is_open(path) and any(kept.scope for kept in self.kept if kept.host == host)

        def rank(kept: Kept) -> tuple[object, ...]:
            depth = len(kept.scope)
            return (
                2 if kept.unasked else kept.kind == UNKNOWN,
                user in USERNAMES.values() and user != USERNAMES.get(kept.kind, kept.typed and kept.typed[0]),
                depth if inside else -depth,
                not kept.default,
                not any(one.default and one.scope == kept.scope and one.names & kept.names for one in found),
                kept.fallback,
                -kept.made,
            )

        return sorted(found, key=rank)

    def is_of(self, kept: Kept, host: str, user: str | None) -> bool:
        """Whether a credential may be meant by a username: it is that person's, or nobody's."""
        if not user or user in USERNAMES.values() or not kept.personal:
            return True
        persons: list[set[str]] = []
        for each in self.kept:
            if each.host == host and each.personal:
                same = [person for person in persons if person & each.names or not (person or each.names)]
                persons = [person for person in persons if person not in same]
                persons.append(set(each.names).union(*same))
        known = [person for person in persons if user.lower() in person]
        if known:
            return bool(kept.names & known[0])
        return len(persons) == 1 or all(any("@" not in name for name in person) for person in persons)

    def missed(self, host: str, path: str | None, user: str | None, now: float) -> None:
        """Git asked in vain."""
        self.misses[host, path, user] = now

    def closes(self, host: str, path: str | None, user: str, now: float) -> bool:
        """Whether a `store` answers what was asked in vain; then that is answered."""
        for name in (user, None):
            at = self.misses.pop((host, path, name), None)
            if at is not None and now - at <= MISS_S:
                return True
        return False

    def store(self, new: Kept, path: str | None, user: str, *, approved: bool, now: float) -> None:
        """Git stores a secret that nobody has seen before."""
        asked = self.closes(new.host, path, user, now) or approved
        if new.kind == UNKNOWN or not asked:
            new.scope, new.typed, new.unasked = (), (user, path), not asked
            same = [k for k in self.kept if (k.kind, k.host, k.typed) == (new.kind, new.host, new.typed)]
            for old in same:
                if new.unasked and not (old.unasked or old.disabled):
                    continue  # somebody was asked for that one
                if new.bound or old.disabled:
                    self.kept.remove(old)
                else:
                    old.disabled = True
                    new.replaced += [] if asked else [old]
        else:
            new.scope = names(path) if new.kind == ACCESS else ()
            new.names = frozenset({user} if new.kind == API and user not in USERNAMES.values() else ())
            self._replace(new, [k for k in self._like(new) if is_same_person(k, new)])
            there = [k for k in self.kept if (k.host, k.scope) == (new.host, new.scope) and k.kind != UNKNOWN]
            new.fallback = any(k.stands(now) for k in there)
        self.kept.append(new)

    def log_in(self, new: Kept, unclear: str, now: float) -> bool:
        """A person logs in; whether it is kept. `unclear` is the person's word on logins of nobody knows whom."""
        same: list[Kept] = []
        doubtful: list[Kept] = []
        for old in self._like(new):
            if new.names and old.names:
                same += [old] if new.names & old.names else []
            else:
                (doubtful if old.stands(now) else same).append(old)
        if doubtful and unclear == "ask":
            return False
        self._replace(new, same + (doubtful if unclear == "replace" else []))
        self.kept.append(new)
        return True

    def _like(self, new: Kept) -> list[Kept]:
        same = [k for k in self.kept if (k.kind, k.host, k.scope) == (new.kind, new.host, new.scope)]
        return [k for k in same if not (k.disabled or k.bound)]

    def _replace(self, new: Kept, old: list[Kept]) -> None:
        for each in old:
            each.disabled = True
            new.default = new.default or each.default

    def make_default(self, kept: Kept) -> None:
        """A person chooses one for its scope."""
        for each in self.kept:
            if (each.host, each.scope) == (kept.host, kept.scope):
                each.default = each is kept

    def accept(self, kept: Kept, repository: str) -> None:
        """The server took it."""
        kept.rejections, kept.until = [], 0.0
        kept.marks.pop(repository, None)
        for mark in kept.marks.values():
            mark.counts = False

    def reject(self, kept: Kept, repository: str, now: float) -> None:
        """The server did not take it, at one repository or, where git names none, anywhere."""
        if kept.disabled:
            return
        if kept.kind == UNKNOWN:
            kept.disabled = True
            for old in kept.replaced:
                old.disabled = False
            return
        mark = kept.marks.get(repository)
        if kept.suspended(now, repository) or (mark is not None and mark.renews):
            return  # told once more of what is known
        if repository == kept.host:
            self._reject_everywhere(kept, now)
            return
        kept.marks = {name: each for name, each in kept.marks.items() if now - each.at < 2 * DELAYS_S[-1]}
        times = kept.marks[repository].times + 1 if repository in kept.marks else 1
        others = [m for name, m in kept.marks.items() if name != repository and m.counts and now - m.at < SPREAD_S]
        renews = kept.kind == OAUTH and not self._is_fresh(kept, now)
        kept.marks[repository] = Mark(now, now + delay(times), times, renews)
        if others:
            self._reject_everywhere(kept, now)
        elif renews:
            kept.rejected_at = now

    def _reject_everywhere(self, kept: Kept, now: float) -> None:
        if kept.kind == OAUTH and not self._is_fresh(kept, now):
            kept.former.add(kept.secret)
            kept.dropped, kept.rejected_at, kept.until = True, now, 0.0
            return
        kept.rejections.append(now)
        if kept.kind != OAUTH and len(kept.rejections) >= 3 and now - kept.rejections[0] > 3600:
            kept.disabled, kept.until = True, 0.0
        else:
            kept.until = now + delay(len(kept.rejections))

    def _is_fresh(self, kept: Kept, now: float) -> bool:
        """Whether a rejection caused a renewal a moment ago, and this is the new token's."""
        return kept.rejected_at is not None and kept.minted >= kept.rejected_at and now - kept.rejected_at < 60


def delay(times: int) -> int:
    """How long a credential is suspended after so many rejections."""
    return DELAYS_S[min(times, len(DELAYS_S)) - 1]


def names(path: str | None) -> tuple[str, ...]:
    """Workspace and repository in a path, by the plainest reading; none where it is not plain."""
    parts = (path or "").lower().strip("/").split("/")
    if not path or {"", ".", ".."} & set(parts) or "{" in "/".join(parts[:2]):
        return ()
    return tuple(part.removesuffix(".git") for part in parts[:2])


def is_open(path: str | None) -> bool:
    """Whether a path leaves it to git's command line which repository is meant: there is none, or only UUIDs."""
    return not path or path.startswith("{}/{")


def repository_of(host: str, path: str | None) -> str:
    """What a rejection is about."""
    parts = posixpath.normpath(f"/{unquote(path or '').lower()}").strip("/").split("/")
    return "/".join((host, *filter(None, (part.removesuffix(".git") for part in parts[:2]))))


def fits(kept: Kept, path: str | None, user: str | None) -> bool:
    """Whether what a credential is bound to lets it answer."""
    if kept.typed is None:
        return True
    name, there = kept.typed
    if kept.unasked:
        return user == name and there in (None, path)
    return user in (None, name) and path in (None, there)


def is_same_person(one: Kept, other: Kept) -> bool:
    """Whether two are one person's: a name in common, or no name at all."""
    return bool(one.names & other.names) or not (one.names or other.names)
