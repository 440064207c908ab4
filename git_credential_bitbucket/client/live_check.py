"""Live checks of credentials at Bitbucket, stored or in the environment: for `status`, `explain` and `doctor`."""

from __future__ import annotations

import json
import os
from functools import partial
from typing import TYPE_CHECKING, cast

from git_credential_bitbucket.bitbucket import hosts
from git_credential_bitbucket.client import environment_tokens
from git_credential_bitbucket.client.shared_client import query
from git_credential_bitbucket.errors import InvalidClient, SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from git_credential_bitbucket.bitbucket.providers import Endpoint
    from git_credential_bitbucket.bitbucket.rest import Verdict, VerdictView
    from git_credential_bitbucket.secret import Secret


def check(
    ids: Sequence[str] = (),
    tokens: Sequence[environment_tokens.EnvironmentCredential] = (),
    base: str = hosts.CLOUD_URL,
    repository: str | None = None,
) -> dict[str, VerdictView]:
    """The verdict on each stored credential of `ids`, and of the environment's `tokens` by their variables.

    One request each, in parallel. The environment's are checked at the host `base` (`protocol://host`). With
    `repository`, a URL, the request is git's own, else REST's. Without a verdict, there is a reason.
    """
    found: dict[str, VerdictView] = _of_environment(tokens, base, repository) if tokens else {}
    if ids:
        named = [("id[]", name) for name in ids] + ([("repository", repository)] if repository else [])
        for key, value in query("identify", named):
            if key == "verdict[]":
                told = json.loads(value)
                found[told.pop("id")] = cast("VerdictView", told)
    return found


def _of_environment(
    tokens: Sequence[environment_tokens.EnvironmentCredential], base: str, repository: str | None
) -> dict[str, VerdictView]:
    from git_credential_bitbucket.bitbucket import providers, rest  # lazy: only a check needs these three
    from git_credential_bitbucket.bitbucket.verification_request import prepare_verification

    protocol, _, host = base.partition("://")
    provider = providers.find_now(os.environ, protocol, host)
    told: dict[str, rest.Verdict] = {}
    questions: dict[str, Callable[[], rest.Verdict]] = {}
    for one in tokens:
        try:
            environment_tokens.check_product(one, base, os.environ)
        except SettingsError as exc:
            told[one.variable] = rest.Verdict(valid=None, reason=exc.cause)
            continue
        if provider is None:
            told[one.variable] = rest.Verdict(valid=None, reason="its host is not configured")
        elif one.client_id is not None:
            questions[one.variable] = partial(_verify_consumer, provider.endpoint, one.client_id, one.secret)
        else:
            questions[one.variable] = prepare_verification(
                provider.endpoint, one.kind, one.account, one.secret, repository
            )
    return {name: verdict.view() for name, verdict in (told | rest.find_verdicts(questions)).items()}


def _verify_consumer(endpoint: Endpoint, client_id: str, secret: Secret) -> Verdict:
    """Whether Bitbucket issues an access token for an OAuth consumer; it is not used. Raises `Error`."""
    from git_credential_bitbucket.bitbucket import oauth, rest  # lazy: requests-oauthlib costs 130 ms

    try:
        oauth.fetch_with_client_credentials(endpoint, client_id, secret)
    except InvalidClient as exc:
        return rest.Verdict(valid=False, reason=exc.cause)
    return rest.Verdict(valid=True)
