"""The command line: the list of commands, and the only place that turns errors into messages and exit codes.

Exit codes: 0 success, 1 error (reported on stderr with a hint), 2 usage, 130 Ctrl-C, 141 closed output. `exec` exits
with its command's code, or 126 or 127 if that cannot be run. Each module has a `command`, imported only when it is run.
"""

from __future__ import annotations

import io
import os
import sys
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import click

from git_credential_bitbucket import __version__, git_config
from git_credential_bitbucket.client import ipc, messages
from git_credential_bitbucket.errors import Error, SettingsError
from git_credential_bitbucket.git_protocol import printable
from git_credential_bitbucket.ui import ascii_fallback

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ERROR, USAGE, INTERRUPTED, UNREAD = 1, 2, 130, 141
"""Exit codes; the last two as a shell's for a program that SIGINT or SIGPIPE ended."""

SECTIONS = {
    "Set up": {
        "configure": "Make git ask this helper for Bitbucket credentials",
        "unconfigure": "Remove what configure wrote",
        "login": "Store a token, or log in with OAuth",
        "logout": "Remove a credential, and revoke it where possible",
        "migrate": "Move tokens from files and other helpers into the vault",
    },
    "Inspect": {
        "status": "Show stored credentials",
        "explain": "Show which credential git would get for a URL, and why",
        "expires": "Show when tokens expire, or enter a date",
        "doctor": "Check everything between git and Bitbucket",
        "audit": "Find tokens stored in plain text",
        "log": "Show the access log",
    },
    "Use": {
        "token": "Print the current token, for REST and scripts",
        "exec": "Run a command whose git uses the environment's credentials",
        "grant": "Open a socket that answers for one repository or workspace, for a while",
        "refresh": "Renew OAuth tokens now",
        "rotate": "Replace a token with a new one",
        "switch": "Choose which account git uses where several match",
        "restore": "Re-enable a disabled credential",
    },
    "Vault and daemon": {
        "lock": "Lock the vault: make the daemon forget its key",
        "unlock": "Unlock the vault: give the daemon its key",
        "rekey": "Change the vault's key, or where it is stored",
        "vault": "Show the vault, or copy or move it to another file or server",
        "daemon": "Start, stop or inspect the daemon",
        "version": "Show the version of this program and of what it uses",
        "help": "Show the help of a command, or of the program",
    },
}
"""The commands in the order of first use; each summary is also the first line of its help."""
VERBS = {verb: summary for section in SECTIONS.values() for verb, summary in section.items()}
_CLOSE = 0.75
"""The minimal similarity (of 1) of a typing error: `lgoin` has 0.8; `list`, `update` and `renew` 0.6 at most."""
_MODULES = {"exec": "exec_"}
"""Modules that cannot have their command's name."""


class Commands(click.Group):
    """The group of all commands, imported on demand."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The installed commands, in the table's order."""
        del ctx
        return [name for name in VERBS if is_command(name)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command; None if there is none of this name."""
        del ctx
        if cmd_name.startswith("-") or not is_command(cmd_name):
            return None
        command: click.Command = import_module(_module(cmd_name)).command
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:  # noqa: ANN401 - as click says
        """As click's; the error for a mistyped command suggests the right one."""
        if not is_command(args[0]) and (meant := suggest(args[0])) is not None:
            ctx.fail(f"no such command '{printable(args[0])}': did you mean {meant}?")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of commands without importing them."""
        width = max(map(len, self.list_commands(ctx)))
        for section, lines in SECTIONS.items():
            if known := [(name.ljust(width), line) for name, line in lines.items() if is_command(name)]:
                with formatter.section(section):
                    formatter.write_dl(known)


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    options_metavar="[-v]",
    subcommand_metavar="COMMAND …",
    epilog="git itself runs this program with get, store and erase. Every command has its own --help.",
)
@click.option("-v", "--verbose", is_flag=True, help="Show every decision, all versions, and the cause of an error.")
@click.version_option(__version__, prog_name=messages.NAME, message="%(prog)s %(version)s")
def verbs(*, verbose: bool) -> None:
    """Give git the right Bitbucket token for each workspace and repository, and keep it fresh."""
    del verbose  # read by `is_verbose`
    try:
        git_config.adopt(os.environ)
    except SettingsError:
        if click.get_current_context().invoked_subcommand not in ("doctor", "help", "version"):
            raise


def is_command(word: str) -> bool:
    """Whether `word` is a command or an option."""
    return word.startswith("-") or (word in VERBS and find_spec(_module(word)) is not None)


def suggest(word: str) -> str | None:
    """The command that `word` is mistyped for; None for other words, such as an operation of a later git."""
    from difflib import get_close_matches  # lazy: only a mistyped command needs it

    return next(iter(get_close_matches(word, VERBS, n=1, cutoff=_CLOSE)), None) if word.isalpha() else None


def summary(verb: str) -> str:
    """The command's summary in the table."""
    return VERBS[verb]


def is_verbose() -> bool:
    """Whether `-v` was given before the command."""
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.find_root().params.get("verbose"))


def main(arguments: Sequence[str]) -> int:
    """Run one command; returns the exit code."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # the caller closed it (`>&-`)
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - open to the process's end
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=ascii_fallback.ERRORS)  # for terminals without UTF-8
    words = list(arguments) or ["--help"]
    verbose = words[0] in ("-v", "--verbose")
    if verbose:
        os.environ.setdefault(ipc.TRACE, "1")
    verb = next((word for word in words if not word.startswith("-") and is_command(word)), None)
    return _run(lambda: verbs.main(words, prog_name=messages.NAME, standalone_mode=False), verb, verbose=verbose)


def _run(run: Callable[[], Any], verb: str | None, *, verbose: bool) -> int:
    try:
        code = run()
        sys.stdout.flush()  # a closed pipe must raise here
    except Error as exc:
        messages.failure(exc)
        if verbose:
            _print_causes(exc)
        return ERROR
    except click.ClickException as exc:
        return _print_usage_error(exc, verb)
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:
        _discard_stdout()
        return UNREAD
    except OSError as exc:
        _discard_stdout()
        messages.system_error(exc)
        return ERROR
    except SystemExit as exc:
        # Click and rich exit like this on a broken pipe.
        return UNREAD if exc.code == 1 else int(exc.code or 0)
    return code if isinstance(code, int) else 0


def _print_usage_error(exc: click.ClickException, verb: str | None) -> int:
    """Print click's error in this program's form."""
    context = exc.ctx if isinstance(exc, click.UsageError) else None
    message = " ".join(exc.format_message().split()).removesuffix(".")  # click breaks a list of choices into lines
    # Click does not say whose option lacks its value.
    where = context.command_path if context is not None else " ".join(filter(None, (messages.NAME, verb)))
    messages.error(message[:1].lower() + message[1:], f"see: {where} --help")
    return USAGE


def _print_causes(exc: BaseException) -> None:
    """Print the chain of causes: types and system errors only, because other texts may contain a secret."""
    cause = exc.__cause__
    while cause is not None:
        detail = f": {cause.strerror}" if isinstance(cause, OSError) and cause.strerror else ""
        click.echo(f"{messages.NAME}: because: {type(cause).__module__}.{type(cause).__qualname__}{detail}", err=True)
        cause = cause.__cause__


def _discard_stdout() -> None:
    """Discard buffered output that cannot be written, which the interpreter would report at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _module(verb: str) -> str:
    return f"{__package__}.{_MODULES.get(verb, verb)}"
