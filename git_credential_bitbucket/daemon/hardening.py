"""What the process gives up before it holds a secret: the work tree, inherited descriptors, core dumps, being traced.

What it cannot protect against: root, and whoever changes the program before it has run. Imports processes and errors.
"""

import os
import resource
import signal
from collections.abc import Iterable

from git_credential_bitbucket import processes
from git_credential_bitbucket.errors import SettingsError

OPEN_FILES = 4096
"""Descriptors asked of the system: `MAX_CLIENTS` connections and room to work; fewer where the hard limit says so."""


def harden(keep: Iterable[int] = ()) -> None:
    """Close every descriptor but 0 to 2 and `keep`, leave the directory git started us in, refuse dumps and tracing."""
    os.chdir("/")  # the directory was a work tree: somebody else's content, and a mount that could not be unmounted
    os.umask(0o077)
    close_inherited(keep)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    raise_open_files()
    processes.forbid_tracing()
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # a starter hands down what it blocks and ignores
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # or our children would seem to have ended well, always
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the terminal closes; whoever works in the next one still needs us


def close_inherited(keep: Iterable[int]) -> None:
    """Close what the starter left open: git waits for the end of a pipe for as long as anybody holds it."""
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
    """Ask for `OPEN_FILES` descriptors, as far as the hard limit lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def check_untraced() -> None:
    """Raise `SettingsError` where a debugger is attached: it would see whatever comes into this process's memory."""
    try:
        with open("/proc/self/status", "rb") as file:
            tracer = next((line.split()[1] for line in file if line.startswith(b"TracerPid:")), b"0")
    except OSError:  # there is no /proc
        return
    if tracer != b"0":
        raise SettingsError(
            f"process {tracer.decode()} traces the daemon and could read every secret",
            hint="without a debugger, run: git-credential-bitbucket daemon start",
        )


def null_descriptors(descriptors: Iterable[int]) -> None:
    """Put /dev/null in the place of `descriptors`: their pipes end, and nothing else takes their numbers."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in descriptors:
        os.dup2(null, descriptor)
    if null not in descriptors:
        os.close(null)
