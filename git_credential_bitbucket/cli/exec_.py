"""`exec`: a command whose git gets the environment's credentials from a private daemon; its environment holds none."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import click

from git_credential_bitbucket import settings
from git_credential_bitbucket.bitbucket import hosts, kinds, providers
from git_credential_bitbucket.cli import child, places, private
from git_credential_bitbucket.cli.app import summary
from git_credential_bitbucket.cli.executable import as_helper, stable_path
from git_credential_bitbucket.client import environment
from git_credential_bitbucket.errors import SettingsError
from git_credential_bitbucket.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping


Record = dict[str, Any]
ORIGIN = "exec"


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    options_metavar="[--for WORKSPACE[/REPOSITORY]] [--]",
    help=f"""{summary("exec")}.

    That is a token in BITBUCKET_API_TOKEN, BITBUCKET_ACCESS_TOKEN or BITBUCKET_TOKEN, or an OAuth consumer in
    BITBUCKET_CLIENT_ID and BITBUCKET_CLIENT_SECRET (or BITBUCKET_OAUTH_CLIENT_ID and …_SECRET), each also as …_FILE,
    which names a file that holds it. None of them is in COMMAND's environment: a daemon of its own, with everything in
    memory, answers its git, and ends with it.

    This keeps a secret from being shown or handed on, and not from a COMMAND that wants it: it can ask as git does
    (git credential fill, the verb token), and read /proc/PID/environ of the shell that holds the variable. Prefer
    …_FILE, and run exec as the first process of a job or container, so that no other process holds it.

    The exit code is COMMAND's own, 128 and its number if a signal ended it, 127 if it is not
    found, 126 if it cannot be run.""",
)
@click.option("--for", "place", metavar="PLACE", help="Only for this workspace or repository.")
@click.argument("words", metavar="COMMAND …", nargs=-1, required=True, type=click.UNPROCESSED)
def command(*, place: str | None, words: tuple[str, ...]) -> int:
    """Run the command; returns its exit code."""
    given = credential(os.environ)
    served = [(url, record) for url, record in records(os.environ, given, place)]
    helper = as_helper(stable_path(os.environ))
    with private.daemon(os.environ) as holder:
        for _, record in served:
            holder.ask("add", [("record", json.dumps(record)), ("memory", "1")])
        env = holder.command_environment(os.environ, helper, [url for url, _ in served])
        return child.run(words, env)


def credential(env: Mapping[str, str]) -> Record:
    """What the environment holds, as a record without its place. Raises `SettingsError` if that is nothing usable."""
    found = environment.find(env)
    if found is None:
        if (unusable := environment.unusable(env)) is not None:
            raise SettingsError(unusable.cause, hint=unusable.hint)
        raise SettingsError(
            "there is no credential in the environment to run the command with",
            hint="set BITBUCKET_API_TOKEN, BITBUCKET_ACCESS_TOKEN, BITBUCKET_TOKEN, or BITBUCKET_CLIENT_ID and "
            "BITBUCKET_CLIENT_SECRET; or one of them with _FILE, to name a file",
        )
    given = {"kind": found.kind, "origin": ORIGIN}
    if found.client_id is None:
        return {**given, "secret": found.secret.reveal(), "account": found.account}
    consumer = {"client_id": found.client_id, "client_secret": found.secret.reveal()}
    return {**given, **consumer, "secret": "", "expires_at": None}  # there is none yet: the first `get` mints one


def records(env: Mapping[str, str], given: Record, place: str | None) -> list[tuple[str, Record]]:
    """The credential for each host that may get it, by the host's URL. Raises `SettingsError` if none is left."""
    read = settings.read(env)
    found = []
    for protocol, host in hosts.all_ours(read):
        provider = providers.find(read, protocol, host, env)
        if provider is None:
            continue
        url = f"{provider.protocol}://{provider.host}"
        if url == hosts.CLOUD_URL and environment.is_data_center(Secret(given["secret"])):
            continue
        meant = places.parse(place or url, url)
        if (meant.protocol, meant.host) != (provider.protocol, provider.host):
            continue
        if given["kind"] == kinds.CLIENT_CREDENTIALS:
            if provider.protocol != "https":
                continue
            providers.check_oauth(provider)
        found.append((url, {**given, "place": meant.text, "endpoint": provider.endpoint.to_record()}))
    if not found:
        raise SettingsError(
            "that place is on no host that may get the credential",
            hint="a host is opted in by: git config --global credential.URL.provider bitbucket",
        )
    return found
