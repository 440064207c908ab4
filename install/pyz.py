"""Where git-credential-bitbucket.pyz begins: git's operations as in an installation, or a verb that needs no package.

install/wheels.py puts it into that file as `__main__`, beside modules of the package: they answer git with tokens from
the environment, on Python's standard library alone. Short, for it is compiled at every start.
"""

import sys

NEEDED = (3, 11)


def main(argv: "list[str]") -> int:
    """Serve git, or run a verb; returns the exit code."""
    from git_credential_bitbucket.helper import relay

    if argv[1:] and argv[-1] in {*relay.OPERATIONS, "capability"} and argv[1] != "exec":
        return relay.main(argv)
    from install import pyz_verbs

    return pyz_verbs.main(argv[1:])


if __name__ == "__main__":
    if sys.version_info < NEEDED:
        sys.exit("git-credential-bitbucket: error: Python 3.11 or newer is needed, not " + sys.version.split()[0])
    sys.exit(main(sys.argv))
