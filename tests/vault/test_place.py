"""The vault's file: private from birth, whole at every moment, and clear about what stands in its way."""

import errno
import os
import shlex
import stat
import subprocess
import time
from pathlib import Path

import pytest

from git_credential_bitbucket import paths
from git_credential_bitbucket.errors import PlaceRefused, VaultUnreadable, VaultUnwritable
from git_credential_bitbucket.vault import disk
from git_credential_bitbucket.vault.place import FilePlace
from tests.vault import peers


@pytest.fixture
def place(tmp_path: Path) -> FilePlace:
    """A place whose directory is still to be made."""
    return FilePlace(str(tmp_path / "gcb" / "vault"))


def write(place: FilePlace, blob: bytes) -> None:
    """One write under the lock."""
    with place.lock():
        place.write(blob)


def names(place: FilePlace) -> set[str]:
    """What lies in the vault's directory."""
    return set(os.listdir(os.path.dirname(place.path)))


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_everything_is_born_private(place: FilePlace, umask: int) -> None:
    """Whatever the umask, files have 0600 and the directory 0700."""
    before = os.umask(umask)
    try:
        os.mkdir(os.path.dirname(place.path), 0o700)
        os.chmod(os.path.dirname(place.path), 0o700)
        write(place, b"one")
        write(place, b"two")
    finally:
        os.umask(before)
    files = [place.path + name for name in ("", ".previous", ".lock")]
    assert [stat.S_IMODE(os.stat(path).st_mode) for path in files] == [0o600] * 3


def test_the_directory_is_made_private(place: FilePlace) -> None:
    """The directory that the first write makes is closed to others."""
    write(place, b"one")
    assert stat.S_IMODE(os.stat(os.path.dirname(place.path)).st_mode) == 0o700


def test_the_generation_before_is_kept(place: FilePlace) -> None:
    """After a write, what was there before is the previous generation, and nothing else lies about."""
    for blob in (b"one", b"two", b"three"):
        write(place, blob)
    held = place.read()
    assert held is not None
    assert (held[1], place.previous()) == (b"three", b"two")
    assert names(place) == {"vault", "vault.previous", "vault.lock"}


def test_remains_of_killed_writes_go_with_the_next(place: FilePlace) -> None:
    """Half a write, a link half made, and two names of one file are cleared up by the next write."""
    write(place, b"one")
    for name in ("new", "link"):
        Path(f"{place.path}.{name}").write_bytes(b"half")
    os.link(place.path, f"{place.path}.previous")
    write(place, b"two")
    assert names(place) == {"vault", "vault.previous", "vault.lock"}
    assert place.previous() == b"one"


def test_every_write_has_a_stamp_of_its_own(place: FilePlace) -> None:
    """Stamps carry the clock to the nanosecond: the kernel's tick is 4 ms, and inode numbers come back."""
    stamps = set()
    with place.lock():
        for _ in range(50):
            began = time.time_ns()
            place.write(b"same size")
            stamp = place.stamp()
            assert stamp is not None
            assert began <= stamp[2] <= time.time_ns()
            stamps.add(stamp)
    assert len(stamps) == 50


@pytest.mark.parametrize("name", ["", ".lock"])
def test_a_link_is_refused(place: FilePlace, tmp_path: Path, name: str) -> None:
    """A symbolic link in the place of vault or lock is refused, and what it points to is not touched."""
    write(place, b"one")
    target = tmp_path / "target"
    target.write_bytes(b"somebody's")
    os.unlink(place.path + name)
    os.symlink(target, place.path + name)
    with pytest.raises(PlaceRefused, match="not a plain file"):
        _use(place)
    assert target.read_bytes() == b"somebody's"


def test_links_for_the_write_s_own_files_are_not_followed(place: FilePlace, tmp_path: Path) -> None:
    """A link waiting under the name of the new file is replaced; its target is neither written nor kept."""
    write(place, b"one")
    target = tmp_path / "target"
    target.write_bytes(b"somebody's")
    for name in ("new", "link", "previous"):
        os.symlink(target, f"{place.path}.{name}")
    write(place, b"two")
    assert target.read_bytes() == b"somebody's"
    assert place.previous() == b"one"


@pytest.mark.parametrize("name", ["", ".lock"])
@pytest.mark.parametrize("kind", ["fifo", "directory"])
def test_what_is_no_file_is_refused_without_waiting(place: FilePlace, name: str, kind: str) -> None:
    """A FIFO or a directory there is refused at once; opening a FIFO must not wait for its other end."""
    write(place, b"one")
    os.unlink(place.path + name)
    if kind == "fifo":
        os.mkfifo(place.path + name, 0o600)
    else:
        os.mkdir(place.path + name, 0o700)
    with pytest.raises(PlaceRefused):
        _use(place)


@pytest.mark.parametrize("name", ["", ".lock", "directory"])
def test_a_loose_mode_is_refused_with_the_cure(tmp_path: Path, name: str) -> None:
    """What others can read is refused; typing the hint mends it."""
    place = FilePlace(str(tmp_path / paths.NAME / "vault"))
    write(place, b"one")
    path = os.path.dirname(place.path) if name == "directory" else place.path + name
    os.chmod(path, os.stat(path).st_mode | 0o044)
    with pytest.raises(PlaceRefused) as caught:
        _use(place)
    assert caught.value.hint is not None
    subprocess.run(shlex.split(caught.value.hint.removeprefix("type: ")), check=True)
    _use(place)


@pytest.mark.parametrize("name", ["", ".lock", "directory"])
def test_what_belongs_to_another_is_refused(place: FilePlace, name: str) -> None:
    """A vault, lock or directory of another user is refused, also by root, who could read it."""
    if os.geteuid() != 0:
        pytest.skip("giving a file away takes root")
    write(place, b"one")
    path = os.path.dirname(place.path) if name == "directory" else place.path + name
    os.chown(path, peers.NOBODY, peers.NOBODY)
    with pytest.raises(PlaceRefused, match="another user"):
        _use(place)


def test_an_unprivileged_user_is_told_what_is_in_the_way(home: Path) -> None:
    """Another user's private directory and a directory without write permission are told as they are, and kept."""
    home.chmod(0o711)
    closed = home / "closed"
    closed.mkdir(mode=0o700)
    mine = home / "mine"
    mine.mkdir(mode=0o500)
    os.chown(mine, peers.NOBODY, peers.NOBODY)
    told = peers.as_nobody(
        """
for path in sys.argv[1:]:
    try:
        with FilePlace(path).lock(): print("locked")
    except Error as exc: print(type(exc).__name__, exc.cause, "|", exc.hint)
""",
        closed / "vault",
        mine / "vault",
    )
    assert "PlaceRefused" in told[0]
    assert "belongs to another user" in told[0]
    assert "VaultUnwritable" in told[1]
    assert "permission denied" in told[1]
    assert not os.listdir(mine)


def test_a_full_disk_loses_nothing(home: Path) -> None:
    """With no space left a write fails by name, the old generation stays, and after making room it goes through."""
    with peers.mounted(home / "small", "size=256k") as small:
        place = FilePlace(str(small / "vault"))
        write(place, b"one")
        filler = small / "filler"
        _fill(filler)
        with pytest.raises(VaultUnwritable, match="no space left") as caught:
            write(place, os.urandom(100_000))
        assert "free some space" in str(caught.value.hint)
        held = place.read()
        assert held is not None
        assert held[1] == b"one"
        assert "vault.new" not in names(place)
        filler.unlink()
        write(place, b"two")
        assert place.previous() == b"one"


def test_space_can_be_reserved_before_the_point_of_no_return(home: Path) -> None:
    """A full disk shows at `reserve`; once reserved, the write succeeds however full the disk gets meanwhile."""
    with peers.mounted(home / "small", "size=256k") as small:
        place = FilePlace(str(small / "vault"))
        write(place, b"one")
        filler = small / "filler"
        with place.lock():
            place.reserve(40_000)
            _fill(filler)
            place.write(b"x" * 40_000)
        assert place.previous() == b"one"
        _fill(filler)
        with place.lock(), pytest.raises(VaultUnwritable, match="no space left"):
            place.reserve(100_000)
        assert "vault.new" not in names(place)


def test_a_reserve_that_was_not_used_is_given_back(place: FilePlace) -> None:
    """With the lock goes the reserved space."""
    with place.lock():
        place.reserve(1000)
        assert "vault.new" in names(place)
    assert names(place) == {"vault.lock"}


def test_a_read_only_disk_can_be_read(home: Path) -> None:
    """On a read-only mount reading goes on, and writing names the cause."""
    with peers.mounted(home / "disk", "size=256k") as folder:
        place = FilePlace(str(folder / "vault"))
        write(place, b"one")
        with peers.read_only(folder):
            held = place.read()
            assert held is not None
            assert held[1] == b"one"
            with pytest.raises(VaultUnwritable, match="read-only") as caught:
                write(place, b"two")
            assert "GIT_CREDENTIAL_BITBUCKET_VAULT" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("limit", "said"),
    [("RLIMIT_FSIZE, (1000, 1000)", "file too large"), ("RLIMIT_NOFILE, (3, 3)", "too many open files")],
)
def test_a_process_s_limits_are_named(home: Path, limit: str, said: str) -> None:
    """The limits on file size and open files are errors with a cure, not tracebacks, and leave the vault alone."""
    place = FilePlace(str(home / "gcb" / "vault"))
    write(place, b"one")
    told = peers.python(
        f"""
import resource, sys
from git_credential_bitbucket.errors import Error
from git_credential_bitbucket.vault.place import FilePlace
place = FilePlace(sys.argv[1])
resource.setrlimit(resource.{limit})
try:
    with place.lock(): place.write(bytes(100_000))
except Error as exc: print(type(exc).__name__, exc.cause, exc.hint)
""",
        place.path,
    )
    assert told[0].startswith("VaultUnwritable")
    assert said in told[0]
    assert "ulimit" in told[0]
    held = place.read()
    assert held is not None
    assert held[1] == b"one"


def test_trouble_with_reading_is_no_verdict(place: FilePlace, monkeypatch: pytest.MonkeyPatch) -> None:
    """An input/output error is told as such and moves nothing. A broken disk cannot be had: `read` is made to fail."""
    write(place, b"one")

    def failing(_fd: int, _limit: int) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(disk, "read_all", failing)
    with pytest.raises(VaultUnreadable, match="input/output error"):
        place.read()
    assert names(place) == {"vault", "vault.lock"}


def test_a_disk_without_hard_links_has_the_previous_generation_too(
    place: FilePlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where links are refused, as on FAT, a copy is kept. No such disk is at hand: `link` is made to fail."""
    write(place, b"one")
    monkeypatch.setattr(os, "link", _refused)
    write(place, b"two")
    write(place, b"three")
    assert place.previous() == b"two"
    assert names(place) == {"vault", "vault.previous", "vault.lock"}


def test_without_hard_links_the_room_for_the_copy_is_reserved_too(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However full the disk gets after `reserve`, the new generation is written and the one before is kept."""
    monkeypatch.setattr(os, "link", _refused)
    with peers.mounted(home / "small", "size=256k") as small:
        place = FilePlace(str(small / "vault"))
        write(place, b"1" * 50_000)
        with place.lock():
            place.reserve(60_000)
            _fill(small / "filler")
            place.write(b"2" * 60_000)
        held = place.read()
        assert held is not None
        assert held[1] == b"2" * 60_000
        assert place.previous() == b"1" * 50_000
        assert names(place) == {"vault", "vault.previous", "vault.lock", "filler"}


def test_without_hard_links_no_room_for_the_copy_shows_at_reserve(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Room for the new generation alone is not enough, and nothing half made is left."""
    monkeypatch.setattr(os, "link", _refused)
    with peers.mounted(home / "small", "size=256k") as small:
        place = FilePlace(str(small / "vault"))
        write(place, b"1" * 100_000)
        with place.lock(), pytest.raises(VaultUnwritable, match="no space left"):
            place.reserve(100_000)
        assert names(place) == {"vault", "vault.lock"}


@pytest.mark.parametrize(("size", "kept"), [(60_000, True), (100_000, False)])
def test_a_new_generation_is_not_given_up_for_the_copy_of_the_old_one(
    home: Path, monkeypatch: pytest.MonkeyPatch, size: int, *, kept: bool
) -> None:
    """Nothing reserved, no hard links, no room for a copy: at the cost of what was kept before, or without a copy."""
    monkeypatch.setattr(os, "link", _refused)
    with peers.mounted(home / "small", "size=256k") as small:
        place = FilePlace(str(small / "vault"))
        write(place, b"0" * size)
        write(place, b"1" * size)
        if kept:
            (small / "filler").write_bytes(bytes(40_000))
        write(place, b"2" * size)
        held = place.read()
        assert held is not None
        assert held[1] == b"2" * size
        assert place.previous() == (b"1" * size if kept else None)
        assert names(place) - {"filler", "vault.previous"} == {"vault", "vault.lock"}


def test_what_is_whole_on_the_disk_outlives_a_failed_rename(place: FilePlace, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may hold the only refresh token that works: the next writer finds it. `rename` is made to fail."""
    write(place, b"one")
    with monkeypatch.context() as broken:
        broken.setattr(os, "rename", _refused)
        with pytest.raises(VaultUnwritable):
            write(place, b"two")
    assert names(place) == {"vault", "vault.new", "vault.lock"}
    with place.lock():
        assert place.unfinished() == b"two"
        place.finish(keep_previous=True)
    held = place.read()
    assert held is not None
    assert held[1] == b"two"
    assert place.previous() == b"one"
    assert names(place) == {"vault", "vault.previous", "vault.lock"}


def test_what_is_acknowledged_is_on_the_disk_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole file is synced before its rename, the directory after it; one found unfinished, and a copy, as well."""
    events: list[object] = []
    sync = os.fsync

    def recorded(fd: int) -> None:
        found = os.fstat(fd)
        events.append((found.st_ino, None if stat.S_ISDIR(found.st_mode) else found.st_size))
        sync(fd)

    monkeypatch.setattr(os, "fsync", recorded)
    place = FilePlace(str(tmp_path / "gcb" / "vault"), step=events.append)
    write(place, b"one")
    folder = (os.stat(os.path.dirname(place.path)).st_ino, None)
    file = os.stat(place.path).st_ino
    ended = ["renamed", folder, "dir-synced"]
    assert events == ["tmp-created", "tmp-written", (file, 3), "tmp-synced", "previous-linked", *ended]
    with place.lock():
        os.link(place.path, f"{place.path}.new")
        events.clear()
        place.finish(keep_previous=False)
    assert events == [(file, 3), *ended]
    events.clear()
    monkeypatch.setattr(os, "link", _refused)
    write(place, b"second")
    new, copy = os.stat(place.path).st_ino, os.stat(f"{place.path}.previous").st_ino
    before = ["tmp-created", "tmp-written", (new, 6), "tmp-synced", (copy, 3), "previous-linked"]
    assert events == [*before, *ended]


def test_a_directory_that_cannot_be_synced_is_tolerated(place: FilePlace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Network and FUSE file systems may lack it; other errors count. `fsync` is made to fail for directories."""
    sync = os.fsync
    failure = errno.EINVAL

    def on_files_only(fd: int) -> None:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise OSError(failure, os.strerror(failure))
        sync(fd)

    monkeypatch.setattr(os, "fsync", on_files_only)
    write(place, b"one")
    failure = errno.EIO
    with pytest.raises(VaultUnwritable):
        write(place, b"two")


@pytest.mark.parametrize("name", ["with spaces", "ünï ⛄ cöde", "l" * 200, "$(touch x); 'quoted\"", "tab\there"])
def test_odd_directories_are_fine(tmp_path: Path, name: str) -> None:
    """Spaces, unicode, 200 characters and shell's own characters in the path change nothing."""
    place = FilePlace(str(tmp_path / name / "vault"))
    write(place, b"one")
    write(place, b"two")
    os.chmod(place.path, 0o644)
    with pytest.raises(PlaceRefused) as caught:
        place.read()
    assert not any(ord(character) < 32 for character in f"{caught.value.cause}{caught.value.hint}")
    subprocess.run(["bash", "-c", str(caught.value.hint).removeprefix("type: ")], check=True, cwd=tmp_path)
    assert place.read() is not None


def test_what_is_set_aside_keeps_its_content(tmp_path: Path) -> None:
    """A damaged file gets a name with the time, a second one in that second another, and the current one stays."""
    place = FilePlace(str(tmp_path / "gcb" / "vault"), clock=lambda: 1_800_000_000.0)
    write(place, b"one")
    with place.lock():
        first, second = place.set_aside(), place.set_aside()
    assert first == f"{place.path}.damaged-20270115T080000Z"
    assert second == f"{first}-2"
    assert Path(first).read_bytes() == b"one"
    assert place.damaged() == second
    assert place.read() is not None


def _refused(*_: object, **__: object) -> None:
    raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))


def _use(place: FilePlace) -> None:
    with place.lock():
        place.read()


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as filler:
        while True:
            try:
                filler.write(bytes(4096))
            except OSError:  # that it is the lack of space, the test itself finds out
                return
