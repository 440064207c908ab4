"""`explain`: which credential git would get for a URL, and why."""

from __future__ import annotations

import json

import click

from git_credential_bitbucket.cli import options
from git_credential_bitbucket.diagnostics import explanation


@options.verb(
    "explain",
    """
    URL may also be a scope such as acme/app. Without it: this repository's remote, else https://bitbucket.org.
    The git configuration that applies here is used, including the repository's own.

    With --check, Bitbucket is asked whether git's credential is valid: for a repository with git's own request, else by
    the REST API.

    Exit code 1 if git would get no credential; with --check, also if Bitbucket rejects it or denies access.
    """,
)
@click.argument("url", metavar="[URL]", required=False)
@click.option("--check", is_flag=True, help="Ask Bitbucket whether git's credential is valid.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document; times are epoch seconds.")
def command(*, url: str | None, check: bool, as_json: bool) -> int:
    """Explain."""
    document = explanation.explain(url, is_checked=check)
    if as_json:
        click.echo(json.dumps(document, indent=2))
    else:
        from git_credential_bitbucket.diagnostics import explain_view as shown  # lazy: rich costs 40 ms

        shown.print_document(document)
    verdict = document.get("verdict")
    is_refused = verdict is not None and verdict["verdict"] in ("rejected", "denied")
    return 0 if document["answer"] is not None and not is_refused else 1
