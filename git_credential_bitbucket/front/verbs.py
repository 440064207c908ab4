"""What is not git's own request: a person's verbs, and operations that a later git may have.

Imports os; the command line's own imports wait until it is known that a person is meant.
"""

import os

from git_credential_bitbucket.front.activate import third_party


def run(arguments: list[str]) -> int:
    """Run a person's verb; returns the exit code. Silent for an operation that only a later git knows."""
    third_party()
    from git_credential_bitbucket.cli import app  # here, not above: click costs more than a whole `get`

    if len(arguments) == 1 and not is_typed() and not app.knows(arguments[0]):
        return 0  # gitcredentials(7): a helper silently ignores operations that it does not know
    return app.main(arguments)


def is_typed() -> bool:
    """Whether a person typed the command: git, for one, gives its helpers a pipe to read from."""
    try:
        return os.isatty(0)
    except OSError:
        return False
