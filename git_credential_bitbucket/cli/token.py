"""`token`: prints the secret that git would get, for REST and scripts, and nothing else."""

from __future__ import annotations

import json
import os
import time

import click

from git_credential_bitbucket.bitbucket import hosts, token_kinds
from git_credential_bitbucket.cli import options
from git_credential_bitbucket.cli.app import is_verbose
from git_credential_bitbucket.client import interactivity, messages, rest_authorization
from git_credential_bitbucket.client.shared_client import ask, find
from git_credential_bitbucket.errors import Error, UnknownCredential
from git_credential_bitbucket.git_protocol import printable
from git_credential_bitbucket.gitsetup import git_request
from git_credential_bitbucket.login import vault_setup
from git_credential_bitbucket.ui import arguments

ID_CHARACTERS = 12
_CLOUD = arguments.parse_scope(hosts.CLOUD_URL)

HELP = """
Without a scope: in a repository whose remote is on a Bitbucket host, the token that git would get for it; elsewhere
the one for all of bitbucket.org. A token that is about to expire is renewed first. As with git, a token in the
environment (BITBUCKET_TOKEN and so on) comes before stored ones.

\b
  curl -H "$(git-credential-bitbucket token --header acme/app)" https://api.bitbucket.org/2.0/user

--json also prints what a program needs to know of it: git's username, the expiry, and in `rest` the named arguments
of a REST client such as atlassian-python-api's: Cloud(url="https://api.bitbucket.org", **rest). It is also what
`login --from exec:…` reads.
"""


@options.verb("token", HELP)
@click.argument("what", metavar="[URL|SCOPE|ID]", required=False)
@click.option("--rest", is_flag=True, help="With --header: for the REST API (the default).")
@click.option("--git", "for_git", is_flag=True, help="With --header: for git over HTTPS.")
@click.option("--for", "former", hidden=True)
@click.option("--header", is_flag=True, help="Print the whole header, `Authorization: …`.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document with the token.")
def command(*, what: str | None, rest: bool, for_git: bool, former: str | None, header: bool, as_json: bool) -> None:
    """Print a token."""
    if former is not None:
        raise click.UsageError("token has no --for: give the scope as an argument, and --rest or --git")
    if rest and for_git:
        raise click.UsageError("--rest and --git cannot be combined")
    if as_json and (header or rest or for_git):
        raise click.UsageError("--json cannot be combined with --header, --rest or --git: it contains all of them")
    credential = fetch_token(what)
    if as_json:
        click.echo(json.dumps(_document(credential)))
    elif not header:
        write(credential["password"])
    elif for_git:
        write(f"Authorization: {token_kinds.basic_header(credential['username'], credential['password'])}")
    else:
        write(f"Authorization: {rest_authorization.header(credential)}")


def _document(credential: dict[str, str]) -> dict[str, object]:
    """The credential as `schemas/token.json` describes it; a source reads the same (`secret_sources`)."""
    expiry = credential.get("password_expiry_utc")
    return {
        "version": 1,
        "token": credential["password"],
        "username": credential["username"],
        "kind": credential["kind"],
        "account": credential["account"] or None,
        "expires": None if expiry is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(expiry))),
        "rest": rest_authorization.client_arguments(credential),
    }


def fetch_token(what: str | None) -> dict[str, str]:
    """Kind, username, account and password of the credential that git would get. Raises `Error` if there is none."""
    if what is None or not _is_id(what):
        scope, credential_id = _scope_here() if what is None else arguments.parse_scope(what), None
    else:
        vault_setup.unlock_if_locked()
        scope, credential_id = _scope_and_id(what)
    if what is None and is_verbose():
        click.echo(f"{messages.NAME}: for {printable(scope.text)}", err=True)
    if credential_id is None:
        if not hosts.is_cloud(scope.protocol, scope.host):
            arguments.find_provider(scope.url)
        if (given := rest_authorization.from_environment(os.environ, scope.request())) is not None:
            return given
        vault_setup.unlock_if_locked()
    fields = [] if credential_id is None else [("id", credential_id)]
    credential = find("token", fields, scope.request())
    if not credential.get("password"):
        problem = interactivity.missing_credential(dict(ask("why", (), scope.request())))
        raise UnknownCredential(problem.cause, hint=problem.hint)
    return credential


def _scope_here() -> arguments.ScopeArgument:
    """The repository of the current directory if its remote is on a Bitbucket host; elsewhere all of bitbucket.org."""
    text = git_request.remote(os.environ, git_request.folder_here())
    try:
        scope = arguments.parse_scope(text) if text is not None else _CLOUD
    except Error:  # a path, or an address with a password in it
        return _CLOUD
    return scope if hosts.find_product_now(os.environ, scope.protocol, scope.host) else _CLOUD


def _scope_and_id(what: str) -> tuple[arguments.ScopeArgument, str | None]:
    """The scope to request, and the credential's id if `what` is one."""
    for one in arguments.stored_credentials():
        if one["id"] == what:
            return arguments.requested_scope(one), what
    return arguments.parse_scope(what), None


def _is_id(word: str) -> bool:
    """Whether `word` has the form of an id, which a workspace's name may have too."""
    return len(word) == ID_CHARACTERS and not word.strip("0123456789abcdef")


def write(text: str) -> None:
    """Print one line, unchanged. Raises `Error` for a line break in it."""
    if any(c in text for c in "\r\n\0"):
        hint = "log in with another one: git-credential-bitbucket login"
        raise Error("the secret contains a line break, so it cannot be printed as one line", hint=hint)
    click.echo(text)
