"""The verbs of git-credential-bitbucket.pyz, which need no package of others. Modules of ours do their work."""

import argparse
import os
import sys
from collections.abc import Mapping
from functools import partial
from typing import NoReturn

from git_credential_bitbucket import __version__, git_config, git_protocol, paths
from git_credential_bitbucket.bitbucket import hosts
from git_credential_bitbucket.client import activate, child_process, environment_tokens, messages, secret_markers
from git_credential_bitbucket.daemon import hardening, listener, peers
from git_credential_bitbucket.daemon.server import Server
from git_credential_bitbucket.diagnostics import addresses, finding, programs, round_trip
from git_credential_bitbucket.diagnostics import configuration as configured
from git_credential_bitbucket.errors import Error
from git_credential_bitbucket.gitsetup import configuration, private_daemon
from git_credential_bitbucket.gitsetup.executable import helper_here
from git_credential_bitbucket.ui.output import say

VERBS = {
    "configure": "make git ask this helper for Bitbucket's credentials",
    "unconfigure": "take back what configure wrote",
    "exec": "run a command; its git uses the environment's tokens, which it does not see itself",
    "doctor": "check the way from git to a token in the environment",
    "version": "print the versions of this program, of Python and of git",
}
INSTALLED_ONLY = ("explain", "login", "logout", "status", "token")
"""Verbs of an installation that somebody may look for here."""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line and a hint."""

    def error(self, message: str) -> NoReturn:
        """Say it, and end with 2."""
        messages.error(message, f"see: {self.prog} --help")
        sys.exit(2)


def main(words: list[str]) -> int:
    """Run the verb that `words` begin with; returns the exit code. The one place where an error is told."""
    known = {*VERBS, *INSTALLED_ONLY, "help"}
    if len(words) == 1 and not words[0].startswith("-") and words[0] not in known and not os.isatty(0):
        return 0  # gitcredentials(7): silent about an operation that only a later git knows
    paths.adopt_second_names(os.environ)
    try:
        code = run(words or ["--help"])
        sys.stdout.flush()
    except Error as exc:
        messages.failure(exc)
    except BrokenPipeError:
        os._exit(141)
    except OSError as exc:
        messages.system_error(exc)
    else:
        return code
    return 1


def run(words: list[str]) -> int:
    """Run the verb that `words` begin with; returns the exit code. Raises an `Error`."""
    if words[0] in INSTALLED_ONLY:
        raise activate.not_in_archive(f"{words[0]} is not part of this one-file program")
    parser = Parser(prog=messages.NAME, description="Answer git with Bitbucket tokens from the environment.")
    parser.add_argument("--version", action="version", version=f"{messages.NAME} {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    parsers = {verb: verbs.add_parser(verb, help=text, description=text) for verb, text in VERBS.items()}
    for verb in ("configure", "unconfigure"):
        parsers[verb].add_argument("--host", metavar="URL", help="another host than bitbucket.org")
        parsers[verb].add_argument("--system", action="store_true", help="for all users of this machine")
        parsers[verb].add_argument("-n", "--dry-run", action="store_true", help="print the git commands, and run none")
    parsers["exec"].add_argument("command", metavar="COMMAND", nargs=argparse.REMAINDER)
    parsers["doctor"].add_argument("url", metavar="URL", nargs="?", help="the repository that is meant")
    options = parser.parse_args([*words[1:2], "--help"] if words[0] == "help" else words)
    if options.verb == "exec":
        command = options.command[1:] if options.command[:1] == ["--"] else options.command
        if not command:
            parser.error("exec needs a command")
        return execute(command)
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


def execute(command: list[str]) -> int:
    """Run `command`, its git served with this environment's tokens, its own environment without them; its exit code."""
    if any(one.client_id is not None for one in environment_tokens.required(os.environ)):
        raise activate.not_in_archive("this one-file program does not serve an OAuth consumer")
    read = git_config.read(os.environ)
    urls = [f"{protocol}://{host}" for protocol, host in hosts.configured_hosts(read)]
    helper = helper_here(os.environ)
    with private_daemon.daemon(os.environ, serve) as server:
        return child_process.run(command, server.command_environment(os.environ, helper, urls))


def serve(env: Mapping[str, str], path: str, guard: int) -> None:
    """Fork a process that answers at `path` from `env`, until the pipe `guard` ends."""
    listening = listener.Listener(path)
    bound = listening.bind(listener.socket_paths(path, guests=False))
    if os.fork() != 0:
        return
    try:
        os.setsid()  # Ctrl-C is for the command
        hardening.harden([guard, *(one.fileno() for one in bound.values())])
        hardening.null_descriptors((0, 1, 2))
        admit = peers.admission_rules(frozenset())
        server = Server({one: admit[door] for door, one in bound.items()}, lambda data, *_: reply(env, data))
        ended: list[int] = []
        server.on_readable(guard, partial(ended.append, guard))
        while not ended:
            server.turn(60.0)
        listening.release()
        listener.remove_directory(path)
    finally:
        os._exit(0)


def reply(env: Mapping[str, str], data: bytes) -> bytes:
    """The answer to a request at the socket: as the front end answers where `env` is its own environment."""
    action = data.partition(b"\n")[0].removeprefix(b"action=").decode("ascii", "replace")
    if action == "ping":
        return git_protocol.emit([("pid", str(os.getpid()))])
    why = [("state", "none"), ("error", "the environment of exec holds no token for this host or repository")]
    try:
        request = git_protocol.parse(data)
        found = (
            environment_tokens.find(env, request)
            if hosts.find_product_now(env, request.protocol, request.host)
            else None
        )
        if found is not None and action == "erase" and environment_tokens.is_about(request, found):
            secret_markers.mark(env, request.base, found.secret)
        if found is not None and action in ("get", "why"):
            environment_tokens.check(found, request.base, env)
            if action == "get":
                return environment_tokens.format_answer(found) + b"\n"
    except Error as exc:
        why = [("state", "rejected"), ("error", exc.cause), *([("hint", exc.hint)] if exc.hint else [])]
    return git_protocol.emit(why) if action == "why" else b"ok=1\n" if action in ("store", "erase") else b""


def doctor(url: str | None) -> int:
    """Tell what is found on the way from git to a token in the environment; returns 1 where something is wrong."""
    scene = finding.context_for(os.environ, url)
    found = [*programs.look(os.environ), *configured.look(scene), *addresses.look(scene), round_trip.look(scene)]
    for one in found:
        say(finding.safe(f"{one.level:5}  {one.check:24}  {one.text}", os.environ))
        if one.hint and one.level != finding.OK:
            say(finding.safe(f"{'':33}hint: {one.hint}", os.environ))
    return int(any(one.level == finding.WRONG for one in found))


def version() -> None:
    """Print versions."""
    found = {one.check: one.text for one in programs.look(os.environ)}
    for check in (messages.NAME, "git"):
        say(f"{check} {found[check]}")
