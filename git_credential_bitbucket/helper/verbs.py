"""What is not git's own request: a person's verbs, and operations that a later git may have.

Imports os; the command line's own imports wait until it is known that a person is meant.
"""

import os

from git_credential_bitbucket.client.activate import third_party


def run(arguments: list[str]) -> int:
    """Run a person's verb; returns the exit code. Silent for an operation that only a later git knows."""
    third_party()
    from git_credential_bitbucket.cli import app  # here, not above: click costs more than a whole `get`

    # gitcredentials(7): a helper is silent about operations that it does not know. git gives it a pipe to read from;
    # who mistypes a verb is told so: at a terminal always, elsewhere where the word is a slip of one of ours.
    if len(arguments) == 1 and not os.isatty(0) and not (app.knows(arguments[0]) or app.mistyped(arguments[0])):
        return 0
    return app.main(arguments)
