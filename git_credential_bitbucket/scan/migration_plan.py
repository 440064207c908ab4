"""The plan of a migration: which secrets are moved into the vault, removed, or listed. Changes nothing itself."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from git_credential_bitbucket.agent.naming import kind_label
from git_credential_bitbucket.bitbucket import hosts, scopes, token_kinds
from git_credential_bitbucket.errors import Error, SettingsError
from git_credential_bitbucket.login import guidance
from git_credential_bitbucket.scan import locations as where
from git_credential_bitbucket.scan.file_rewrite import Rewrite, can_remove, plan_rewrite
from git_credential_bitbucket.scan.found_secret import NPMRC, SHELL, SecretFinding
from git_credential_bitbucket.scan.patterns import NETRC, redacted

if TYPE_CHECKING:
    from collections.abc import Callable

    from git_credential_bitbucket.secret import Secret

    Endpoint = dict[str, str | None]

_WORKING = token_kinds.STATIC
_SCOPES = "{}, and {} to push".format(*guidance.least_scopes(token_kinds.API_TOKEN))
_MAKE_TOKEN = f"{guidance.API_TOKENS_PAGE} (scopes {_SCOPES}); then: git-credential-bitbucket login --api-token"
_KEEP = "git-credential-bitbucket login --api-token"
_MAKE_LOGIN = "git-credential-bitbucket login --oauth, which renews itself"


@dataclass(slots=True)
class StoredToken:
    """A token that the vault has, or will get, for a scope; `names` are its account's, in lower case."""

    secret: Secret
    names: set[str]
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """A token on its way into the vault, as a login's record; `beside` another one, after which it comes."""

    record: dict[str, Any] = field(repr=False)
    certain: bool
    beside: bool

    @property
    def words(self) -> str:
        """It in words."""
        account = f" of {redacted(self.record['account'])}" if self.record["account"] else ""
        return f"{kind_label(self.record['kind'])} for {self.record['place'].partition('://')[2]}{account}"

    @property
    def host_url(self) -> str:
        """The host that it is for."""
        return scopes.host_of(self.record["place"])


@dataclass(slots=True)
class Plan:
    """What is to be done, and what is left to the person, each with a line and a hint.

    `emails` are those found beside a token that is stored already, by its id.
    """

    moves: list[Move] = field(default_factory=list)
    cleanings: list[Rewrite] = field(default_factory=list)
    replacements: list[tuple[str, str]] = field(default_factory=list)
    left: list[tuple[SecretFinding, str]] = field(default_factory=list)
    cleaned: dict[str, list[SecretFinding]] = field(default_factory=dict)
    emails: dict[str, str] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was found at all."""
        return not (self.changes or self.replacements or self.left)

    @property
    def changes(self) -> bool:
        """Whether anything is to be done to the vault or to files."""
        return bool(self.moves or self.cleanings)

    @property
    def readers(self) -> list[tuple[str, str]]:
        """What loses its token: programs that read a file that is cleaned, where git alone asks a credential helper."""
        lines = []
        for path, found in self.cleaned.items():
            if any(one.match.form == NETRC for one in found):
                lines.append(
                    (f"programs that read {path} (curl -n) will no longer find a login for Bitbucket", _HEADER)
                )
            if any(one.source == SHELL for one in found) and not path.endswith("_history"):
                lines.append((f"programs that get a token from {path} will no longer get one", _PRINT))
        return lines

    def clean(self, place: where.Location, text: bytes, wanted: list[SecretFinding]) -> None:
        """Plan to remove these from a file; what cannot be removed is left."""
        self.left += [(one, _BY_HAND) for one in wanted if not can_remove(place, text, one)]
        removable = [one for one in wanted if can_remove(place, text, one)]
        if not removable:
            return
        cleaning = plan_rewrite(place, text, removable)
        try:
            cleaning.records()  # what cannot be kept for an undo is not taken out
        except (Error, OSError):
            self.left += [(one, _BY_HAND) for one in removable]
        else:
            self.cleanings.append(cleaning)
            self.cleaned[place.path] = removable


class Moves:
    """The tokens that go into the vault, beside those that are stored for each scope already."""

    def __init__(self, endpoint: Callable[[str, str], Endpoint], held: Callable[[str, str], list[StoredToken]]) -> None:
        """`endpoint` tells how a host is reached, `held` which tokens of a kind are stored for a scope.

        The first raises `SettingsError` for a host that is none of ours by that protocol.
        """
        self._endpoint = endpoint
        self._held = held
        self._there: dict[tuple[str, str], list[StoredToken]] = {}
        self._moves: dict[tuple[Secret, str], Move] = {}
        self.emails: dict[str, str] = {}

    def take(self, finding: SecretFinding) -> str | None:
        """Plan to move a token; returns the reason where it is left instead.

        That is a host that may not get it, or a keyring's entry that may be the account's whose token is stored. From a
        file it is moved even then, and comes after the stored one.
        """
        match = finding.match
        protocol = hosts.CLOUD_PROTOCOL if match.host == hosts.CLOUD_HOST else match.protocol
        kind = token_kinds.recognise_with(match.secret.reveal(), match.account)
        path = match.path if kind == token_kinds.ACCESS_TOKEN else None
        place = scopes.scope_of(protocol, match.host, path)
        account = _account(match.account) if kind != token_kinds.ACCESS_TOKEN else None
        if match.kind == token_kinds.PERSONAL_TOKEN and match.host == hosts.CLOUD_HOST:
            return _NO_SERVER
        if kind == token_kinds.PERSONAL_TOKEN and account is None:
            return _NO_OWNER
        there = self._there.setdefault((kind, place), self._held(kind, place))
        for one in there:
            if one.secret == match.secret:
                self._learn(one, place, account, there)
                return None
        mine = {account.lower()} if account else set()
        if finding.line is None and any(not one.names or not mine or one.names & mine for one in there):
            return _OTHER
        try:
            endpoint = self._endpoint(protocol, match.host)
        except SettingsError as exc:  # http:// in the address, where only https:// is opted in
            return exc.cause
        beside = bool(there)
        there.append(StoredToken(match.secret, mine))
        record = {
            "kind": kind,
            "place": place,
            "secret": match.secret.reveal(),
            "endpoint": endpoint,
            "account": account,
            "origin": "migrate",
        }
        if kind == token_kinds.PERSONAL_TOKEN:
            record["bitbucket_username"] = account
        self._moves[match.secret, place] = Move(record, match.certain, beside)
        return None

    def _learn(self, one: StoredToken, place: str, account: str | None, there: list[StoredToken]) -> None:
        """Add the account's other name, with which a token was found again: REST takes it with the email only.

        Unless another token has that name: of two tokens of one account, the newer one would replace the other.
        """
        if account is None or any(account.lower() in other.names for other in there):
            return
        has_email = any("@" in name for name in one.names)
        one.names.add(account.lower())
        if one.id is not None:
            if "@" in account and not has_email:
                self.emails[one.id] = account
            return
        record = self._moves[one.secret, place].record
        if "@" in account and not has_email:
            record.update(account=account, bitbucket_username=record["account"])
        elif record["account"] is None:
            record["account"] = account
        elif has_email and "@" not in account:
            record.setdefault("bitbucket_username", account)

    def chosen(self) -> list[Move]:
        """One for each token and scope; a token for the whole host needs no single repositories."""
        whole = {s for (s, place), move in self._moves.items() if move.host_url == place and not move.beside}
        return [m for (secret, place), m in self._moves.items() if m.host_url == place or secret not in whole]


_HEADER = 'for curl, write: -H "$(git-credential-bitbucket token --header)"'
_PRINT = "there, write: $(git-credential-bitbucket token)"
_UNKNOWN = "Bitbucket issues no token of this kind, and does not accept your account's password"
_KEYRING = "the keyring is encrypted; after `configure`, git no longer asks that helper for Bitbucket"
_OTHER = "another token is stored for the same scope, and the keyring is encrypted; to move this one, log out first"
_ELSEWHERE = "it is for another host, which git's configuration does not name as Bitbucket"
_NO_SERVER = "nothing there says which Bitbucket Data Center it is for; to store it: login --access-token --host URL"
_NO_OWNER = "nothing there says whose it is; to store it: git-credential-bitbucket login --access-token --host URL"
_NPM = "npm reads it there, and does not use git's credential helpers"
_BY_HAND = "it cannot be removed without breaking the line; remove it by hand"


def plan(places: list[where.Location], keyring: list[SecretFinding], names: tuple[str, ...], moves: Moves) -> Plan:
    """What to do about all that is found in these files, each read once, and in keyrings. `names` are the hosts."""
    made = Plan()
    invalid: list[SecretFinding] = []
    seen: set[str] = set()
    for place in places:
        path = os.path.realpath(place.path)
        if path in seen:
            continue
        seen.add(path)
        try:
            text = where.content(place)
        except OSError:  # it is not ours to read; `audit` says so
            continue
        everything = [one for one in where.scan_text(text or b"", place, names) if not one.is_reference]
        found = [one for one in everything if one.match.host in names]
        made.left += [(one, _ELSEWHERE) for one in everything if one not in found]
        decided = [(one, _why_left(one, moves)) for one in found]
        wanted = [one for one, why in decided if why is None]
        if text and wanted:
            made.clean(place, text, wanted)
        invalid += [one for one in wanted if _is_invalid(one)]
        made.left += [(one, why) for one, why in decided if why is not None]
    for one in keyring:
        made.left.append((one, (moves.take(one) if _is_movable(one) else None) or _KEYRING))
    made.moves, made.emails = moves.chosen(), moves.emails
    made.replacements = _replacements([*invalid, *(one for one in keyring if _is_invalid(one))])
    return made


def _why_left(finding: SecretFinding, moves: Moves) -> str | None:
    """Why what stands in a file is not taken out of it; None where it is, and what works is moved."""
    if finding.source == NPMRC:
        return _NPM
    if finding.match.product is not None:
        return f"its variable is named for {finding.match.product}; if Bitbucket accepts it too: {_KEEP}"
    if _is_invalid(finding):
        return None
    return moves.take(finding) if _is_movable(finding) else _UNKNOWN


def _is_movable(finding: SecretFinding) -> bool:
    return finding.match.kind in _WORKING


def _is_invalid(finding: SecretFinding) -> bool:
    """Whether it no longer works: app passwords, and OAuth access tokens in a URL, which expire after two hours."""
    match = finding.match
    return match.kind == token_kinds.APP_PASSWORD or (
        match.kind == token_kinds.UNKNOWN and match.account == token_kinds.ACCESS_TOKEN_USERNAME
    )


def _account(name: str | None) -> str | None:
    """Whose it is, if the name is a person's: a token's own user name says nothing."""
    if not name or name in (token_kinds.API_TOKEN_USERNAME, token_kinds.ACCESS_TOKEN_USERNAME):
        return None
    return name if token_kinds.recognise(name) == token_kinds.UNKNOWN else None


def _replacements(invalid: list[SecretFinding]) -> list[tuple[str, str]]:
    """What needs a new token: one line for each account, with where it was in use."""
    uses: dict[tuple[str, str], list[str]] = {}
    for finding in invalid:
        key = (finding.match.kind, finding.match.account or "")
        uses.setdefault(key, []).append(finding.where)
    lines = []
    for (kind, account), places in uses.items():
        used = ", ".join(dict.fromkeys(places))
        if kind == token_kinds.APP_PASSWORD:
            whose = f" of {redacted(account)}" if account else ""
            email = f" --account {redacted(account)}" if "@" in account else ""
            lines.append((f"the app password{whose}, in use in {used}", f"create an API token: {_MAKE_TOKEN}{email}"))
        else:
            lines.append((f"an OAuth token, in use in {used}", f"log in instead: {_MAKE_LOGIN}"))
    return lines
