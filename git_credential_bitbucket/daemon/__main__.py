"""The start of the daemon: it is hardened before it reads a secret, and serves in a fork.

`… daemon [--detached] [--memory] [--until-eof FD] [--listen-fd FD] [--control-fd FD] [--guests-fd FD]
[--grant-ID FD …] [--handover-fd FD] [--predecessor NAME]`, or `--check`. Standard input is one JSON document,
`{"env": {…}}`: the starter's environment; this way the vault's key is not in /proc/PID/environ. Standard output gets
`ready`, or `error=` and `hint=`, and is closed.
"""

from __future__ import annotations

import gc
import os
import sys

from git_credential_bitbucket.daemon import hardening, supervisor
from git_credential_bitbucket.errors import Error, SettingsError

TYPE_CHECKING = False  # typing's own costs as much as all that is imported here, before the fork that copies it
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_FLAGS = frozenset({"--check", "--detached", "--memory"})
_WITH_DESCRIPTOR = ("--until-eof", "--handover-fd", "--listen-fd", "--control-fd", "--guests-fd")
_LISTEN_DESCRIPTOR = 3  # SD_LISTEN_FDS_START, sd_listen_fds(3)


def main(argv: Sequence[str], step: Callable[[str], None] = lambda _: None) -> int:
    """Run the daemon with the arguments after `daemon`; returns the exit code once it has stopped.

    `step` is called with the named points of a renewal and of a vault's write, at which tests kill the daemon.
    """
    gc.disable()  # until it is ready: nothing of what is imported is garbage, and to look for some takes 2 ms
    try:
        options = _options(argv)
        if "--check" in options:
            return _check()
        descriptors = {name: int(options[name]) for name in options if _has_descriptor(name)}
        activated = _activated()
        if activated is not None:
            descriptors.setdefault("--listen-fd", activated)
        hardening.harden(descriptors.values())
        descriptors |= supervisor.separate(detached="--detached" in options)
        from git_credential_bitbucket.daemon import process  # lazy: a fork copies what was imported before it

        process.serve(argv, options, descriptors, step)
    except Error as exc:
        supervisor.report(f"error={exc.cause}\n" + (f"hint={exc.hint}\n" if exc.hint else ""))
        return 1
    # Not by `return`: a job that hangs would keep the interpreter from ending.
    os._exit(0)


def _activated() -> int | None:
    """The descriptor that systemd passes (sd_listen_fds(3)); None where it passes none."""
    count, pid = os.environ.pop("LISTEN_FDS", ""), os.environ.pop("LISTEN_PID", "")
    return _LISTEN_DESCRIPTOR if pid == str(os.getpid()) and count == "1" else None


def _options(argv: Sequence[str]) -> dict[str, str]:
    """The arguments by name. Raises `SettingsError` for an unknown one."""
    options: dict[str, str] = {}
    left = list(argv)
    while left:
        name = left.pop(0)
        if name in _FLAGS:
            options[name] = ""
        elif left and (name == "--predecessor" or (_has_descriptor(name) and left[0].isascii() and left[0].isdigit())):
            options[name] = left.pop(0)
        else:
            raise SettingsError("unknown argument of the daemon", hint="see: man git-credential-bitbucket")
    return options


def _has_descriptor(name: str) -> bool:
    return name in _WITH_DESCRIPTOR or name.startswith("--grant-")


def _check() -> int:
    """Import all that an answer may need, to see that the installed package can be started; returns the exit code."""
    import cryptography.hazmat.primitives.ciphers.aead

    from git_credential_bitbucket import __version__
    from git_credential_bitbucket.agent import control_actions, from_environment
    from git_credential_bitbucket.bitbucket import oauth
    from git_credential_bitbucket.daemon import configured_hosts, grant_sockets, process, request_handler, server

    del cryptography, control_actions, from_environment, oauth
    del configured_hosts, grant_sockets, process, request_handler, server
    supervisor.report(f"version={__version__}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
