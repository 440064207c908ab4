"""The lock: one writer at a time, a wait that ends, and no way round it."""

import os
import subprocess
import threading

import pytest

from git_credential_bitbucket.errors import VaultBusy
from git_credential_bitbucket.vault import lock
from git_credential_bitbucket.vault.storage.file import FileStorage
from tests.vault import peers

HOLD = """
import sys
from git_credential_bitbucket.vault.storage.file import FileStorage
with FileStorage(sys.argv[1]).lock():
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_waiting_for_another_process_ends(path: str) -> None:
    """A client that does not let go is an error after the bounded wait, and the hint finds it."""
    with peers.running(HOLD, path) as client:
        assert peers.line_of(client) == "held"
        with pytest.raises(VaultBusy) as caught, FileStorage(path, lock_timeout_s=0.05).lock():
            pass
        assert f"fuser {path}.lock" in str(caught.value.hint)


def test_a_killed_holder_holds_nothing(path: str) -> None:
    """The kernel gives the lock back when its client is killed."""
    with peers.running(HOLD, path) as client:
        assert peers.line_of(client) == "held"
        client.kill()
        client.wait()
        with FileStorage(path, lock_timeout_s=0.05).lock():
            pass


def test_threads_exclude_each_other(path: str) -> None:
    """Two threads with the same place, and two with places of their own, take turns."""
    for places in ([FileStorage(path)] * 4, [FileStorage(path) for _ in range(4)]):
        inside: list[int] = []
        most: list[int] = []

        def use(place: FileStorage, inside: list[int] = inside, most: list[int] = most) -> None:
            for _ in range(20):
                with place.lock():
                    inside.append(1)
                    most.append(len(inside))
                    inside.pop()

        threads = [threading.Thread(target=use, args=(place,)) for place in places]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert most == [1] * 80


def test_nesting_is_an_error_and_not_a_deadlock(path: str) -> None:
    """The same thread taking the lock inside itself is told at once; the outer one still holds and then lets go."""
    place = FileStorage(path)
    with place.lock():
        with pytest.raises(RuntimeError, match="inside another"), place.lock():
            pass
        with pytest.raises(VaultBusy), FileStorage(path, lock_timeout_s=0.01).lock():
            pass
    with place.lock():
        pass


def test_an_error_inside_gives_the_lock_back(path: str) -> None:
    place = FileStorage(path, lock_timeout_s=0.05)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), place.lock():
            raise ZeroDivisionError


def test_removing_the_lock_file_does_not_let_two_in(path: str) -> None:
    """Who waits on a file that was removed and made anew waits for the new one's client."""
    with peers.running(HOLD, path) as first:
        assert peers.line_of(first) == "held"
        entered = threading.Event()
        leave = threading.Event()

        def wait_and_hold() -> None:
            with FileStorage(path).lock():
                entered.set()
                leave.wait(60)

        waiting = threading.Thread(target=wait_and_hold)
        waiting.start()
        os.unlink(f"{path}.lock")
        assert entered.wait(60)  # nobody holds what lies there now
        with pytest.raises(VaultBusy), FileStorage(path, lock_timeout_s=0.05).lock():
            pass
        leave.set()
        waiting.join()


def test_a_lock_on_a_file_just_removed_does_not_count(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Removed in the moment it is taken, the file is made anew and that one is locked."""
    take = lock._try_flock
    left = [path]

    def take_and_remove(fd: int) -> bool:
        taken = take(fd)
        if left:
            os.unlink(f"{left.pop()}.lock")
        return taken

    monkeypatch.setattr(lock, "_try_flock", take_and_remove)
    with FileStorage(path).lock():
        assert not left
        with pytest.raises(VaultBusy), FileStorage(path, lock_timeout_s=0.01).lock():
            pass


def test_the_lock_is_not_inherited(path: str) -> None:
    """Programs started under the lock, even with every descriptor passed on, do not get the lock's."""
    with FileStorage(path).lock():
        listing = subprocess.run(
            ["ls", "-l", "/proc/self/fd"], close_fds=False, capture_output=True, text=True, check=True
        )
    assert "/proc" in listing.stdout
    assert "vault.lock" not in listing.stdout
