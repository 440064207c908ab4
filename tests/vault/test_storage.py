"""The storage protocol, the same for each engine: records compared and set, leases, what changes and what lasts."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from git_credential_bitbucket.errors import VaultBusy, VaultLocked, VaultUnwritable
from git_credential_bitbucket.vault import format as sealed
from git_credential_bitbucket.vault.key import Key
from git_credential_bitbucket.vault.storage.contract import REST, Storage, content_of, records_of
from git_credential_bitbucket.vault.storage.file import FileStorage
from git_credential_bitbucket.vault.storage.memory import MemoryStorage

if TYPE_CHECKING:
    from tests.valkey import Valkey

KEY = Key(bytes(range(32)), "file")


@pytest.fixture(params=["file", "memory", "shared"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """One of each engine, with nothing in it, that does not wait for long."""
    if request.param == "memory":
        return MemoryStorage(lock_timeout_s=0.05)
    if request.param == "shared":
        server: Valkey = request.getfixturevalue("valkey")
        return server.storage(tmp_path / "gcb" / "vault", lock_timeout_s=0.05)
    return FileStorage(str(tmp_path / "gcb" / "vault"), lock_timeout_s=0.05)


def test_records_are_set_and_removed_all_at_once(storage: Storage) -> None:
    """Each commit raises the generations; what is removed is gone, and the order of the others stays."""
    assert (storage.read(KEY).records, storage.watch(), storage.leases()) == ({}, None, [])
    first = storage.commit(
        KEY, {"a": (0, {"id": "a", "n": 1}), "b": (0, {"id": "b", "n": 2}), REST: (0, {"x": 1})}, "w1"
    )
    assert first is not None
    assert storage.read(KEY).records == first.records
    assert first.records == {"a": {"id": "a", "n": 1}, "b": {"id": "b", "n": 2}, REST: {"x": 1}}
    expected = first.generation_of("a")
    assert storage.commit(KEY, {"a": (expected, None), "c": (0, {"id": "c", "n": 3})}, "w2")
    second = storage.read(KEY)
    assert [key for key in second.records if key != REST] == ["b", "c"]
    assert second.generation_of("b") in (expected, expected + 1), "each its own, or one for all"
    assert second.generation_of("a") == 0
    assert first.records["a"] == {"id": "a", "n": 1}, "what was read is not changed by later commits"


@pytest.mark.parametrize(("key", "expected"), [("a", 0), ("a", 7), ("new", 1)])
def test_a_generation_that_is_not_the_expected_one_changes_nothing(storage: Storage, key: str, expected: int) -> None:
    """Not even the records of the same commit whose generation is right."""
    storage.commit(KEY, {"a": (0, {"id": "a", "n": 1}), "b": (0, {"id": "b", "n": 1})}, "w1")
    before = storage.read(KEY)
    right = before.generation_of("b")
    assert storage.commit(KEY, {"b": (right, {"id": "b", "n": 2}), key: (expected, {"id": key})}, "w2") is None
    assert storage.read(KEY) == before


def test_a_record_that_stays_the_same_is_compared(storage: Storage) -> None:
    """What is committed with it is stored only if nobody changed it meanwhile; tried again, that is recognised."""
    same: dict[str, object] = {"id": "a", "n": 1}
    storage.commit(KEY, {"a": (0, same)}, "w1")
    expected = storage.read(KEY).generation_of("a")
    changes: dict[str, tuple[int, dict[str, object] | None]] = {"b": (0, {"id": "b"}), "a": (expected, same)}
    stored = storage.commit(KEY, changes, "w2")
    assert stored is not None
    assert storage.commit(KEY, changes, "w2") == stored == storage.read(KEY)
    storage.commit(KEY, {"a": (stored.generation_of("a"), {"id": "a", "n": 2})}, "w3")
    assert storage.commit(KEY, {"c": (0, {"id": "c"}), "a": (stored.generation_of("a"), same)}, "w4") is None
    assert storage.read(KEY).records == {"a": {"id": "a", "n": 2}, "b": {"id": "b"}}


def test_a_commit_whose_end_is_unknown_may_be_tried_again(storage: Storage) -> None:
    """The same write id is recognised, and nothing is written twice; another one is another commit."""
    changes = {"a": (0, {"id": "a", "n": 1})}
    assert storage.commit(KEY, changes, "w1")
    before = storage.read(KEY)
    assert storage.commit(KEY, changes, "w1") == before
    assert storage.read(KEY) == before
    assert storage.commit(KEY, changes, "w2") is None


def test_a_commit_that_failed_after_its_rename_is_recognised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The directory could not be synced, so it was told as failed; tried again, it is made durable and not doubled."""
    storage = FileStorage(str(tmp_path / "gcb" / "vault"))
    sync = os.fsync

    def failing(fd: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{fd}"):
            raise OSError(5, "input/output error")
        sync(fd)

    with storage.lock():
        storage.read(KEY)
        with monkeypatch.context() as broken:
            broken.setattr(os, "fsync", failing)
            with pytest.raises(VaultUnwritable):
                storage.commit(KEY, {"a": (0, {"id": "a", "n": 1})}, "w1")
        assert storage.commit(KEY, {"a": (0, {"id": "a", "n": 1})}, "w1")
    assert storage.read(KEY).generation == 1


def test_what_is_watched_changes_with_every_commit(storage: Storage) -> None:
    seen = set()
    for n in range(5):
        storage.commit(KEY, {"a": (storage.read(KEY).generation_of("a"), {"id": "a", "n": n})}, str(n))
        assert storage.watch() == storage.watch()
        seen.add(storage.watch())
    assert len(seen) == 5


def test_only_what_is_sealed_needs_a_key(storage: Storage) -> None:
    """What is on a disk is not read and not written without; what ends with its process has none."""
    if storage.durability() == "process":
        assert storage.commit(None, {"a": (0, {"id": "a"})}, "w1")
        assert storage.header() is None
        return
    with pytest.raises(VaultLocked):
        storage.commit(None, {"a": (0, {"id": "a"})}, "w1")
    storage.commit(KEY, {"a": (0, {"id": "a"})}, "w1")
    with pytest.raises(VaultLocked):
        storage.read(None)
    header = storage.header()
    assert header is not None
    assert header.key_id == KEY.id


def test_a_lease_is_one_holder_s_and_holds_nobody_else(storage: Storage) -> None:
    """Others wait for that credential, and not for its neighbour, nor for the vault's lock."""
    told: list[str] = []

    def others() -> None:
        for key in ("a", "b"):
            try:
                with storage.lease(key):
                    told.append(key)
            except VaultBusy:
                told.append(f"not {key}")
        storage.commit(KEY, {"a": (0, {"id": "a"})}, "w1")
        told.append("committed")

    with storage.lease("a"):
        thread = threading.Thread(target=others)
        thread.start()
        thread.join()
        with pytest.raises(VaultBusy), storage.lease("a", wait=False):
            pass
    assert told == ["not a", "b", "committed"]
    with storage.lease("a", wait=False):
        pass


@pytest.mark.parametrize("key", ["0123456789ab", "odd/../id\udc80 ü", "-"])
def test_what_is_written_into_a_lease_outlives_its_holder(storage: Storage, key: str) -> None:
    """The next one reads it, also over more that stood there before; nothing is left once it is cleared."""
    with storage.lease(key) as lease:
        assert lease.read() == b""
        lease.write(bytes(1000))
        lease.write(b"answer")
    assert storage.leases() == [key]
    with storage.lease(key) as lease:
        assert lease.read() == b"answer" or lease.read() == b"answer" + bytes(994)
        lease.clear()
        assert lease.read() == b""
    assert storage.leases() == []


def test_another_file_among_the_leases_is_none(tmp_path: Path) -> None:
    """NFS leaves `.nfs…` of a file that is removed while it is open."""
    storage = FileStorage(str(tmp_path / "gcb" / "vault"))
    with storage.lease("a") as lease:
        lease.write(b"answer")
    for name in (".nfs0001", "-2", "-61", "-x"):
        (tmp_path / "gcb" / "vault.renewing" / name).touch(0o600)
    assert storage.leases() == ["a"]


def test_a_lease_s_file_is_private_and_goes_when_it_is_empty(tmp_path: Path) -> None:
    """`V.renewing` is closed to others, and so is the file in it."""
    storage = FileStorage(str(tmp_path / "gcb" / "vault"))
    before = os.umask(0)
    try:
        with storage.lease("a") as lease:
            lease.write(b"answer")
    finally:
        os.umask(before)
    folder = tmp_path / "gcb" / "vault.renewing"
    assert [oct(path.stat().st_mode & 0o777) for path in (folder, folder / "a")] == ["0o700", "0o600"]
    with storage.lease("a") as lease:
        lease.clear()
    assert not [*folder.iterdir()]


def test_who_waits_for_a_lease_gets_the_one_that_others_see(tmp_path: Path) -> None:
    """The file is removed when its client ends; whoever waited for it locks the next one, so two never hold it."""
    path = str(tmp_path / "gcb" / "vault")
    inside: list[int] = []
    most: list[int] = []

    def use() -> None:
        for _ in range(30):
            with FileStorage(path).lease("a") as lease:
                inside.append(1)
                most.append(len(inside))
                lease.write(b"x")
                lease.clear()
                inside.pop()

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 120


SPOILS: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda blob: blob[:-1],
    "flipped": lambda blob: blob[:-1] + bytes([blob[-1] ^ 1]),
    "other generation": lambda blob: blob[:8] + bytes(7) + b"\x05" + blob[16:],
}


@pytest.mark.parametrize("spoil", SPOILS.values(), ids=SPOILS)
def test_an_answer_that_is_not_whole_is_none(spoil: Callable[[bytes], bytes]) -> None:
    """Nor one for another credential or under another key; the generation that was asked for is told all the same."""
    blob = sealed.seal_answer(KEY, "a", 3, b"answer")
    assert sealed.open_answer(KEY, "a", blob + bytes(500)) == (3, b"answer")
    found = sealed.open_answer(KEY, "a", spoil(blob))
    assert found is not None
    assert found[1] is None
    assert sealed.open_answer(KEY, "b", blob) == (3, None)
    assert sealed.open_answer(Key(bytes(32), "file"), "a", blob) == (3, None)
    assert sealed.open_answer(KEY, "a", sealed.intent(3, 500)) == (3, None)
    assert sealed.open_answer(KEY, "a", b"") is None
    assert b"answer" not in blob


IDS = st.sampled_from(["", "'", "a", "a'", "b"])


@given(st.lists(IDS), st.dictionaries(st.sampled_from(["backups", "swept_at"]), st.integers()))
def test_content_is_the_same_after_it_was_records(ids: list[str], rest: dict[str, int]) -> None:
    content = {"credentials": [{"id": each, "n": n} for n, each in enumerate(ids)], **rest}
    assert content_of(records_of(content)) == (content if ids else rest)
