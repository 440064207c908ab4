"""`explain`: which credential git would get for a URL, and why."""

from __future__ import annotations

import json

import click

from git_credential_bitbucket.cli import secret_arguments
from git_credential_bitbucket.cli.app import summary
from git_credential_bitbucket.diagnostics import explanation


@click.command(
    cls=secret_arguments.SecretRefusingCommand,
    help=f"""{summary("explain")}.

    URL may also be a place such as acme/app. Without it: the address that git would fetch from in this directory, else
    https://bitbucket.org. The configuration is the one that git obeys here, a repository's own included.

    With --check Bitbucket is asked about what git gets: for a repository as git asks before it fetches, else by REST.

    Exit code 1 where git would get nothing; with --check, also where Bitbucket rejects it or gives it no access.""",
)
@click.argument("url", metavar="[URL]", required=False)
@click.option("--check", is_flag=True, help="Ask Bitbucket whether what git gets is valid.")
@click.option("--json", "as_json", is_flag=True, help="As one JSON document; times are epoch seconds.")
def command(*, url: str | None, check: bool, as_json: bool) -> int:
    """Explain."""
    document = explanation.explain(url, is_checked=check)
    if as_json:
        click.echo(json.dumps(document, indent=2))
    else:
        from git_credential_bitbucket.diagnostics import explain_view as shown  # here, not above: rich costs 40 ms

        shown.print_document(document)
    verdict = document.get("verdict")
    is_refused = verdict is not None and verdict["verdict"] in ("rejected", "denied")
    return 0 if document["answer"] is not None and not is_refused else 1
