"""The `Authorization` of REST requests, for the command `token` and `BitbucketAuth` alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from git_credential_bitbucket import git_protocol
from git_credential_bitbucket.bitbucket import token_kinds
from git_credential_bitbucket.client import environment_tokens
from git_credential_bitbucket.errors import SettingsError, UnknownCredential
from git_credential_bitbucket.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME_THE_ACCOUNT = f"set {environment_tokens.EMAIL} to the email address of the token's account"


def from_environment(env: Mapping[str, str], data: bytes) -> dict[str, str] | None:
    """The environment's credential for git's request `data`, with the keys of the daemon's reply to `token`.

    It precedes stored credentials, as for git; `variable` holds it. Raises `SettingsError` where it is unusable, and
    `UnknownCredential` where no token can be obtained for an OAuth consumer.
    """
    request = git_protocol.parse(data)
    found = environment_tokens.find(env, request)
    if found is None:
        return None
    if token_kinds.recognise(found.secret.reveal()) == token_kinds.PERSONAL_TOKEN:
        environment_tokens.check(found, request.base, env)
    else:
        environment_tokens.check_product(found, request.base, env)
    password = found.secret.reveal() if found.client_id is None else _client_credentials_token(request, data, found)
    return {
        "kind": found.kind,
        "username": found.username,
        "account": found.account or "",
        "password": password,
        "variable": found.variable,
    }


def _client_credentials_token(
    request: git_protocol.Request, data: bytes, consumer: environment_tokens.EnvironmentCredential
) -> str:
    from git_credential_bitbucket.client import consumer_tokens, interactivity  # lazy: json, and a token needs neither
    from git_credential_bitbucket.client.agent_client import AgentClient

    client = AgentClient()
    told = dict(git_protocol.parse_pairs(consumer_tokens.mint(request, data, consumer, client)))
    if not told:
        why = dict(git_protocol.parse_pairs(client.reply("why", data)))
        if why.get("state") == git_protocol.UNKNOWN_HOST:  # only this process's configuration names it
            client.in_process = True
            told = dict(git_protocol.parse_pairs(consumer_tokens.mint(request, data, consumer, client)))
    if not told.get("password"):
        problem = interactivity.missing_credential(dict(git_protocol.parse_pairs(client.reply("why", data))))
        raise UnknownCredential(problem.cause, hint=problem.hint)
    return told["password"]


def header(told: Mapping[str, str]) -> str:
    """The value of `Authorization` for REST. Raises `SettingsError` where REST needs an email that is unknown."""
    hint = _NAME_THE_ACCOUNT if "variable" in told else token_kinds.LOGIN_WITH_EMAIL
    return token_kinds.rest_header(told["kind"], told.get("account") or None, Secret(told["password"]), hint)


def client_arguments(told: Mapping[str, str]) -> dict[str, str] | None:
    """What a REST client is given to send `header`: `token` for Bearer, else `username` and `password`.

    None where REST needs an email that is unknown. The names are those of atlassian-python-api's clients.
    """
    try:
        scheme = header(told).partition(" ")[0]
    except SettingsError:
        return None
    if scheme == "Basic":
        return {"username": told["account"], "password": told["password"]}
    return {"token": told["password"]}
