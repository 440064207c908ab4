"""The credentials: the vault and its key, the keyring, each stored credential, and the environment's."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

from git_credential_bitbucket.bitbucket import token_kinds
from git_credential_bitbucket.client import environment_tokens, live_check
from git_credential_bitbucket.client.shared_client import ask
from git_credential_bitbucket.client.shared_client import query as look_at
from git_credential_bitbucket.diagnostics import status_report
from git_credential_bitbucket.diagnostics.finding import NOTE, OK, WRONG, DoctorContext, Finding, Fix
from git_credential_bitbucket.errors import Error, KeyringUnavailable, VaultLocked
from git_credential_bitbucket.login import vault_setup
from git_credential_bitbucket.ui import arguments, dates
from git_credential_bitbucket.vault import key_sources, keyring_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from git_credential_bitbucket.agent.status_views import CredentialView
    from git_credential_bitbucket.vault.format import Header

SOON_S = 7 * dates.DAY_S


def look(context: DoctorContext, now: float) -> Iterator[Finding]:
    """The environment's credential, the vault with its key, then each credential that is not well.

    Raises `Error`, which is a finding about the vault.
    """
    yield from _environment(context)
    header = vault_setup.vault().header()
    yield from _keyring(header, context.env)
    answer = look_at("status")
    told = dict(answer)
    yield from _vault(told, header)
    if "trouble" not in told:
        yield from _credentials(arguments.credentials_in(answer), now)


def check(context: DoctorContext) -> Iterator[Finding]:
    """What Bitbucket says of each credential that is offered, the environment's included."""
    report = status_report.report_now()
    names = {one["id"]: f"{one['kind']} {one['id']} for {one['scope']}" for one in report.offered}
    hints = {one["id"]: status_report.replacement_hint(one, is_rejected=True) for one in report.offered}
    names |= {one.variable: f"the credential in {one.variable}" for one in report.tokens}
    found = live_check.check([one["id"] for one in report.offered], report.tokens, context.url.base)
    for name, told in found.items():
        reason = f": {told['reason']}" if told["reason"] else ""
        if told["verdict"] == "rejected":
            hint = hints.get(name, status_report.ENVIRONMENT_HINT)
            yield Finding("credentials", WRONG, f"Bitbucket rejects {names[name]}{reason}", hint)
        elif not told["verdict"]:
            login = token_kinds.LOGIN_WITH_EMAIL if told["reason"] == token_kinds.NEEDS_EMAIL else None
            yield Finding("credentials", NOTE, f"{names[name]} could not be checked{reason}", login)
    if valid := sum(told["verdict"] == "valid" for told in found.values()):
        yield Finding("credentials", OK, f"Bitbucket says that {valid} of {len(found)} are valid")


def _environment(context: DoctorContext) -> Iterator[Finding]:
    if (gone := environment_tokens.app_password(context.env)) is not None:
        yield Finding("environment", NOTE, gone.cause, gone.hint)
    try:
        found = environment_tokens.find_all(context.env)
        if not found:
            unpaired = environment_tokens.unpaired(context.env)
            if unpaired is not None:
                yield Finding("environment", WRONG, unpaired.cause, unpaired.hint)
            return
        for one in found:
            environment_tokens.check(one, context.url.base, context.env)
    except Error as exc:
        yield Finding("environment", WRONG, exc.cause, exc.hint)
        return
    cause = f"the credential in {environment_tokens.named(found)} is used before any stored credential"
    yield Finding("environment", NOTE, cause, "unset it if that is wrong")


def _keyring(header: Header | None, env: Mapping[str, str]) -> Iterator[Finding]:
    """Asked without a dialogue, within its time limit, where the vault's key is in it or would go there."""
    if (header is not None and header.source != "keyring") or (header is None and _has_key(env)):
        return
    try:
        keyring_key.fetch(env, header.key_id if header is not None else bytes(16))
    except KeyringUnavailable as exc:
        level = NOTE if header is None else WRONG
        instead = "the first login offers a passphrase instead" if header is None else exc.hint
        yield Finding("keyring", level, exc.cause, instead)
        return
    except VaultLocked as exc:
        if header is not None:
            yield Finding("keyring", WRONG, exc.cause, exc.hint)
            return
    yield Finding("keyring", OK, "it answers" + (", and has the vault's key" if header is not None else ""))


def _has_key(env: Mapping[str, str]) -> bool:
    return bool(env.get(key_sources.KEY_VARIABLE) or env.get(key_sources.KEY_FILE_VARIABLE))


def _unknown_usernames(kept: list[CredentialView]) -> Iterator[Finding]:
    """Logins whose Bitbucket username is not known, where it decides between accounts; fixed by asking Bitbucket."""
    personal = [
        one for one in kept if one["kind"] in (token_kinds.API_TOKEN, token_kinds.OAUTH) and one["bound_to"] is None
    ]
    unnamed = [one for one in personal if one["bitbucket_username"] is None and one["state"] == "ready"]
    if len(personal) < 2 or not unnamed:  # noqa: PLR2004 - one alone answers every username
        return
    naming = ", ".join(f"{one['account'] or one['kind']} ({one['id']})" for one in unnamed)
    cause = f"no Bitbucket username is known for {naming}: a URL with a username may get no answer"
    hint = "run: git-credential-bitbucket doctor --fix; or log in again with --account USERNAME"
    yield Finding(
        "accounts", NOTE, cause, hint, Fix("asked Bitbucket for the usernames", lambda: _learn_usernames(unnamed))
    )


def _learn_usernames(unnamed: list[CredentialView]) -> None:
    """Ask Bitbucket whose each of `unnamed` is. Raises `Error` where it told of none."""
    told = live_check.check([one["id"] for one in unnamed]).values()
    reasons = [
        one["reason"] or "it has no permission to read its account" for one in told if one["bitbucket_username"] is None
    ]
    if len(reasons) == len(unnamed):
        hint = "log in again and name it: git-credential-bitbucket login --account USERNAME"
        raise Error(f"Bitbucket returned no username: {reasons[0]}", hint=hint)


def _read_repositories(credential_id: str) -> None:
    """Ask Bitbucket which repositories are in a project now, and store them. Raises `Error`."""
    ask("repositories", [("id", credential_id)])


def _vault(told: Mapping[str, str], header: Header | None) -> Iterator[Finding]:
    if "trouble" in told:
        yield Finding("vault", WRONG, told["trouble"], told.get("hint") or None)
    elif header is None:
        yield Finding("vault", OK, "there is none yet; the first login creates it")
    else:
        source = vault_setup.key_source_label(header)
        yield Finding("vault", OK, f"{told['vault']}, format {header.version}, its key from {source}")
    if "damage" in told:
        level = WRONG if told["damaged"] == vault_setup.shown_path() else NOTE
        yield Finding("vault", level, told["damage"], told["damage_hint"])


def _credentials(kept: list[CredentialView], now: float) -> Iterator[Finding]:
    counted: Counter[str] = Counter()
    for one in kept:
        name = f"{one['kind']} {one['id']}"
        state: str = one["state"]
        ends = status_report.expiry_of(one)
        ended = ends is not None and ends <= now
        if state != "ready":
            # No person is needed for what is disabled, or is renewed with its next use.
            level = NOTE if state == "disabled" or (state == "expired" and not ended) else WRONG
            yield Finding("credentials", level, f"{name}: {one['why']}", one["hint"])
        elif ends is not None and ended:
            state = "expired"
            cause = f"{name} for {one['scope']} expired on {dates.day(ends)}"
            yield Finding("credentials", WRONG, cause, status_report.replacement_hint(one))
        elif ends is not None and ends - now < SOON_S:
            cause = f"{name} for {one['scope']} expires in {dates.time_left(ends - now)}"
            yield Finding("credentials", NOTE, cause, status_report.replacement_hint(one))
        elif one["suspended_for"]:
            yield Finding("credentials", WRONG, f"{name}: {one['why']}", one["hint"])
        if one["source"] is not None:
            fetched = status_report.fetched(one, now) or "the secret is fetched"
            cause = f"{name}: {fetched} from {one['source']}"
            told = f"{cause}; {one['trouble']}" if one["trouble"] and state == "ready" else cause
            yield Finding("credentials", NOTE if told != cause else OK, told, one["trouble_hint"])
        if one["project"] is not None and state != "disabled":
            cause = f"{name} for {one['scope']}, repositories: {len(one['repositories'])}"
            reading = Fix(f"read the repositories of {one['scope']} again", partial(_read_repositories, one["id"]))
            yield Finding("credentials", OK, cause, fix=reading)
        counted[state] += 1
    yield from _unknown_usernames(kept)
    states = ", ".join(f"{count} {state}" for state, count in sorted(counted.items()))
    yield Finding("credentials", OK, f"{len(kept)} stored: {states}" if kept else "none is stored")
