"""`refresh`: renews an access token now, however much is left of it."""

from __future__ import annotations

import time

import click

from git_credential_bitbucket.cli import secret_arguments
from git_credential_bitbucket.cli.app import summary
from git_credential_bitbucket.client import wait_notice
from git_credential_bitbucket.client.shared_client import ask
from git_credential_bitbucket.errors import Error
from git_credential_bitbucket.login import vault_setup
from git_credential_bitbucket.ui import arguments, dates, output, prompts


@click.command(
    cls=secret_arguments.SecretRefusingCommand,
    help=f"{summary('refresh')}.\n\nWithout a place or an id: all of them. It is done without you before a token ends.",
)
@click.argument("what", metavar="[PLACE|ID]", required=False)
def command(*, what: str | None) -> None:
    """Renew."""
    vault_setup.readable()
    renewable = [one for one in arguments.meant(what) if one["renewed_at"] is not None and one["state"] != "set-aside"]
    if what is not None:
        renewable = [arguments.one_of(renewable, prompts.choosing(), "there that renews itself")]
    if not renewable:
        raise Error(
            "nothing that is kept can be renewed without you",
            hint="tokens are made anew at Bitbucket; what renews itself: git-credential-bitbucket login --oauth",
        )
    failures = []
    for one in renewable:
        try:
            told = renewed(one["id"])
        except Error as exc:
            failures.append((one, exc))
            continue
        left = dates.left(int(told["expires_at"]) - time.time())
        output.say(f"Renewed: {one['kind']} for {one['place']}, for {left}")
    if failures:
        one, first = failures[0]
        rest = f", and {len(failures) - 1} more" if len(failures) > 1 else ""
        raise Error(f"{one['kind']} for {one['place']}{rest}: {first.cause}", hint=first.hint)


def renewed(credential_id: str) -> dict[str, str]:
    """What a renewal ended with (`expires_at`, and whether the refresh token `rotated`), however long Bitbucket takes.

    To be interrupted here ends only the wait.
    """
    with wait_notice.noticed(wait_notice.FOR_BITBUCKET, "to wait no longer: Ctrl-C; the daemon goes on"):
        while "pending" in (told := dict(ask("refresh", [("id", credential_id)]))):
            pass
        return told
