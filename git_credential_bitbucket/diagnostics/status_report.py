"""What `status` knows at one moment: every credential, when it expires, what is wrong with it and what helps.

Starts no daemon: it is asked where it runs, else the vault is read in-process.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, TypedDict, cast

from git_credential_bitbucket import git_protocol
from git_credential_bitbucket.agent.naming import login_command, new_token_hint
from git_credential_bitbucket.bitbucket import hosts, scopes, token_kinds
from git_credential_bitbucket.client import environment_tokens
from git_credential_bitbucket.client.shared_client import query_lines
from git_credential_bitbucket.errors import Error, SettingsError, UnknownCredential
from git_credential_bitbucket.login import vault_setup
from git_credential_bitbucket.ui import arguments, dates

if TYPE_CHECKING:
    from collections.abc import Callable

    from git_credential_bitbucket.agent.status_views import CredentialView
    from git_credential_bitbucket.bitbucket.rest import VerdictView
    from git_credential_bitbucket.client.environment_tokens import EnvironmentCredential

_DAEMON_NUMBERS = ("pid", "uptime", "clients", "served")
UNREADABLE = "the stored credentials cannot be read"
ENVIRONMENT_HINT = "put a valid token there, or unset it"
"""What to do about a token in the environment that Bitbucket rejects."""
_UNKNOWN = "has no known expiry"
_DAEMON_WORDS = ("version", "fault")
_CREDENTIAL = b"\ncredential[]="
_BETWEEN = b",\n    "


class VaultView(TypedDict):
    """The vault's state, and what is wrong with it or was."""

    state: str
    trouble: str | None
    hint: str | None
    damaged: str | None
    damage: str | None
    damage_hint: str | None


@dataclass(frozen=True)
class Report:
    """What `status` knows at one moment. `now` is in epoch seconds.

    `encoded` are the credentials as the document has them (`encode`): with thousands, decoding them takes longer than
    all else, so that is done only where one looks into them. `environment` is the variable that is answered before all
    of this; `environment_trouble`, why that is not done now.
    """

    now: float
    vault: dict[str, str | None]
    daemon: dict[str, str | int] | None
    environment: str | None
    encoded: bytes
    environment_trouble: str | None = None
    tokens: list[EnvironmentCredential] = field(default_factory=list)
    """What the environment holds, one for each scope."""
    verdicts: dict[str, VerdictView] = field(default_factory=dict)
    """What Bitbucket says of each, by id or by the environment's variable, where it was asked."""

    @cached_property
    def credentials(self) -> list[CredentialView]:
        """All of them."""
        return decode(self.encoded)

    @property
    def offered(self) -> list[CredentialView]:
        """Those that are in use or could be."""
        return [one for one in self.credentials if one["state"] != "disabled"]

    @property
    def disabled(self) -> list[CredentialView]:
        """Those that can only be restored."""
        return [one for one in self.credentials if one["state"] == "disabled"]

    @cached_property
    def ready(self) -> set[tuple[str, frozenset[str]]]:
        """The scope and person of each that works."""
        return {_scope_and_person(one) for one in self.credentials if one["state"] == "ready"}

    def is_rejected(self, name: str) -> bool:
        """Whether Bitbucket was asked about a credential, by its id or variable, and rejected it."""
        return name in self.verdicts and self.verdicts[name]["verdict"] == "rejected"


def report_now(what: str | None = None) -> Report:
    """Look at what is stored; `what` narrows it to a scope or one credential. Raises `Error`."""
    head, _, listed = query_lines("status").partition(_CREDENTIAL)
    told = dict(git_protocol.parse_pairs(head))
    encoded = listed.replace(_CREDENTIAL, _BETWEEN)
    if what is not None:
        named: list[CredentialView] = []
        try:
            named = arguments.find_named(decode(encoded), what)
        except UnknownCredential:
            if "trouble" not in told:
                raise  # else it may be in the vault, which cannot be read now: that is reported
        encoded = encode(named)
    tokens, name, trouble = _environment(lambda: {scopes.host_of(one["url"]) for one in decode(encoded)})
    return Report(
        now=time.time(),
        vault=_vault(told),
        daemon=_daemon(told) if "pid" in told else None,
        environment=name,
        encoded=encoded,
        environment_trouble=trouble,
        tokens=tokens,
    )


def document(report: Report) -> list[bytes]:
    """The JSON form, a line a credential; in pieces of bytes, for each copy of megabytes takes milliseconds."""
    told = {
        "now": int(report.now),
        "vault": report.vault,
        "daemon": report.daemon,
        "environment": report.environment,
        "environment_trouble": report.environment_trouble,
        "verdicts": report.verdicts,
    }
    head = f'{json.dumps(told, indent=2)[:-2]},\n  "credentials": [\n{"    " if report.encoded else ""}'
    return [head.encode(), report.encoded, b"  ]\n}\n"]


def encode(credentials: list[CredentialView]) -> bytes:
    """Credentials as the document has them: JSON objects, a line each."""
    lines = [json.dumps(one, separators=(",", ":")).encode() for one in credentials]
    return _BETWEEN.join(lines) + b"\n" if lines else b""


def decode(encoded: bytes) -> list[CredentialView]:
    """The credentials that `encode` made bytes of."""
    found: list[CredentialView] = json.loads(b"[%b]" % encoded)
    return found


def expiry_of(one: CredentialView) -> float | None:
    """When a person will have to replace it, in epoch seconds; None where that is not known, or never.

    A token that renews itself or is fetched expires only with its login or source, which has no date unless a person
    gave it one.
    """
    renews = one["renewed_at"] is not None or one["source"] is not None
    dates = (one["forget_at"], one["ends_at"], None if renews else one["expires_at"])
    return min((at for at in dates if at is not None), default=None)


def check(report: Report, within: float, *, unknown_ok: bool = False) -> None:
    """Raise `Error` if something expires within that many seconds or needs a person now, or cannot be looked at.

    An expiry that is not known may be today: only with `unknown_ok` it passes.
    """
    check_readable(report, UNREADABLE)
    found = rejected(report)
    for one in report.credentials:
        if not report.is_rejected(one["id"]) and (said := _problem(one, report, within, unknown_ok=unknown_ok)):
            dated = f"enter the date: git-credential-bitbucket expires {one['id']} DATE; to accept that: --unknown-ok"
            name = f"the {arguments.title(one)} ({one['id']})"
            found[f"{name} {said}"] = dated if said == _UNKNOWN else replacement_hint(one)
    if report.environment_trouble:
        found[report.environment_trouble] = "see: git-credential-bitbucket doctor"
    for token in report.tokens:
        if token.client_id is None and not unknown_ok:
            found[f"the expiry of the credential in {token.variable} is unknown"] = "to accept that: --unknown-ok"
    raise_problems(found)


def rejected(report: Report) -> dict[str, str]:
    """What Bitbucket rejects of what it was asked about, with the hint for each."""
    found = {
        arguments.describe(one): replacement_hint(one, is_rejected=True)
        for one in report.credentials
        if report.is_rejected(one["id"])
    }
    found |= {
        f"the credential in {one.variable}": ENVIRONMENT_HINT
        for one in report.tokens
        if report.is_rejected(one.variable)
    }
    return {f"Bitbucket rejects {name}": hint for name, hint in found.items()}


def raise_problems(found: dict[str, str]) -> None:
    """Raise one `Error` for all that was found, with every hint once."""
    if found:
        raise Error("; ".join(found), hint="; ".join(dict.fromkeys(found.values())))


def check_readable(report: Report, consequence: str) -> None:
    """Raise `Error` where the vault is locked or cannot be read."""
    if report.vault["state"] == "locked" or report.vault["trouble"]:
        raise Error(
            f"{consequence}: {report.vault['trouble'] or 'the vault is locked'}",
            hint=report.vault["hint"] or "run: git-credential-bitbucket unlock",
        )


def replacement_hint(one: CredentialView, *, is_rejected: bool = False) -> str:
    """How to replace a credential that expires or has expired; `is_rejected`: Bitbucket was asked, and rejects it."""
    is_guess = is_rejected and one["state"] in ("ready", "suspended")
    if is_guess and one["kind"] in token_kinds.RENEWABLE:
        return f"run: git-credential-bitbucket refresh {one['id']}"
    if one["hint"] and not is_guess:
        return str(one["hint"])
    if one["kind"] in token_kinds.STATIC:
        return new_token_hint(one["id"], one["source"])
    return f"log in again: {login_command(one['url'])}"


def is_expiry_unknown(one: CredentialView) -> bool:
    """Whether it does not renew itself, and its expiry is not known."""
    renews = one["kind"] in token_kinds.RENEWABLE or one["source"] is not None or one["renewed_at"] is not None
    return not renews and expiry_of(one) is None


def fetched(one: CredentialView, now: float) -> str:
    """When the secret of a credential that has a source was fetched; empty where it has none."""
    if one["source"] is None or one["renewed_at"] is not None:
        return ""
    return f"fetched {dates.time_ago(now - one['fetched_at'])}" if one["fetched_at"] else "fetched when it is used"


def _problem(one: CredentialView, report: Report, within: float, *, unknown_ok: bool) -> str | None:
    """What of a credential needs a person, or will within that many seconds; None where nothing does."""
    if one["state"] == "disabled":
        is_replaced = one["replaced_by"] or _scope_and_person(one) in report.ready  # so git lacks nothing
        return None if is_replaced else "is disabled"
    if one["state"] in ("login-expired", token_kinds.APP_PASSWORD):
        return "needs a new login"
    if one["state"] == "suspended":
        return "is suspended"
    if one["state"] == "unreachable":
        return "could not be renewed"
    if one["suspended_for"]:
        return f"is suspended for {', '.join(one['suspended_for'])}"
    at = expiry_of(one)
    if at is not None and at - report.now <= within:
        return "has expired" if at <= report.now else f"expires in {dates.time_left(at - report.now)}"
    if one["state"] != "ready" and one["renewed_at"] is None:
        return "has expired"
    return _UNKNOWN if is_expiry_unknown(one) and not unknown_ok else None


def _scope_and_person(one: CredentialView) -> tuple[str, frozenset[str]]:
    return one["url"], frozenset(arguments.account_names(one))


def _daemon(told: dict[str, str]) -> dict[str, str | int]:
    numbers: dict[str, str | int] = {name: int(told[name]) for name in _DAEMON_NUMBERS if name in told}
    return {**numbers, **{name: told[name] for name in _DAEMON_WORDS if name in told}}


def _vault(told: dict[str, str]) -> dict[str, str | None]:
    try:
        source = vault_setup.vault().header()
    except Error:  # its trouble is the client's to tell
        source = None
    return {
        "path": vault_setup.shown_path(),
        "key": vault_setup.key_source_label(source),
        **cast("dict[str, str | None]", vault_state(told)),
    }


def vault_state(told: dict[str, str]) -> VaultView:
    """The vault's state and what is wrong with it, as the agent reports them."""
    return {
        "state": told["vault"],
        "trouble": told.get("trouble"),
        "hint": told.get("hint") or None,
        "damaged": told.get("damaged"),
        "damage": told.get("damage"),
        "damage_hint": told.get("damage_hint"),
    }


def _environment(bases: Callable[[], set[str]]) -> tuple[list[EnvironmentCredential], str | None, str | None]:
    """What the environment holds, its name, and why it is not answered at any host of `bases`.

    Those are asked for only where it holds something.
    """
    found: list[EnvironmentCredential] = []
    try:
        found = environment_tokens.find_all(os.environ)
        origins = (hosts.CLOUD_URL, *sorted(bases() - {hosts.CLOUD_URL})) if found else ()
        for one in found:
            foreign = [exc for base in origins if (exc := _foreign(one, base)) is not None]
            if len(foreign) == len(origins):
                raise foreign[0]
    except Error as exc:
        return found, environment_tokens.named(found) or None, exc.cause
    return found, environment_tokens.named(found) or None, None


def _foreign(one: EnvironmentCredential, base: str) -> SettingsError | None:
    """Why a token of one product is never sent to a host of the other; None where it may be. Raises `Error`."""
    try:
        environment_tokens.check(one, base, os.environ)
    except SettingsError as exc:
        return exc
    return None
