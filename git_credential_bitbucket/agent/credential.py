"""One credential as the vault keeps it: a frozen value, to and from the vault's JSON record.

Its annotations are evaluated here: to compile them as strings takes `NamedTuple` a millisecond of each start.
"""

import math
from types import GenericAlias, NoneType, UnionType
from typing import Any, NamedTuple

from git_credential_bitbucket.bitbucket import hosts, token_kinds
from git_credential_bitbucket.errors import VaultBusy
from git_credential_bitbucket.paths import shown, typed
from git_credential_bitbucket.secret import Secret

Record = dict[str, Any]

UNSOLICITED = "git-unasked"
"""The `origin` of what git stored without a prompt before it, and not by `git credential approve`."""
SUPERSEDED_KEPT = 8
"""How many former access tokens are known by their digest; git's late answers name the last one or two."""
_SECRETS = ("secret", "refresh_token", "client_secret")
_TUPLES = ("scopes", "superseded", "rejections", "repositories")
_BOUND = ("typed_username", "typed_path")


class Credential(NamedTuple):
    """A token and all that is known of it. Times are epoch seconds by this machine's clock.

    `place` is its scope, `protocol://host[/workspace[/repository]]`, folded as `scopes.scope_of` folds it. A project's
    is `…/workspace/{project}`: no address tells a repository's project, so `repositories` lists their names.
    `generation` counts the access tokens that this credential has had; `superseded` are digests of the ones before, so
    that git's late `store` or `erase` of an old one is known as such. `typed_username` and `typed_path` bind a secret
    of unknown kind, or one that git stored unasked, to the requests that it came with.
    `account` is the email, or the name that was given; `bitbucket_username` and `account_id` are learnt of Bitbucket.
    `is_default`: a person chose it for its scope. `is_fallback`: git stored it while another worked for its scope.
    `suspensions` are rejections at single repositories, by scope (see `rejection`).
    `refresh_rejected`: the last answer rejected the refresh token; `login_expired`: so often that it is not sent again.
    `trouble_cure` is what a person can do about `trouble`, where the failure of the renewal told more than to wait.
    `forget_at` is when its owner wants it gone (`login --lifetime`), whatever Bitbucket would still take.
    `ends_at` is the end that a person entered for a token that is not renewed; `warned_at`, when one was told of it.
    For an Atlassian Connect app, `client_id` is its key, `client_secret` and `subject` are the shared secret and the
    client key of one installation. `source` refers to what holds its secret, or its consumer's, which is not stored
    then (`secret_sources`): of one that is fetched so, `minted_at` is when it was. `replaced_by` is the id of the newer
    credential that this one was disabled for. `moving` is the mark of a move to another vault that is not complete: the
    credential may be in both, and a login is renewed in neither (`vault_transfer`).
    """

    id: str
    kind: "token_kinds.Kind"
    place: str
    secret: Secret
    account: str | None = None
    bitbucket_username: str | None = None
    account_id: str | None = None
    is_default: bool = False
    is_fallback: bool = False
    typed_username: str | None = None
    typed_path: str | None = None
    project: str | None = None
    repositories: tuple[str, ...] = ()
    created_at: float = 0.0
    last_used_at: float | None = None
    ends_at: float | None = None
    warned_at: float | None = None
    forget_at: float | None = None
    origin: str = "login"

    generation: int = 1
    minted_at: float = 0.0
    expires_at: float | None = None
    refresh_token: Secret | None = None
    client_id: str | None = None
    client_secret: Secret | None = None
    subject: str | None = None
    source: str | None = None
    endpoint: Record | None = None
    scopes: tuple[str, ...] = ()
    superseded: tuple[str, ...] = ()

    failures: int = 0
    refusals: int = 0
    retry_at: float | None = None
    trouble: str | None = None
    trouble_cure: str | None = None
    refresh_rejected: bool = False
    login_expired: bool = False

    rejections: tuple[float, ...] = ()
    rejected_at: float | None = None
    suspect_until: float | None = None
    suspensions: Record | None = None
    set_aside_at: float | None = None
    set_aside_why: str | None = None
    replaced_by: str | None = None
    moving: str | None = None

    def superseding(self) -> tuple[str, ...]:
        """`superseded` as it is once the current secret is given up."""
        return (digest(self.secret), *self.superseded)[:SUPERSEDED_KEPT] if self.secret else self.superseded

    @property
    def is_renewable(self) -> bool:
        """Whether a fresh access token can be had without a person."""
        if self.login_expired or self.endpoint is None or self.client_id is None:
            return False
        return self.kind in token_kinds.MINTED or self.refresh_token is not None

    @property
    def is_fetched(self) -> bool:
        """Whether its secret is fetched from its source when it is needed, and is in memory only."""
        return self.source is not None and self.kind not in token_kinds.MINTED

    @property
    def is_obtainable(self) -> bool:
        """Whether its secret can be had again without a person: from its source, or of Bitbucket."""
        return self.is_fetched or self.is_renewable

    @property
    def username(self) -> str:
        """The username git must send: it follows from the kind of secret, whatever a person typed."""
        return token_kinds.git_username(self.kind) or self.typed_username or self.bitbucket_username or ""

    @property
    def may_lock_account(self) -> bool:
        """Whether its host counts rejections, and locks the account after some: a Data Center does."""
        product = (self.endpoint or {}).get("product")
        return self.kind == token_kinds.PERSONAL_TOKEN or product == hosts.DATA_CENTER

    @property
    def depth(self) -> int:
        """How narrow its scope is: 0 for a host, then workspace, project, and 3 for a repository."""
        slashes = self.place.count("/") - 2  # `protocol://host` has two
        return slashes + (slashes == 2 and self.project is None)  # noqa: PLR2004 - a repository's or a project's

    @property
    def names(self) -> frozenset[str]:
        """Every name of its person, in lower case; empty where none is known."""
        found = (self.account, self.bitbucket_username, self.account_id)
        return frozenset(name.lower() for name in found if name)

    @property
    def is_bound(self) -> bool:
        """Whether git stored it unasked, so that it answers only the username and path that it came with."""
        return self.typed_username is not None and self.kind != token_kinds.UNKNOWN

    @property
    def is_unsolicited(self) -> bool:
        """Whether git stored it without a prompt: it may come from a URL in a repository's files."""
        return self.is_bound or self.origin == UNSOLICITED

    def has_secret(self, secret: Secret) -> bool:
        """Whether `secret` is the current one."""
        return bool(self.secret) and self.secret == secret

    def had_secret(self, secret: Secret) -> bool:
        """Whether `secret` is an access token that this one had before."""
        return bool(self.superseded) and digest(secret) in self.superseded

    def to_record(self) -> Record:
        """The JSON-able form for the vault; what is at its default is left out."""
        record: Record = {}
        stored = self._replace(**_UNFETCHED) if self.is_fetched else self
        for name, value in stored._asdict().items():
            if name in _DEFAULTS and value == _DEFAULTS[name]:
                continue
            if isinstance(value, tuple):
                record[name] = list(value)
            else:
                record[name] = value.reveal() if isinstance(value, Secret) else value
        if self.project is not None:
            # A version that knows no projects has it answer only a request that nobody makes.
            record |= dict.fromkeys(_BOUND, f"{{project {self.project}}}")
        return record

    @classmethod
    def from_record(cls, record: Record) -> "Credential":
        """Read a vault's record; what a later version added is not this version's to judge, and `update` keeps it."""
        values = {name: record[name] for name in cls._fields if name in record}
        for name in _SECRETS:
            if values.get(name) is not None:
                values[name] = Secret(values[name])
        for name in _TUPLES:
            if name in values:
                values[name] = tuple(values[name])
        if "project" in values:
            values |= dict.fromkeys(_BOUND)
        if binds_account(record):
            values |= {"typed_username": None, "is_fallback": True}
        return cls(**values)


_DEFAULTS = {name: value for name, value in Credential._field_defaults.items() if name != "generation"}
"""What a record leaves out."""
_TROUBLE = ("failures", "refusals", "retry_at", "trouble", "trouble_cure", "refresh_rejected", "login_expired")
UNTROUBLED: dict[str, Any] = {field: Credential._field_defaults[field] for field in _TROUBLE}
"""What is forgotten with a renewal that succeeds."""
FETCHED_FIELDS = (
    *("generation", "minted_at", "expires_at", "superseded"),
    *("failures", "retry_at", "trouble", "trouble_cure"),
)
"""What is known of a fetched secret beside itself: it is in memory, as the secret is, and in no record."""
_UNFETCHED: dict[str, Any] = {"secret": Secret(""), **{f: Credential._field_defaults[f] for f in FETCHED_FIELDS}}
_DECLARED: dict[str, object] = Credential.__annotations__


def binds_account(record: Record) -> bool:
    """Whether a record is an API token that 0.1.0 bound to its person's name, for another's was kept before it."""
    return record.get("account") is not None and record.get("typed_username") == record["account"]


def scopes_answered(record: Record) -> list[str]:
    """The scopes that a record answers for: its own, or the repositories of its project."""
    place: str = record["place"]
    if record.get("project") is None:
        return [place]
    workspace = place.rpartition("/")[0]
    return [f"{workspace}/{name}" for name in dict.fromkeys(record.get("repositories", ()))]


def update(record: Record, **changes: object) -> Credential:
    """Change fields of a vault's record in place, keeping what this version does not know; return the credential."""
    changed = Credential.from_record(record)._replace(**changes)  # type: ignore[arg-type]  # field names are the callers'
    fresh = changed.to_record()
    for name in (record.keys() - fresh.keys()) & _DECLARED.keys():
        del record[name]
    record.update(fresh)
    return changed


def names_in(record: Record) -> tuple[set[str], set[str]]:
    """The names of a record's person in lower case, and which of them are Bitbucket usernames.

    An account without `@` is one: Bitbucket takes an API token with no other name, and tells no other of a login.
    """
    names = {record[f].lower() for f in ("account", "bitbucket_username", "account_id") if record.get(f)}
    usernames = {n.lower() for n in (record.get("account"), record.get("bitbucket_username")) if n and "@" not in n}
    return names, usernames


def check_not_moving(credential: Credential) -> None:
    """Raise `VaultBusy` where a move to another vault is not complete, which may have the refresh token as well."""
    if credential.moving is not None and credential.refresh_token is not None:
        to = credential.moving.partition(" ")[2]
        raise VaultBusy(
            f"its move to {shown(to)} is not complete, and until then it is neither renewed nor revoked",
            hint=f"on the host where that was begun, run again: git-credential-bitbucket vault move {typed(to)}",
        )


def is_valid_record(record: Record) -> bool:
    """Whether every field that we know holds what it may: one record that does not would stop all answers."""
    return all(_may_hold(declared, record[name]) for name, declared in _DECLARED.items() if name in record)


def _may_hold(declared: object, value: object) -> bool:
    """Whether a field with this annotation may hold this JSON value; text is what fits in a line of git's protocol."""
    if isinstance(declared, UnionType):
        return any(_may_hold(one, value) for one in declared.__args__)
    if isinstance(declared, GenericAlias) and declared.__origin__ is tuple:
        return isinstance(value, list) and all(_may_hold(declared.__args__[0], one) for one in value)
    if declared is NoneType:
        return value is None
    if declared is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if declared is int or declared is bool:
        return isinstance(value, declared)
    if declared == Record:
        return isinstance(value, dict)
    return isinstance(value, str) and not set(value) & {"\n", "\r", "\0"}


def digest(secret: Secret) -> str:
    """A short fingerprint for telling secrets apart, kept inside the vault only."""
    from _blake2 import blake2b  # lazy: hashlib would load OpenSSL

    return blake2b(secret.reveal().encode("utf-8", "surrogateescape"), digest_size=12).hexdigest()
