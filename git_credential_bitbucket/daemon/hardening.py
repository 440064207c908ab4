"""Hardening before the process holds a secret: no work tree, inherited descriptors, core dumps or tracing.

It does not protect against root, nor against a change of the program. Imports processes and errors.
"""

import os
import resource
import signal
from collections.abc import Iterable

from git_credential_bitbucket import processes
from git_credential_bitbucket.errors import SettingsError

OPEN_FILES = 4096
"""Open files that are requested: `MAX_CLIENTS` connections and some more; fewer where the hard limit is lower."""


def harden(keep: Iterable[int] = ()) -> None:
    """Close all descriptors but 0 to 2 and `keep`, leave git's work tree, forbid core dumps and tracing."""
    os.chdir("/")  # the directory was a work tree: untrusted, and perhaps on a mount that must be unmounted
    os.umask(0o077)
    close_inherited(keep)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    raise_open_files()
    processes.forbid_tracing()
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # inherited from the starter
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # where it is ignored, exit codes of children are lost
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the daemon outlives the terminal


def close_inherited(keep: Iterable[int]) -> None:
    """Close inherited descriptors: git waits for the end of its pipes."""
    start = 3
    for descriptor in sorted(set(keep)):
        os.closerange(start, descriptor)
        start = max(start, descriptor + 1)
    os.closerange(start, max(open_files_limit(), start))


def open_files_limit() -> int:
    """The number of descriptors this process may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft if soft != resource.RLIM_INFINITY else 1 << 20


def raise_open_files() -> None:
    """Ask for `OPEN_FILES` descriptors, as far as the hard limit allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def check_untraced() -> None:
    """Raise `SettingsError` where a debugger is attached, which can read this process's memory."""
    try:
        with open("/proc/self/status", "rb") as file:
            tracer = next((line.split()[1] for line in file if line.startswith(b"TracerPid:")), b"0")
    except OSError:  # there is no /proc
        return
    if tracer != b"0":
        hint = "without a debugger, run: git-credential-bitbucket daemon start"
        raise SettingsError(f"process {tracer.decode()} traces the daemon and could read every secret", hint=hint)


def null_descriptors(descriptors: Iterable[int]) -> None:
    """Replace `descriptors` by /dev/null: their pipes end, and their numbers are not reused."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in descriptors:
        os.dup2(null, descriptor)
    if null not in descriptors:
        os.close(null)
