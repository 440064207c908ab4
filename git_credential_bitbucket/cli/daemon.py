"""`daemon`: starts, stops and shows the daemon, for people, scripts and systemd; git starts it by itself."""

from __future__ import annotations

import json
import os
from typing import Any

import click

from git_credential_bitbucket import __version__, git_protocol, paths
from git_credential_bitbucket.cli.app import summary
from git_credential_bitbucket.client import daemon_info, daemon_launcher, ipc, messages
from git_credential_bitbucket.client.agent_client import control_unreachable, raise_error
from git_credential_bitbucket.errors import SettingsError
from git_credential_bitbucket.ui import dates
from git_credential_bitbucket.ui.output import say, table, warn

NOT_RUNNING = 3
"""The exit code of `status` if no daemon is running, as systemctl's."""
STOP_TIMEOUT_S = 400.0
"""The daemon waits a minute at most for clients, but longer for an answer from Bitbucket."""
ACTIVATION = ("LISTEN_FDS", "LISTEN_PID")
"""Variables of systemd's socket activation (sd_listen_fds(3))."""


@click.group(
    no_args_is_help=False,
    help=f"{summary('daemon')}.\n\nIt starts when git needs it, and exits after an hour without requests, unless state"
    " would be lost.",
)
def command() -> None:
    """Group the commands."""


@command.command(help="Start the daemon unless it is running; wait until it listens.")
def start() -> None:
    """Start the daemon."""
    path = daemon_info.socket_path()
    before = daemon_info.daemon_facts(path)
    if before is None:
        daemon_launcher.start(os.environ)
    after = daemon_info.daemon_facts(path) or {}
    say(f"daemon {'already running' if before else 'started'} (pid {after.get('pid', '?')})")


@command.command(
    help="Run the daemon in this process, in the foreground: for systemd, launchd and containers.",
    short_help="Run the daemon in this process, in the foreground.",
)
def run() -> None:
    """Become the daemon, with a socket of systemd's (LISTEN_FDS) if there is one; returns only by raising."""
    daemon_info.socket_path()
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    data = json.dumps({"env": daemon_launcher.passed_environment(os.environ)}).encode()
    if os.write(writer, data) < len(data):
        hint = "start it with env -i HOME=… PATH=…"
        raise SettingsError("the environment is too large to pass on to the daemon", hint=hint)
    os.close(writer)
    os.dup2(reader, 0)
    # As from git: by pipe, because /proc/PID/environ would show it as long as the daemon runs.
    env = {
        name: os.environ[name] for name in (*daemon_launcher.INTERPRETER_VARIABLES, *ACTIVATION) if name in os.environ
    }
    argv = daemon_launcher.command()
    os.execve(argv[0], argv, env)  # noqa: S606 - no shell is wanted


@command.command(
    help="Stop the daemon; wait until it has exited. It does not stop while credentials are in memory only."
)
@click.option("--force", is_flag=True, help="Stop it even if what is in memory is lost.")
def stop(*, force: bool) -> None:
    """Stop the daemon."""
    path = daemon_info.socket_path()
    facts = daemon_info.daemon_facts(path)
    if facts is None:
        say("no daemon is running")
        return
    # The release 0.1.0 has one socket for everything.
    control = paths.control_socket(path) if "vault_id" in facts else path
    asked = ipc.format_request("exit", b"force=1\n" if force else b"", paths.vault_id(os.environ))
    with messages.WaitNotice("the daemon is finishing its work; an answer from Bitbucket can take up to 5 minutes"):
        outcome, reply = ipc.send_request(control, asked, STOP_TIMEOUT_S)
    raise_error(git_protocol.parse_pairs(reply))
    if outcome == ipc.ABSENT and daemon_info.listener_pid(path) is not None:
        raise control_unreachable()
    if outcome != ipc.ANSWERED and daemon_info.listener_pid(path) is not None:
        raise daemon_info.not_answering(path)
    say(f"daemon stopped (pid {facts['pid']})")


@command.command(
    help=f"Show whether the daemon is running, and its state. The exit code is {NOT_RUNNING} if it is not."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document; uptime is in seconds.")
def status(*, as_json: bool) -> int:
    """Show the daemon's state; never starts it."""
    path = daemon_info.socket_path()
    facts = daemon_info.daemon_facts(path)
    if as_json:
        click.echo(json.dumps(_document(path, facts), indent=2))
    elif facts is None:
        pid = daemon_info.listener_pid(path)
        found = "no daemon is running" if pid is None else f"process {pid or '?'} listens, but is not this daemon"
        say(f"{found} at {path}")
    else:
        _print(path, facts)
    return 0 if facts is not None else NOT_RUNNING


@command.command(name="list", help="List your daemons: one for each vault in use.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document; uptime is in seconds.")
def list_daemons(*, as_json: bool) -> None:
    """List the user's daemons."""
    found = [
        _document(facts["socket"], facts)
        for facts in map(daemon_info.socket_facts, daemon_info.control_sockets())
        if "socket" in facts
    ]
    if as_json:
        click.echo(json.dumps(found, indent=2))
    elif not found:
        say("no daemon is running")
    else:
        rows = (tuple(str(one[name]) for name in ("pid", "version", "vault_path", "socket")) for one in found)
        table(rows, ("PID", "VERSION", "VAULT", "SOCKET"))


@command.command(name="socket", help="Print the path of git's socket; the daemon need not run.")
@click.option(
    "--control",
    is_flag=True,
    help="The path of the control socket, which accepts every command: never forward or mount it.",
)
def socket_path(*, control: bool) -> None:
    """Print the path of a socket."""
    path = daemon_info.socket_path()
    say(paths.control_socket(path) if control else path, is_whole=True)


def _document(path: str, facts: dict[str, str] | None) -> dict[str, Any]:
    values = {name: int(value) if name in daemon_info.NUMBERS else value for name, value in (facts or {}).items()}
    return {"running": facts is not None, "socket": path, **values}


def _print(path: str, facts: dict[str, str]) -> None:
    rows = [
        ("pid", facts["pid"]),
        ("version", facts["version"]),
        ("up for", dates.time_left(max(1, int(facts["uptime"])))),
        ("requests", facts["served"]),
        ("socket", path),
        *([("vault", facts["vault_path"])] if "vault_path" in facts else []),
    ]
    table(rows)
    if facts.get("leaving"):
        say("it is stopping")
    if facts.get("fault"):
        warn(
            f"internal error in the daemon: {facts['fault']}",
            "please report it; to restart: git-credential-bitbucket daemon stop",
        )
    if facts["version"] != __version__:
        warn(f"its version is not this program's ({__version__})", "it restarts when idle")
