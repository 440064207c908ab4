"""`token`: the secret that git would get, for REST and scripts. Prints that, and nothing else, on standard output."""

from __future__ import annotations

import os
from base64 import b64encode

import click

from git_credential_bitbucket.bitbucket import hosts
from git_credential_bitbucket.cli import opening, places, shy
from git_credential_bitbucket.cli.app import summary
from git_credential_bitbucket.cli.holder import ask, offered
from git_credential_bitbucket.client import authorization, lacking
from git_credential_bitbucket.errors import Error, UnknownCredential

ID_CHARACTERS = 12
_CLOUD = places.parse(hosts.CLOUD_URL)

HELP = f"""{summary("token")}.

Without a place: what serves all of bitbucket.org. A token that is about to end is renewed first. As with git, a token
in the environment (BITBUCKET_TOKEN and its like) comes before what is kept.

\b
  curl -H "$(git-credential-bitbucket token --header acme/app)" https://api.bitbucket.org/2.0/user
"""


@click.command(cls=shy.Shy, help=HELP)
@click.argument("what", metavar="[URL|PLACE|ID]", required=False)
@click.option(
    "--for",
    "use",
    type=click.Choice(["git", "api"]),
    default="api",
    show_default=True,
    help="What the header is for: an API token is sent otherwise to git's host than to REST.",
)
@click.option("--header", is_flag=True, help="The whole line, `Authorization: …`.")
def command(*, what: str | None, use: str, header: bool) -> None:
    """Print a secret."""
    told = fetched(what)
    if not header:
        write(told["password"])
    elif use == "git":
        pair = f"{told['username']}:{told['password']}".encode("utf-8", "surrogateescape")
        write(f"Authorization: Basic {b64encode(pair).decode('ascii')}")
    else:
        write(f"Authorization: {authorization.header(told)}")


def fetched(what: str | None) -> dict[str, str]:
    """Kind, username, account and password of what git would get. Raises `Error` where that is nothing."""
    asked = places.parse(what) if what is not None and not _is_id(what) else _CLOUD
    if not hosts.is_cloud(asked.protocol, asked.host):
        places.provider(asked.url)
    given = None if what is not None and _is_id(what) else authorization.from_environment(os.environ, asked.request())
    if given is not None:
        return given
    opening.readable()
    place, credential_id = _meant(what)
    fields = [] if credential_id is None else [("id", credential_id)]
    told = offered("token", fields, place.request())
    if not told.get("password"):
        problem = lacking.told(dict(ask("why", (), place.request())))
        raise UnknownCredential(problem.cause, hint=problem.hint)
    return told


def _meant(what: str | None) -> tuple[places.Place, str | None]:
    """The place to ask for, and the credential's id where that was given."""
    if what is None:
        return _CLOUD, None
    for one in places.kept() if _is_id(what) else ():
        if one["id"] == what:
            return places.parse(one["url"]), what
    return places.parse(what), None


def _is_id(word: str) -> bool:
    """Whether `word` has the shape of an id; a workspace may have it as well."""
    return len(word) == ID_CHARACTERS and not word.strip("0123456789abcdef")


def write(text: str) -> None:
    """One line on standard output, as it is."""
    if any(c in text for c in "\r\n\0"):
        raise Error(
            "the secret holds a line break, and cannot be printed as one line",
            hint="log in with one that has none: git-credential-bitbucket login",
        )
    click.echo(text)
