"""`exec`: runs a command whose git gets the environment's credentials from a private daemon."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import click

from git_credential_bitbucket import git_config
from git_credential_bitbucket.bitbucket import hosts, providers, scopes
from git_credential_bitbucket.cli.app import summary
from git_credential_bitbucket.client import child_process, environment_tokens
from git_credential_bitbucket.errors import SettingsError
from git_credential_bitbucket.gitsetup import private_daemon
from git_credential_bitbucket.gitsetup.executable import helper_here
from git_credential_bitbucket.ui import arguments

if TYPE_CHECKING:
    from collections.abc import Mapping


Record = dict[str, Any]
ORIGIN = "exec"


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    options_metavar="[--for WORKSPACE[/REPOSITORY]] [--]",
    help=f"""{summary("exec")}.

    These are a token in BITBUCKET_API_TOKEN, BITBUCKET_ACCESS_TOKEN or BITBUCKET_TOKEN, or an OAuth consumer in
    BITBUCKET_CLIENT_ID and BITBUCKET_CLIENT_SECRET (or BITBUCKET_OAUTH_CLIENT_ID and …_SECRET), each also as …_FILE,
    which names a file that holds it; and the tokens in BITBUCKET_TOKENS_FILE. COMMAND's environment has none of
    them: a separate daemon, with everything in memory, answers COMMAND's git, and stops with COMMAND.

    Within another exec, the outer one still answers for scopes that this one has no credential for.

    This keeps a secret from being shown or passed on by accident. It does not keep it from a COMMAND that wants it,
    which can ask as git does (git credential fill, the command token), and read /proc/PID/environ of the shell that
    holds the variable. Prefer …_FILE, and run exec as the first process of a job or container, so that no other
    process holds the secret.

    The exit code is COMMAND's own, 128 plus the number of the signal that ended it, 127 if it is not found, or 126 if
    it cannot be run.""",
)
@click.option("--for", "wanted", metavar="SCOPE", help="Only for this workspace or repository.")
@click.argument("words", metavar="COMMAND …", nargs=-1, required=True, type=click.UNPROCESSED)
def command(*, wanted: str | None, words: tuple[str, ...]) -> int:
    """Run the command; returns its exit code."""
    served = records(os.environ, environment_tokens.required(os.environ), wanted)
    helper = helper_here(os.environ)
    with private_daemon.daemon(os.environ) as client:
        for _, record in served:
            client.ask("add", [("record", json.dumps(record)), ("memory", "1")])
        env = client.command_environment(os.environ, helper, list(dict.fromkeys(url for url, _ in served)))
        return child_process.run(words, env)


def records(
    env: Mapping[str, str], given: list[environment_tokens.EnvironmentCredential], wanted: str | None
) -> list[tuple[str, Record]]:
    """The credentials for each host that may get them, by the host's URL. Raises `SettingsError` if none is left.

    Each is for its own scope, or for `wanted` if that is narrower.
    """
    read = git_config.read(env)
    found: dict[str, tuple[str, Record]] = {}
    for protocol, host in hosts.configured_hosts(read):
        provider = providers.find(read, protocol, host, env)
        if provider is None:
            continue
        url = f"{provider.protocol}://{provider.host}"
        target = arguments.parse_scope(wanted or url, url)
        if (target.protocol, target.host) != (provider.protocol, provider.host):
            continue
        for one in given:
            scope = "/".join((url, *one.scope))
            narrower = max(scope, target.text, key=len)
            if narrower in found or not all(scopes.is_within(narrower, around) for around in (scope, target.text)):
                continue
            if (
                url == hosts.CLOUD_URL or provider.endpoint.product == hosts.DATA_CENTER
            ) and not environment_tokens.is_of(provider.endpoint.product, one):
                continue
            if one.client_id is not None:
                if provider.protocol != "https":
                    continue
                providers.check_oauth(provider)
            found[narrower] = (url, {**_record(one), "place": narrower, "endpoint": provider.endpoint.to_record()})
    if not found:
        hint = "to allow a host, run: git config --global credential.URL.provider bitbucket"
        raise SettingsError("no host that may get a credential has this scope", hint=hint)
    return list(found.values())


def _record(one: environment_tokens.EnvironmentCredential) -> Record:
    given = {"kind": one.kind, "origin": ORIGIN}
    if one.client_id is None:
        return {**given, "secret": one.secret.reveal(), "account": one.account, "bitbucket_username": one.owner}
    consumer = {"client_id": one.client_id, "client_secret": one.secret.reveal()}
    return {**given, **consumer, "secret": "", "expires_at": None}  # the first `get` obtains a token
