"""The vault's file: private from birth, whole at every moment, and clear about what stands in its way."""

import errno
import json
import os
import shlex
import stat
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from git_credential_bitbucket import files, paths
from git_credential_bitbucket.errors import InsecurePath, VaultBusy, VaultUnreadable, VaultUnwritable
from git_credential_bitbucket.vault import format as sealed
from git_credential_bitbucket.vault.key import Key
from git_credential_bitbucket.vault.storage.contract import REST, content_of
from git_credential_bitbucket.vault.storage.encoding import MAX_SPLICED
from git_credential_bitbucket.vault.storage.file import FileStorage
from git_credential_bitbucket.vault.vault import Vault
from tests.vault import peers

KEY = Key(bytes(range(32)), "file")


@pytest.fixture
def place(tmp_path: Path) -> FileStorage:
    """A place whose directory is still to be made."""
    return FileStorage(str(tmp_path / "gcb" / "vault"))


def write(place: FileStorage, blob: bytes) -> None:
    """One commit that makes `blob` the content."""
    record = {"blob": blob.decode("latin-1")}
    assert place.commit(KEY, {REST: (place.read(KEY).generation_of(REST), record)}, os.urandom(8).hex())


def current(place: FileStorage) -> bytes:
    """The content as it is read."""
    blob: str = place.read(KEY).records[REST]["blob"]
    return blob.encode("latin-1")


def previous(place: FileStorage) -> bytes | None:
    """The content of the generation before, if one was kept."""
    path = Path(f"{place.path}.previous")
    if not path.exists():
        return None
    blob: str = json.loads(sealed.unseal(KEY, path.read_bytes())[1])["blob"]
    return blob.encode("latin-1")


def names(place: FileStorage) -> set[str]:
    """What lies in the vault's directory."""
    return set(os.listdir(os.path.dirname(place.path)))


SMALL = st.sampled_from(["", "a", "b", "é\ud800", '{"id":"a"}', 0, 1.5, None, True])
RECORD = st.fixed_dictionaries(
    {"id": st.sampled_from(["a", "b", "c"])},
    optional={"n": SMALL, "inner": st.fixed_dictionaries({"id": st.sampled_from(["a", "b"])}) | st.lists(SMALL)},
)
CHANGE = st.tuples(st.sampled_from(["add", "change", "remove", "rest"]), st.integers(0, 20), RECORD)


@settings(max_examples=150)
@given(
    first=st.lists(RECORD, max_size=MAX_SPLICED + 3),
    commits=st.lists(st.lists(CHANGE, min_size=1, max_size=4), max_size=5),
)
def test_what_is_spliced_is_what_encoding_everything_gives(
    tmp_path_factory: pytest.TempPathFactory,
    first: list[dict[str, object]],
    commits: list[list[tuple[str, int, dict[str, object]]]],
) -> None:
    """Byte for byte, whatever changes and whatever the records hold; nothing that is shared is changed meanwhile."""
    path = str(tmp_path_factory.mktemp("v") / "gcb" / "vault")
    vault = Vault(FileStorage(path), KEY)
    for changes in ([*(("add", 0, record) for record in first)], *commits):
        before = vault.snapshot().content
        copy = json.dumps(before)
        with vault.transaction() as tx:
            records = tx.content.setdefault("credentials", [])
            for what, at, record in changes:
                if what == "add":
                    records.append(dict(record))
                elif what == "rest":
                    tx.content["at"] = at
                elif records and what == "change":
                    records[at % len(records)].update(record)
                elif records:
                    del records[at % len(records)]
            wanted = json.loads(json.dumps(tx.content))
        assert json.dumps(before) == copy
        if not Path(path).exists():
            continue
        plain = sealed.unseal(KEY, Path(path).read_bytes())[1]
        stored = FileStorage(path).read(KEY)
        slowly = {**content_of(stored.records), "write_id": stored.write_id}
        assert plain == json.dumps(slowly, separators=(",", ":"), allow_nan=False).encode("ascii")
        assert json.dumps(vault.snapshot().content) == json.dumps(content_of(stored.records))
        for content in (wanted, slowly):
            content["credentials"] = sorted(json.dumps(r, sort_keys=True) for r in content.get("credentials", ()))
        del slowly["write_id"]
        assert slowly == wanted


def test_a_lock_that_is_not_shared_loses_no_write(place: FileStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some network file systems grant it to two machines at once: the second to write is refused, and may try again."""
    write(place, b"one")
    monkeypatch.setattr("fcntl.flock", lambda *_: None)
    other = FileStorage(place.path)
    place.step = lambda name: write(other, b"theirs") if name == "tmp-created" else None
    with pytest.raises(VaultBusy, match="while this one held its lock"):
        write(place, b"ours")
    assert current(place) == b"theirs"
    place.step = lambda _: None
    write(place, b"ours")
    assert (current(other), previous(other)) == (b"ours", b"theirs")


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_everything_is_born_private(place: FileStorage, umask: int) -> None:
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


def test_the_directory_is_made_private(place: FileStorage) -> None:
    """The directory that the first write makes is closed to others."""
    write(place, b"one")
    assert stat.S_IMODE(os.stat(os.path.dirname(place.path)).st_mode) == 0o700


def test_the_generation_before_is_kept(place: FileStorage) -> None:
    """After a write, what was there before is the previous generation, and nothing else lies about."""
    for blob in (b"one", b"two", b"three"):
        write(place, blob)
    assert (current(place), previous(place)) == (b"three", b"two")
    assert names(place) == {"vault", "vault.previous", "vault.lock"}


def test_remains_of_killed_writes_go_with_the_next(place: FileStorage) -> None:
    """Half a write, a link half made, and two names of one file are cleared up by the next write."""
    write(place, b"one")
    for name in ("new", "link"):
        Path(f"{place.path}.{name}").write_bytes(b"half")
    os.link(place.path, f"{place.path}.previous")
    write(place, b"two")
    assert names(place) == {"vault", "vault.previous", "vault.lock"}
    assert previous(place) == b"one"


def test_every_write_has_a_stamp_of_its_own(place: FileStorage) -> None:
    """Stamps carry the clock to the nanosecond: the kernel's tick is 4 ms, and inode numbers come back."""
    stamps = set()
    with place.lock():
        for nth in range(50):
            began = time.time_ns()
            write(place, b"same size %02d" % nth)
            stamp = place.watch()
            assert stamp is not None
            assert began <= stamp[2] <= time.time_ns()
            stamps.add(stamp)
    assert len(stamps) == 50


@pytest.mark.parametrize("name", ["", ".lock"])
def test_a_link_is_refused(place: FileStorage, tmp_path: Path, name: str) -> None:
    """A symbolic link in the place of vault or lock is refused, and what it points to is not touched."""
    write(place, b"one")
    target = tmp_path / "target"
    target.write_bytes(b"somebody's")
    os.unlink(place.path + name)
    os.symlink(target, place.path + name)
    with pytest.raises(InsecurePath, match="not a plain file"):
        _use(place)
    assert target.read_bytes() == b"somebody's"


def test_links_for_the_write_s_own_files_are_not_followed(place: FileStorage, tmp_path: Path) -> None:
    """A link waiting under the name of the new file is replaced; its target is neither written nor kept."""
    write(place, b"one")
    target = tmp_path / "target"
    target.write_bytes(b"somebody's")
    for name in ("new", "link", "previous"):
        os.symlink(target, f"{place.path}.{name}")
    write(place, b"two")
    assert target.read_bytes() == b"somebody's"
    assert previous(place) == b"one"


@pytest.mark.parametrize("name", ["", ".lock"])
@pytest.mark.parametrize("kind", ["fifo", "directory"])
def test_what_is_no_file_is_refused_without_waiting(place: FileStorage, name: str, kind: str) -> None:
    """A FIFO or a directory there is refused at once; opening a FIFO must not wait for its other end."""
    write(place, b"one")
    os.unlink(place.path + name)
    if kind == "fifo":
        os.mkfifo(place.path + name, 0o600)
    else:
        os.mkdir(place.path + name, 0o700)
    with pytest.raises(InsecurePath):
        _use(place)


@pytest.mark.parametrize("name", ["", ".lock", "directory"])
def test_a_loose_mode_is_refused_with_the_hint(tmp_path: Path, name: str) -> None:
    """What others can read is refused; typing the hint mends it."""
    place = FileStorage(str(tmp_path / paths.NAME / "vault"))
    write(place, b"one")
    path = os.path.dirname(place.path) if name == "directory" else place.path + name
    os.chmod(path, os.stat(path).st_mode | 0o044)
    with pytest.raises(InsecurePath) as caught:
        _use(place)
    assert caught.value.hint is not None
    subprocess.run(shlex.split(caught.value.hint.removeprefix("run: ")), check=True)
    _use(place)


@pytest.mark.parametrize("name", ["", ".lock", "directory"])
def test_what_belongs_to_another_is_refused(place: FileStorage, name: str) -> None:
    """A vault, lock or directory of another user is refused, also by root, who could read it."""
    if os.geteuid() != 0:
        pytest.skip("giving a file away takes root")
    write(place, b"one")
    path = os.path.dirname(place.path) if name == "directory" else place.path + name
    os.chown(path, peers.NOBODY, peers.NOBODY)
    with pytest.raises(InsecurePath, match="another user"):
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
        with FileStorage(path).lock(): print("locked")
    except Error as exc: print(type(exc).__name__, exc.cause, "|", exc.hint)
""",
        closed / "vault",
        mine / "vault",
    )
    assert "InsecurePath" in told[0]
    assert "belongs to another user" in told[0]
    assert "VaultUnwritable" in told[1]
    assert "permission denied" in told[1]
    assert not os.listdir(mine)


def test_a_full_disk_loses_nothing(home: Path) -> None:
    """With no space left a write fails by name, the old generation stays, and after making room it goes through."""
    with peers.mounted(home / "small", "size=256k") as small:
        place = FileStorage(str(small / "vault"))
        write(place, b"one")
        filler = small / "filler"
        _fill(filler)
        with pytest.raises(VaultUnwritable, match="no space left") as caught:
            write(place, b"x" * 100_000)
        assert "free some space" in str(caught.value.hint)
        assert current(place) == b"one"
        assert "vault.new" not in names(place)
        filler.unlink()
        write(place, b"two")
        assert previous(place) == b"one"


def test_a_read_only_disk_can_be_read(home: Path) -> None:
    """On a read-only mount reading goes on, and writing names the cause."""
    with peers.mounted(home / "disk", "size=256k") as folder:
        place = FileStorage(str(folder / "vault"))
        write(place, b"one")
        with peers.read_only(folder):
            assert current(place) == b"one"
            with pytest.raises(VaultUnwritable, match="read-only") as caught:
                write(place, b"two")
            assert "GIT_CREDENTIAL_BITBUCKET_VAULT" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("limit", "said"),
    [("RLIMIT_FSIZE, (1000, 1000)", "file too large"), ("RLIMIT_NOFILE, (3, 3)", "too many open files")],
)
def test_a_process_s_limits_are_named(home: Path, limit: str, said: str) -> None:
    """The limits on file size and open files are errors with a cure, not tracebacks, and leave the vault alone."""
    place = FileStorage(str(home / "gcb" / "vault"))
    write(place, b"one")
    told = peers.python(
        f"""
import resource, sys
from git_credential_bitbucket.errors import Error
from git_credential_bitbucket.vault.key import Key
from git_credential_bitbucket.vault.storage.file import FileStorage
place = FileStorage(sys.argv[1])
key = Key(bytes(range(32)), "file")
changes = {{"": (place.read(key).generation, dict(blob="x" * 100_000))}}
resource.setrlimit(resource.{limit})
try:
    place.commit(key, changes, "")
except Error as exc: print(type(exc).__name__, exc.cause, exc.hint)
""",
        place.path,
    )
    assert told[0].startswith("VaultUnwritable")
    assert said in told[0]
    assert "ulimit" in told[0]
    assert current(place) == b"one"


def test_trouble_with_reading_is_no_verdict(place: FileStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """An input/output error is told as such and moves nothing. A broken disk cannot be had: `read` is made to fail."""
    write(place, b"one")

    def failing(_fd: int, _limit: int) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(files, "read_all", failing)
    with pytest.raises(VaultUnreadable, match="input/output error"):
        place.read(KEY)
    assert names(place) == {"vault", "vault.lock"}


def test_a_disk_without_hard_links_has_the_previous_generation_too(
    place: FileStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where links are refused, as on FAT, a copy is kept. No such disk is at hand: `link` is made to fail."""
    write(place, b"one")
    monkeypatch.setattr(os, "link", _refused)
    write(place, b"two")
    write(place, b"three")
    assert previous(place) == b"two"
    assert names(place) == {"vault", "vault.previous", "vault.lock"}


@pytest.mark.parametrize(("size", "kept"), [(60_000, True), (100_000, False)])
def test_a_new_generation_is_not_given_up_for_the_copy_of_the_old_one(
    home: Path, monkeypatch: pytest.MonkeyPatch, size: int, *, kept: bool
) -> None:
    """Nothing reserved, no hard links, no room for a copy: at the cost of what was kept before, or without a copy."""
    monkeypatch.setattr(os, "link", _refused)
    with peers.mounted(home / "small", "size=256k") as small:
        place = FileStorage(str(small / "vault"))
        write(place, b"0" * size)
        write(place, b"1" * size)
        if kept:
            (small / "filler").write_bytes(bytes(40_000))
        write(place, b"2" * size)
        assert current(place) == b"2" * size
        assert previous(place) == (b"1" * size if kept else None)
        assert names(place) - {"filler", "vault.previous"} == {"vault", "vault.lock"}


def test_what_is_whole_on_the_disk_outlives_a_failed_rename(
    place: FileStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may hold the only refresh token that works: the next writer finds it. `rename` is made to fail."""
    write(place, b"one")
    with monkeypatch.context() as broken:
        broken.setattr(os, "rename", _refused)
        with pytest.raises(VaultUnwritable):
            write(place, b"two")
    assert names(place) == {"vault", "vault.new", "vault.lock"}
    with place.lock():
        place.read(KEY)
    assert current(place) == b"two"
    assert previous(place) == b"one"
    assert names(place) == {"vault", "vault.previous", "vault.lock"}


def test_what_is_acknowledged_is_on_the_disk_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole file is synced before its rename, the directory after it; one found unfinished, and a copy, as well."""
    events: list[object] = []
    sync, rename = os.fsync, os.rename

    def recorded(fd: int) -> None:
        found = os.fstat(fd)
        events.append((found.st_ino, None if stat.S_ISDIR(found.st_mode) else found.st_size))
        sync(fd)

    monkeypatch.setattr(os, "fsync", recorded)
    place = FileStorage(str(tmp_path / "gcb" / "vault"), step=events.append)
    write(place, b"one")
    folder = (os.stat(os.path.dirname(place.path)).st_ino, None)
    file = os.stat(place.path)
    ended = ["renamed", folder, "dir-synced"]
    assert events == [
        "tmp-created",
        "tmp-written",
        (file.st_ino, file.st_size),
        "tmp-synced",
        "previous-linked",
        *ended,
    ]
    monkeypatch.setattr(os, "rename", _refused)
    with pytest.raises(VaultUnwritable):
        write(place, b"one")
    monkeypatch.setattr(os, "rename", rename)
    left = os.stat(f"{place.path}.new")
    events.clear()
    place.read(KEY)
    assert events == []
    with place.lock():
        place.read(KEY)
    assert events == [(left.st_ino, left.st_size), "previous-linked", *ended]
    events.clear()
    monkeypatch.setattr(os, "link", _refused)
    write(place, b"second")
    new, copy = ((found.st_ino, found.st_size) for found in map(os.stat, (place.path, f"{place.path}.previous")))
    before = ["tmp-created", "tmp-written", new, "tmp-synced", copy, "previous-linked"]
    assert events == [*before, *ended]


def test_a_directory_that_cannot_be_synced_is_tolerated(place: FileStorage, monkeypatch: pytest.MonkeyPatch) -> None:
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
    place = FileStorage(str(tmp_path / name / "vault"))
    write(place, b"one")
    write(place, b"two")
    os.chmod(place.path, 0o644)
    with pytest.raises(InsecurePath) as caught:
        place.read(KEY)
    assert not any(ord(character) < 32 for character in f"{caught.value.cause}{caught.value.hint}")
    subprocess.run(["bash", "-c", str(caught.value.hint).removeprefix("run: ")], check=True, cwd=tmp_path)
    assert place.read(KEY) is not None


def test_what_is_put_aside_keeps_its_content(tmp_path: Path) -> None:
    """A damaged file gets a name with the time, a second one in that second another."""
    place = FileStorage(str(tmp_path / "gcb" / "vault"), clock=lambda: 1_800_000_000.0)
    write(place, b"one")
    first = f"{place.path}.damaged-20270115T080000Z"
    for damaged in (first, f"{first}-2"):
        write(place, b"two")
        write(place, b"three")
        os.truncate(place.path, 20)
        broken = Path(place.path).read_bytes()
        assert current(place) == b"two"
        assert place.damaged() == damaged
        assert Path(damaged).read_bytes() == broken


@pytest.mark.parametrize("zeros", [1, 20, 5000])
def test_a_write_that_an_earlier_version_left_longer_than_its_content_is_finished(
    place: FileStorage, zeros: int
) -> None:
    """Version 0.1.0 took the space first, and was killed between `write` and `ftruncate`; the content is whole."""
    write(place, b"one")
    record = {"blob": "two"}
    for tail in (b"", bytes(1)):  # also where the seal itself ends in a zero
        blob = b""
        while not blob.endswith(tail) or (not tail and blob.endswith(b"\0")) or not blob:
            blob = sealed.seal(KEY, json.dumps(record).encode(), place.read(KEY).generation + 1)
        left = Path(f"{place.path}.new")
        left.touch(0o600)
        left.write_bytes(blob + bytes(zeros))
        with place.lock():
            place.read(KEY)
        assert current(place) == b"two"
        assert Path(place.path).read_bytes() == blob
        assert names(place) == {"vault", "vault.previous", "vault.lock"}


def _refused(*_: object, **__: object) -> None:
    raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))


def _use(place: FileStorage) -> None:
    with place.lock():
        place.read(KEY)


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as filler:
        while True:
            try:
                filler.write(bytes(4096))
            except OSError:  # that it is the lack of space, the test itself finds out
                return
