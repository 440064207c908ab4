"""What is kept: the vault, where its key comes from, the keyring, each credential; and what the environment holds."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from git_credential_bitbucket.bitbucket import token_kinds
from git_credential_bitbucket.client import environment, verdicts
from git_credential_bitbucket.client.shared_client import look as look_at
from git_credential_bitbucket.diagnostics import status_report
from git_credential_bitbucket.diagnostics.finding import NOTE, OK, WRONG, Finding, Fix
from git_credential_bitbucket.errors import Error, KeyringUnavailable, VaultLocked
from git_credential_bitbucket.login import vault_setup
from git_credential_bitbucket.ui import arguments, dates
from git_credential_bitbucket.vault import key_sources, keyring_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from git_credential_bitbucket.agent.views import CredentialView
    from git_credential_bitbucket.diagnostics.finding import Scene
    from git_credential_bitbucket.vault.format import Header

SOON_S = 7 * dates.DAY_S


def look(scene: Scene, now: float) -> Iterator[Finding]:
    """The environment's credential, the vault with its key, then each credential that is not well."""
    yield from _environment(scene)
    try:
        header = vault_setup.vault().header()
    except Error as exc:
        yield Finding("vault", WRONG, exc.cause, exc.hint)
        return
    yield from _keyring(header, scene.env)
    try:
        answer = look_at("status")
    except Error as exc:
        yield Finding("vault", WRONG, exc.cause, exc.hint)
        return
    told = dict(answer)
    yield from _vault(told, header)
    if "trouble" not in told:
        yield from _credentials(arguments.credentials_in(answer), now)


def check(scene: Scene) -> Iterator[Finding]:
    """What Bitbucket says of each credential that is offered, the environment's included."""
    report = status_report.report_now()
    names = {one["id"]: f"{one['kind']} {one['id']} for {one['scope']}" for one in report.offered}
    hints = {one["id"]: status_report.hint(one) for one in report.offered}
    names |= {one.variable: f"what {one.variable} holds" for one in report.tokens}
    found = verdicts.check([one["id"] for one in report.offered], report.tokens, scene.url.base)
    for name, told in found.items():
        reason = f": {told['reason']}" if told["reason"] else ""
        if told["verdict"] == "rejected":
            hint = hints.get(name, "put a valid token there, or unset it")
            yield Finding("credentials", WRONG, f"Bitbucket rejects {names[name]}{reason}", hint)
        elif not told["verdict"]:
            yield Finding("credentials", NOTE, f"{names[name]} could not be checked{reason}")
    if valid := sum(told["verdict"] == "valid" for told in found.values()):
        yield Finding("credentials", OK, f"Bitbucket says that {valid} of {len(found)} are valid")


def _environment(scene: Scene) -> Iterator[Finding]:
    if (gone := environment.app_password(scene.env)) is not None:
        yield Finding("environment", NOTE, gone.cause, gone.hint)
    try:
        found = environment.every(scene.env)
        if not found:
            unpaired = environment.unpaired(scene.env)
            if unpaired is not None:
                yield Finding("environment", WRONG, unpaired.cause, unpaired.hint)
            return
        for one in found:
            environment.check(one, scene.url.base, scene.env)
    except Error as exc:
        yield Finding("environment", WRONG, exc.cause, exc.hint)
        return
    cause = f"what {environment.named(found)} holds goes before everything that is kept"
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


def _unnamed(kept: list[CredentialView]) -> Iterator[Finding]:
    """Logins whose Bitbucket username is not known, where it decides between accounts; mended by asking Bitbucket."""
    personal = [
        one for one in kept if one["kind"] in (token_kinds.API_TOKEN, token_kinds.OAUTH) and one["bound_to"] is None
    ]
    unnamed = [one for one in personal if one["bitbucket_username"] is None and one["state"] == "ready"]
    if len(personal) < 2 or not unnamed:  # noqa: PLR2004 - one alone answers every username
        return
    naming = ", ".join(f"{one['account'] or one['kind']} ({one['id']})" for one in unnamed)
    cause = f"no Bitbucket username is known for {naming}: a URL that has it may get no answer"
    hint = "git-credential-bitbucket doctor --fix asks Bitbucket; else log in again with --account USERNAME"
    yield Finding("accounts", NOTE, cause, hint, Fix("asked Bitbucket whose each login is", lambda: _learn(unnamed)))


def _learn(unnamed: list[CredentialView]) -> None:
    """Ask Bitbucket whose each of `unnamed` is. Raises `Error` where it told of none."""
    told = verdicts.check([one["id"] for one in unnamed]).values()
    reasons = [one["reason"] or "it may not read its account" for one in told if one["bitbucket_username"] is None]
    if len(reasons) == len(unnamed):
        hint = "log in again and name it: git-credential-bitbucket login --account USERNAME"
        raise Error(f"Bitbucket named no login's account: {reasons[0]}", hint=hint)


def _vault(told: Mapping[str, str], header: Header | None) -> Iterator[Finding]:
    if "trouble" in told:
        yield Finding("vault", WRONG, told["trouble"], told.get("hint") or None)
    elif header is None:
        yield Finding("vault", OK, "there is none yet; the first login makes it")
    else:
        source = vault_setup.shown_key_source(header)
        yield Finding("vault", OK, f"{told['vault']}, format {header.version}, its key from {source}")
    if "damage" in told:
        level = WRONG if told["damaged"] == vault_setup.shown_path() else NOTE
        yield Finding("vault", level, told["damage"], told["damage_hint"])


def _credentials(kept: list[CredentialView], now: float) -> Iterator[Finding]:
    counted: Counter[str] = Counter()
    for one in kept:
        name = f"{one['kind']} {one['id']}"
        state: str = one["state"]
        ends = status_report.ends(one)
        ended = ends is not None and ends <= now
        if state != "ready":
            # These need nobody: what is put away, and what is renewed with its next use.
            level = NOTE if state == "disabled" or (state == "expired" and not ended) else WRONG
            yield Finding("credentials", level, f"{name}: {one['why']}", one["hint"])
        elif ends is not None and ended:
            state = "ended"
            cause = f"{name} for {one['scope']} has ended on {dates.day(ends)}"
            yield Finding("credentials", WRONG, cause, status_report.hint(one))
        elif ends is not None and ends - now < SOON_S:
            cause = f"{name} for {one['scope']} ends: {dates.left(ends - now)}"
            yield Finding("credentials", NOTE, cause, status_report.hint(one))
        elif one["suspended_for"]:
            yield Finding("credentials", WRONG, f"{name}: {one['why']}", one["hint"])
        if one["source"] is not None:
            fetched = status_report.fetched(one, now) or "the secret is fetched"
            cause = f"{name}: {fetched} from {one['source']}"
            told = f"{cause}; {one['trouble']}" if one["trouble"] and state == "ready" else cause
            yield Finding("credentials", NOTE if told != cause else OK, told, one["trouble_hint"])
        counted[state] += 1
    yield from _unnamed(kept)
    states = ", ".join(f"{count} {state}" for state, count in sorted(counted.items()))
    yield Finding("credentials", OK, f"{len(kept)} kept: {states}" if kept else "none is kept")
