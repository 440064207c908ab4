"""files.py: a file is replaced whole or not at all, nothing but a file is written to, and what is written lasts."""

import errno
import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from git_credential_bitbucket import files
from git_credential_bitbucket.errors import Error, InsecurePath
from tests.vault import peers

KINDS = ["link", "link to a file", "fifo", "socket", "folder", "device"]


def test_a_folder_that_cannot_be_synced_is_no_failure() -> None:
    """Linux's procfs is such a file system, as SMB and some FUSE are; the sync itself says so."""
    descriptor = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
    try:
        with pytest.raises(OSError, match="Invalid argument") as caught:
            os.fsync(descriptor)
    except pytest.fail.Exception:
        pytest.skip("there is no directory that cannot be synced: this procfs can be")
    finally:
        os.close(descriptor)
    assert caught.value.errno == errno.EINVAL
    files.sync_directory("/proc")


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    """Only the lack of the operation is let pass."""
    files.sync_directory(str(tmp_path))
    with pytest.raises(FileNotFoundError):
        files.sync_directory(str(tmp_path / "missing"))


def something_else(path: Path, kind: str) -> None:
    """Put what is no regular file at `path`."""
    if kind == "link":
        path.symlink_to(path.parent / "nowhere")
    elif kind == "link to a file":
        (path.parent / "target").write_bytes(b"theirs")
        path.symlink_to(path.parent / "target")
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(str(path))
    elif kind == "folder":
        path.mkdir()
    elif os.geteuid() == 0:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))  # as /dev/null
    else:
        pytest.skip("only root makes a device")


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_regular_file_is_neither_replaced_nor_written_to(tmp_path: Path, kind: str) -> None:
    """At once, with a way out, and nothing is changed: a device that was replaced would be a file for everybody."""
    path = tmp_path / "it"
    something_else(path, kind)
    before = path.lstat()
    there = sorted(os.listdir(tmp_path))
    for attempt in (
        lambda: files.replace(str(path), b"ours"),
        lambda: files.open_regular(str(path), os.O_WRONLY | os.O_APPEND | os.O_CREAT),
        lambda: files.open_private(str(path), os.O_RDONLY),
    ):
        with pytest.raises(InsecurePath, match="it is not a plain file") as refused:
            attempt()
        assert refused.value.hint
    with pytest.raises(FileExistsError):
        files.create(str(path), b"ours")
    assert (path.lstat().st_ino, path.lstat().st_mode) == (before.st_ino, before.st_mode)
    assert sorted(os.listdir(tmp_path)) == there
    if kind == "link to a file":
        assert path.read_bytes() == b"theirs"


def test_a_replaced_file_keeps_its_mode_and_a_new_one_is_born_private(tmp_path: Path) -> None:
    """Or has the mode that the umask gives, for a file that others are to read."""
    path, shared = tmp_path / "it", tmp_path / "shared"
    old = os.umask(0o027)
    try:
        files.replace(str(path), b"one")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        path.chmod(0o640)
        files.replace(str(path), b"two")
        assert (stat.S_IMODE(path.stat().st_mode), path.read_bytes()) == (0o640, b"two")
        files.replace(str(shared), b"one", mode=None)
        assert stat.S_IMODE(shared.stat().st_mode) == 0o640
    finally:
        os.umask(old)
    assert sorted(os.listdir(tmp_path)) == ["it", "shared"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_root_leaves_a_replaced_file_to_its_owner(tmp_path: Path) -> None:
    """Else the user could not write to it any more."""
    path = tmp_path / "it"
    path.write_bytes(b"one")
    os.chown(path, 65534, 65534)
    files.replace(str(path), b"two")
    assert (path.stat().st_uid, path.stat().st_gid, path.read_bytes()) == (65534, 65534, b"two")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_in_the_middle_leaves_a_whole_file_and_nothing_beside_it(tmp_path: Path, number: int) -> None:
    """It ends the process, once the file is whole."""
    path = tmp_path / "it"
    path.write_bytes(b"old")
    code = (
        "import os, signal, sys; from git_credential_bitbucket import files\n"
        "number = int(sys.argv[2]); signal.signal(number, signal.SIG_DFL)\n"
        "files.replace(sys.argv[1], b'new', check=lambda: os.kill(os.getpid(), number))\n"
        "print('it goes on')"
    )
    done = subprocess.run([sys.executable, "-c", code, path, str(int(number))], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (-number, b"")
    assert os.listdir(tmp_path) == ["it"]
    assert path.read_bytes() == b"new"


def test_what_cannot_be_finished_leaves_all_as_it_was(home: Path) -> None:
    """An error of the caller's, and a full disk: the old content stays, and nothing beside it."""
    with peers.mounted(home / "small", "size=64k") as small:
        path = small / "it"
        path.write_bytes(b"old")
        with pytest.raises(ValueError, match="changed meanwhile"):
            files.replace(str(path), b"new", check=lambda: raising(ValueError("changed meanwhile")))
        with pytest.raises(Error, match="it cannot be written: no space left on device") as refused:
            files.replace(str(path), bytes(1 << 17))
        assert refused.value.hint == "free some space on that disk"
        with pytest.raises(Error, match="no space left"):
            files.create(str(small / "another"), bytes(1 << 17))
        assert os.listdir(small) == ["it"]
        assert path.read_bytes() == b"old"


def raising(exc: Exception) -> None:
    """Raise it."""
    raise exc


def test_a_file_beside_is_a_lock(tmp_path: Path) -> None:
    """As git's `FILE.lock`: where it is, somebody else is writing."""
    (tmp_path / "it.lock").touch()
    with pytest.raises(FileExistsError):
        files.replace(str(tmp_path / "it"), b"new", beside=str(tmp_path / "it.lock"))
    assert os.listdir(tmp_path) == ["it.lock"]


@pytest.mark.parametrize("kind", KINDS)
def test_only_a_regular_file_is_read(tmp_path: Path, kind: str) -> None:
    """At once: a pipe is not waited for, a device never ends. A link is followed where that is asked for."""
    path = tmp_path / "it"
    something_else(path, kind)
    if kind in ("link", "link to a file", "socket"):
        with pytest.raises(OSError):  # noqa: PT011 - ELOOP or ENXIO
            files.read(str(path), 100)
    else:
        assert files.read(str(path), 100) == b""
    if kind == "link to a file":
        assert files.read(str(path), 100, follow=True) == b"theirs"
        assert files.read(str(path), 5, follow=True) is None
