"""`lock`: makes the daemon forget the vault's key, until `unlock`."""

from __future__ import annotations

from git_credential_bitbucket.cli import options
from git_credential_bitbucket.client.shared_client import ask
from git_credential_bitbucket.errors import Error
from git_credential_bitbucket.ui import output

HELP = """
git gets no credentials until `unlock`, even if the key could be read without asking. Credentials that are only in the
daemon's memory stay available.
"""


@options.verb("lock", HELP)
def command() -> None:
    """Lock the vault."""
    if "pid" not in dict(ask("status")):
        raise Error(
            "no daemon is running, so the vault cannot be kept locked",
            hint="each command reads the key itself; to require a passphrase, run: "
            "git-credential-bitbucket rekey --to passphrase",
        )
    ask("lock")
    output.say("Vault locked. To unlock it, run: git-credential-bitbucket unlock")
