"""The daemon: whether one may run, runs, answers, and is of this version. Starts one where none runs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from git_credential_bitbucket import __version__, paths
from git_credential_bitbucket.client import daemon_info, daemon_launcher
from git_credential_bitbucket.diagnostics.finding import NOTE, OK, WRONG, Finding, Fix
from git_credential_bitbucket.errors import DaemonDisabled

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableMapping

CHECK = "daemon"


def look(env: MutableMapping[str, str]) -> Iterator[Finding]:
    """What is at the socket. After a `WRONG` here, and what it raises, no further request is sent there."""
    path = paths.socket_path(env)
    try:
        daemon_launcher.check_allowed(env)
        facts = daemon_info.daemon_facts(path)
        if facts is None and daemon_info.listener_pid(path) is not None:
            cause = "another program listens at the daemon's socket, probably git's own credential-cache"
            hint = "run: git-credential-bitbucket daemon start"
            yield Finding(CHECK, WRONG, cause, hint, Fix("started the daemon in its place", _start))
            return
        if facts is None:
            daemon_launcher.start(env)
            facts = daemon_info.daemon_facts(path) or {}
    except DaemonDisabled as exc:
        yield Finding(CHECK, OK, f"{exc.cause}; requests are answered in-process")
        return
    if facts.get("fault"):
        cause = f"the daemon had an internal error: {facts['fault']}"
        yield Finding(CHECK, WRONG, cause, "please report it; to restart it: git-credential-bitbucket daemon stop")
    if facts.get("version") != __version__:
        cause = f"the daemon has version {facts.get('version', 'unknown')}, this program {__version__}"
        yield Finding(CHECK, NOTE, cause, "it restarts when idle")
    yield Finding(CHECK, OK, f"{facts.get('version')}, process {facts.get('pid')}, answers")


def _start() -> None:
    daemon_launcher.start(os.environ)
