"""The short form of `python -m tests.fault_injection --calls 1`: a process killed before some of its system calls."""

import shutil

import pytest

from tests.fault_injection import syscalls


def test_killed_between_system_calls_nothing_is_lost_outside_the_window() -> None:
    """A renewal's answer that is in a file, and a store that was acknowledged, are there for the next process."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    try:
        results = syscalls.kill(every=17)
    except syscalls.NotTraced as exc:
        pytest.skip(f"no process may be traced here: {exc}")
    assert results.wrong == []
    assert results.kills > 10
    assert results.lost <= results.in_window
