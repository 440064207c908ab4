"""The access log's file: private, bounded, and never in anybody's way."""

import fcntl
import os
import threading
import time
from pathlib import Path

import pytest

from git_credential_bitbucket import access_log
from git_credential_bitbucket.errors import InsecurePath, SettingsError


@pytest.fixture
def path(tmp_path: Path) -> str:
    """The log's path, in a directory that is not there yet."""
    return str(tmp_path / "data" / "log.jsonl")


def operations(path: str) -> list[object]:
    """What was written, in order."""
    return [entry["operation"] for entry in access_log.read(path)]


def test_off_unless_switched_on(tmp_path: Path) -> None:
    """Nothing, `off` and the like write nothing; `on` writes beside the vault; a path is taken as it is."""
    assert access_log.log_path({}) is None
    assert access_log.log_path({access_log.SETTING: "off"}) is None
    on = access_log.log_path({access_log.SETTING: "on", "HOME": str(tmp_path), "XDG_DATA_HOME": f"{tmp_path}/data"})
    assert on == f"{tmp_path}/data/git-credential-bitbucket/log.jsonl"
    assert access_log.log_path({access_log.SETTING: "/var/log/me.jsonl"}) == "/var/log/me.jsonl"
    with pytest.raises(SettingsError):
        access_log.log_path({access_log.SETTING: "log.jsonl"})


def test_file_and_directory_are_born_private(path: str) -> None:
    """0600 in a directory of 0700, whatever the umask."""
    old = os.umask(0)
    try:
        access_log.write(path, {"operation": "get"})
    finally:
        os.umask(old)
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert os.stat(os.path.dirname(path)).st_mode & 0o777 == 0o700


def test_it_is_rotated_and_bounded(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four files at most, the oldest lines go, and reading gives the rest in order."""
    monkeypatch.setattr(access_log, "MAX_BYTES", 200)
    for nth in range(100):
        access_log.write(path, {"operation": nth})
    left = operations(path)
    assert left == list(range(100))[-len(left) :]
    assert 20 < len(left) < 60
    assert len(os.listdir(os.path.dirname(path))) == access_log.MAX_FILES
    assert all(entry.stat().st_size <= 200 for entry in Path(path).parent.iterdir())


def test_events_are_kept_for_two_years_and_no_longer(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Older ones go, out of rotated files as well; whoever writes beside goes on in the new file."""
    monkeypatch.setattr(access_log, "MAX_BYTES", 200)
    years = ("2001-01-01", "2002-01-01", "2003-06-01", "2003-07-01", "2003-08-01")
    for nth, day in enumerate(years):
        access_log.write(path, {"time": f"{day}T00:00:00.000Z", "operation": nth, "pad": "x" * 60})
    now = access_log.time_of({"time": "2004-01-01T00:00:00.000Z"})
    monkeypatch.setattr(time, "time", lambda: now)
    access_log.write(path, {"time": "2004-01-01T00:00:00.000Z", "operation": 5}, access_log.EVENT_RETENTION_S)
    access_log.write(path, {"time": "2004-01-02T00:00:00.000Z", "operation": 6}, access_log.EVENT_RETENTION_S)
    assert operations(path) == [2, 3, 4, 5, 6]
    assert {entry.stat().st_mode & 0o777 for entry in Path(path).parent.iterdir()} == {0o600}


def test_a_line_longer_than_a_file_is_written_once_and_turns_nothing_else_out(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks decides how long a place is; no rotation would ever make room for it."""
    monkeypatch.setattr(access_log, "MAX_BYTES", 200)
    for nth in range(3):
        access_log.write(path, {"operation": nth})
    access_log.write(path, {"operation": "x" * 1000})
    access_log.write(path, {"operation": 3})
    assert operations(path) == [0, 1, 2, "x" * 1000, 3]


def test_a_file_that_was_rotated_while_it_was_waited_for_is_opened_anew(path: str) -> None:
    """Else a line would be written into an old generation, after those of the new one."""
    access_log.write(path, {"operation": 1})
    with open(path, "ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        writer = threading.Thread(target=access_log.write, args=(path, {"operation": 3}))
        writer.start()
        with open("/proc/locks") as locks:  # until it waits for the lock
            while not any(" -> " in line and f":{os.fstat(held.fileno()).st_ino} " in line for line in locks):
                locks.seek(0)
        os.rename(path, f"{path}.1")
        access_log.write(path, {"operation": 2})
    writer.join()
    assert operations(path) == [1, 2, 3]


def test_writers_at_once_lose_no_line(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two daemons and a rotation between them: each line is whole, and there."""
    monkeypatch.setattr(access_log, "MAX_BYTES", 20_000)

    def work(name: int) -> None:
        for nth in range(200):
            access_log.write(path, {"operation": [name, nth]})

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, operations(path))) == sorted(str([name, nth]) for name in range(4) for nth in range(200))


@pytest.mark.parametrize("kind", ["link", "fifo", "open"])
def test_what_is_no_private_file_is_not_written_to(path: str, tmp_path: Path, kind: str) -> None:
    """A link, a FIFO and a file that others may read are refused at once, without waiting."""
    os.mkdir(os.path.dirname(path), 0o700)
    target = tmp_path / "target"
    target.write_bytes(b"")
    if kind == "link":
        os.symlink(target, path)
    elif kind == "fifo":
        os.mkfifo(path, 0o600)
    else:
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o644))
        os.chmod(path, 0o644)
    with pytest.raises(InsecurePath):
        access_log.write(path, {"operation": "get"})
    assert target.read_bytes() == b""


def test_a_line_that_was_cut_is_skipped(path: str) -> None:
    """A full disk takes half a line; the others are read all the same."""
    access_log.write(path, {"operation": 1})
    with open(path, "ab") as file:
        file.write(b'{"operation": 2\n[3]\n')
    access_log.write(path, {"operation": 4})
    assert operations(path) == [1, 4]


def test_what_was_lost_is_counted(path: str) -> None:
    """While the log cannot be written nobody waits; the next line that can says how many are missing."""
    folder = Path(path).parent
    folder.write_bytes(b"in the way")
    log = access_log.AccessLog(path)
    for _ in range(3):
        log.note({"operation": "lost"})
    log.close()
    folder.unlink()
    log.note({"operation": "get"})
    log.close()
    (entry,) = access_log.read(path)
    assert (entry["operation"], entry["lost_before"]) == ("get", 3)
    log.note({"operation": "get"})
    log.close()
    assert "lost_before" not in list(access_log.read(path))[1]
