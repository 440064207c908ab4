"""Where git-credential-bitbucket.pyz begins: git's operations as in an installation, and verbs that need no package.

install/wheels.py puts it into that file as `__main__`, beside modules of the package: they answer git with tokens from
the environment, on Python's standard library alone.
"""

import os
import sys

NEEDED = (3, 11)
VERBS = {
    "configure": "make git ask this helper for Bitbucket's credentials",
    "unconfigure": "take back what configure wrote",
    "doctor": "check the way from git to a token in the environment",
    "version": "print the versions of this program, of Python and of git",
}
INSTALLED_ONLY = ("exec", "explain", "login", "logout", "status", "token")
"""Verbs of an installation that somebody may look for here."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


def main(argv: "list[str]") -> int:
    """Serve git, or run a verb; returns the exit code."""
    from git_credential_bitbucket.helper import relay

    words = argv[1:]
    if words and words[-1] in {*relay.OPERATIONS, "capability"} and not {*words}.intersection(VERBS):
        return relay.main(argv)
    known = {*VERBS, *INSTALLED_ONLY, "help"}
    if len(words) == 1 and not words[0].startswith("-") and words[0] not in known and not os.isatty(0):
        return 0  # gitcredentials(7): silent about an operation that only a later git knows
    from git_credential_bitbucket import errors, paths
    from git_credential_bitbucket.client import messages

    paths.adopt_second_names(os.environ)
    try:
        code = run(words or ["--help"])
        sys.stdout.flush()
    except errors.Error as exc:
        messages.failure(exc)
    except BrokenPipeError:
        os._exit(141)
    except OSError as exc:
        messages.refused(exc)
    else:
        return code
    return 1


def run(words: "list[str]") -> int:
    """Run the verb that `words` begin with; returns the exit code. Raises an `Error`."""
    import argparse

    from git_credential_bitbucket import __version__
    from git_credential_bitbucket.client import activate, messages
    from git_credential_bitbucket.gitsetup import configuration

    class Parser(argparse.ArgumentParser):
        """A parser whose errors are one line and a hint."""

        def error(self, message: str) -> "NoReturn":
            messages.error(message, f"see: {self.prog} --help")
            sys.exit(2)

    if words[0] in INSTALLED_ONLY:
        raise activate.not_installed(f"{words[0]} is not part of this one-file program")
    parser = Parser(prog=messages.NAME, description="Answer git with Bitbucket tokens from the environment.")
    parser.add_argument("--version", action="version", version=f"{messages.NAME} {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    parsers = {verb: verbs.add_parser(verb, help=text, description=text) for verb, text in VERBS.items()}
    for verb in ("configure", "unconfigure"):
        parsers[verb].add_argument("--host", metavar="URL", help="another host than bitbucket.org")
        parsers[verb].add_argument("--system", action="store_true", help="for all users of this machine")
        parsers[verb].add_argument("-n", "--dry-run", action="store_true", help="print the git commands, and run none")
    parsers["doctor"].add_argument("url", metavar="URL", nargs="?", help="the repository that is meant")
    options = parser.parse_args([word for word in words if word != "help"] or ["--help"])
    if options.verb == "doctor":
        return doctor(options.url)
    if options.verb == "version":
        version()
        return 0
    host = None if options.host is None else configuration.host_url(options.host)
    if options.host is not None and host is None:
        parser.error("--host must be an address without path or name, such as https://bitbucket.example.com")
    do = configuration.configure if options.verb == "configure" else configuration.unconfigure
    do(os.environ, host, system=options.system, dry_run=options.dry_run)
    return 0


def doctor(url: "str | None") -> int:
    """Tell what is found on the way from git to a token in the environment; returns 1 where something is wrong."""
    from git_credential_bitbucket.diagnostics import addresses, configuration, finding, programs, round_trip
    from git_credential_bitbucket.ui.output import say

    scene = finding.scene(os.environ, url)
    found = [*programs.look(os.environ), *configuration.look(scene), *addresses.look(scene), round_trip.look(scene)]
    for one in found:
        say(finding.safe(f"{one.level:5}  {one.check:24}  {one.text}", os.environ))
        if one.hint and one.level != finding.OK:
            say(finding.safe(f"{'':33}hint: {one.hint}", os.environ))
    return int(any(one.level == finding.WRONG for one in found))


def version() -> None:
    """Print versions."""
    from git_credential_bitbucket.client import messages
    from git_credential_bitbucket.diagnostics import programs
    from git_credential_bitbucket.ui.output import say

    found = {one.check: one.text for one in programs.look(os.environ)}
    for check in (messages.NAME, "git"):
        say(f"{check} {found[check]}")


if __name__ == "__main__":
    if sys.version_info < NEEDED:
        sys.exit(
            "git-credential-bitbucket: error: Python 3.11 or newer is needed, and this is " + sys.version.split()[0]
        )
    sys.exit(main(sys.argv))
