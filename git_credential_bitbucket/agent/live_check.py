"""What Bitbucket says of stored credentials: one cheap request each, at once and within a deadline. Renews nothing."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from git_credential_bitbucket.agent import renewal_schedule, retention
from git_credential_bitbucket.agent.credential import scopes_answered
from git_credential_bitbucket.bitbucket import scopes
from git_credential_bitbucket.errors import UnknownCredential

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from git_credential_bitbucket.agent.agent import Agent
    from git_credential_bitbucket.agent.credential import Credential
    from git_credential_bitbucket.bitbucket.rest import Verdict

_UNSOLICITED = "it is unsolicited, so it is not sent to the REST API"
_NO_TOKEN = "its token has expired; the next command renews it"
_NOT_OURS = "its host is not configured as Bitbucket in git's system or global configuration"


def ask_bitbucket(agent: Agent, credentials: Sequence[Credential], repository: str | None) -> dict[str, Verdict]:
    """The verdict on each credential, by id. A job.

    With `repository`, a URL, those that cover it are asked with as git does before it fetches from there. The names of
    a credential's person that Bitbucket tells are stored with it where they were not known.
    """
    from git_credential_bitbucket.bitbucket import rest, verification_request  # lazy: only a person's verbs ask

    now = agent.clock()
    told: dict[str, Verdict] = {}
    questions: dict[str, Callable[[], Verdict]] = {}
    for one in credentials:
        provider = agent.find_provider(*scopes.split_host(one.place))
        if provider is None or one.is_unsolicited or not renewal_schedule.has_valid_token(one, now):
            reason = _UNSOLICITED if one.is_unsolicited else _NOT_OURS if provider is None else _NO_TOKEN
            told[one.id] = rest.Verdict(valid=None, reason=reason)
            continue
        answered = tuple(f"{scope}/" for scope in scopes_answered(one.to_record()))
        covered = repository if repository and f"{repository}/".lower().startswith(answered) else None
        questions[one.id] = verification_request.prepare_verification(
            provider.endpoint, one.kind, one.account, one.secret, covered
        )
    told |= rest.find_verdicts(questions)
    for one in credentials:
        _store_names(agent, one, told[one.id])
    return told


def _store_names(agent: Agent, credential: Credential, verdict: Verdict) -> None:
    """Store the names of a credential's person; writes nothing that is known."""
    account = credential.account or verdict.username
    names = {"bitbucket_username": verdict.username, "account_id": verdict.account_id, "account": account}
    if any(name and name != getattr(credential, field) for field, name in names.items()):
        with suppress(UnknownCredential):  # removed meanwhile, or git's configuration refers to it: it is in no vault
            retention.set_names(agent.credential_store, credential.id, names, agent.clock())
