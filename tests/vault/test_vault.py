"""The vault as its users meet it: snapshots, transactions, locked or not, damage, and a change of keys."""

import json
import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from git_credential_bitbucket.errors import NewerVault, VaultDamaged, VaultLocked, VaultUnwritable, WrongKey
from git_credential_bitbucket.vault import format as sealed
from git_credential_bitbucket.vault.key import Key
from git_credential_bitbucket.vault.storage.contract import Stored
from git_credential_bitbucket.vault.storage.file import FileStorage
from git_credential_bitbucket.vault.storage.memory import MemoryStorage
from git_credential_bitbucket.vault.vault import Vault, notice
from tests.vault import peers

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@pytest.fixture
def material() -> bytes:
    """A key's bytes: every `Key` made of them is the same key."""
    return os.urandom(32)


def opened(path: str, material: bytes) -> Vault:
    """A vault of its own on `path`, as another process would have it."""
    return Vault(FileStorage(path), Key(material, "file"))


def put(vault: Vault, /, **content: Any) -> None:  # noqa: ANN401 - any JSON
    """One transaction that sets `content`."""
    with vault.transaction() as tx:
        tx.content.update(content)


def beside(path: str) -> dict[str, bytes]:
    """What lies in the vault's directory, whole."""
    return {entry.name: entry.read_bytes() for entry in Path(path).parent.iterdir()}


def flip(path: str, at: int = -20) -> None:
    """Damage one byte, of the ciphertext unless told otherwise."""
    blob = bytearray(Path(path).read_bytes())
    blob[at] ^= 0xFF
    Path(path).write_bytes(blob)


@settings(max_examples=60)
@given(
    content=st.dictionaries(st.text().filter(lambda name: name not in {"credentials", "write_id"}), JSON, max_size=5)
)
def test_any_json_comes_back(tmp_path_factory: pytest.TempPathFactory, content: dict[str, Any]) -> None:
    """Whatever JSON holds, lone surrogates included, is read back equal, from disk and from memory."""
    path = str(tmp_path_factory.mktemp("v") / "gcb" / "vault")
    key = os.urandom(32)
    for vault in (opened(path, key), Vault(MemoryStorage())):
        put(vault, **content)
        assert vault.snapshot().content == content
    assert opened(path, key).snapshot().content == content


def test_an_absent_vault_is_empty_and_stays_absent(path: str, material: bytes) -> None:
    """Reading makes nothing; without a key the state is absent, with one it is open."""
    assert Vault(FileStorage(path)).snapshot().content == {}
    assert opened(path, material).snapshot().generation == 0
    assert Vault(FileStorage(path)).state == "absent"
    assert opened(path, material).state == "open"
    assert not os.path.exists(os.path.dirname(path))


def test_nothing_is_in_the_clear(path: str, material: bytes) -> None:
    """Neither names nor secrets can be found in any file beside the vault."""
    vault = opened(path, material)
    for n in range(3):
        put(vault, workspace="acme-workspace", n=n)
    assert not any(b"acme" in blob or b"workspace" in blob for blob in beside(path).values())


def test_an_unchanged_vault_costs_one_stat(path: str, material: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A snapshot of an unchanged vault is the same object, for one stat and nothing opened."""
    vault = opened(path, material)
    put(vault, a=1)
    first = vault.snapshot()
    calls: list[str] = []

    def counted(name: str) -> Callable[..., Any]:
        real = getattr(os, name)

        def call(*arguments: Any, **more: Any) -> Any:  # noqa: ANN401 - whatever the real one takes
            calls.append(name)
            return real(*arguments, **more)

        return call

    for name in ("stat", "lstat", "fstat", "open", "listdir"):
        monkeypatch.setattr(os, name, counted(name))
    assert vault.snapshot() is first
    monkeypatch.undo()
    assert calls == ["lstat"]


def test_another_s_write_is_seen(path: str, material: bytes) -> None:
    """What another process wrote is in the next snapshot, and the old one is left as it was."""
    mine, other = opened(path, material), opened(path, material)
    put(mine, a=1)
    before = mine.snapshot()
    put(other, a=2)
    assert mine.snapshot().content == {"a": 2}
    assert before.content == {"a": 1}
    assert mine.snapshot().generation == before.generation + 1


def test_a_transaction_begins_with_what_is_there_now(path: str, material: bytes) -> None:
    """Two that add to the same list lose nothing, though neither had seen the other's snapshot."""
    one, two = opened(path, material), opened(path, material)
    for vault in (one, two, one, two):
        with vault.transaction() as tx:
            tx.content.setdefault("list", []).append(len(tx.content.get("list", [])))
    assert one.snapshot().content == {"list": [0, 1, 2, 3]}


def test_no_change_is_no_write(path: str, material: bytes) -> None:
    """A transaction that leaves the content as it was does not touch the disk."""
    vault = opened(path, material)
    put(vault, a=1)
    before = beside(path)
    with vault.transaction() as tx:
        tx.content["a"] = 1
        tx.commit()
    assert beside(path) == before


def test_commit_is_durable_before_the_transaction_ends(path: str, material: bytes) -> None:
    """What was committed inside stays when the rest fails; what came after it does not."""
    vault = opened(path, material)

    def fail_after_a_commit() -> None:
        with vault.transaction() as tx:
            tx.content["a"] = 1
            tx.commit()
            assert opened(path, material).snapshot().content == {"a": 1}
            tx.content["a"] = 2
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_after_a_commit()
    assert vault.snapshot().content == {"a": 1}


def test_a_failed_commit_can_be_tried_again(home: Path, material: bytes) -> None:
    """A full disk fails the commit; with room made, the same transaction goes on and ends well."""
    with peers.mounted(home / "small", "size=256k") as small:
        vault = opened(str(small / "vault"), material)
        put(vault, a=1)
        filler = small / "filler"
        with vault.transaction() as tx:
            tx.content["b"] = os.urandom(60_000).hex()
            filler.write_bytes(bytes(160_000))
            with pytest.raises(VaultUnwritable):
                tx.commit()
            assert opened(str(small / "vault"), material).snapshot().content == {"a": 1}
            filler.unlink()
        assert set(vault.snapshot().content) == {"a", "b"}


def test_nested_transactions_are_an_error(path: str, material: bytes) -> None:
    """A transaction inside another of the same thread is told at once; the outer one is not hurt."""
    vault = opened(path, material)
    with vault.transaction() as tx:
        tx.content["a"] = 1
        with pytest.raises(RuntimeError, match="inside another"), vault.transaction():
            pass
    assert vault.snapshot().content == {"a": 1}


def test_no_update_is_lost(path: str, material: bytes) -> None:
    """Threads on one vault object and processes beside them, all at once, count to the same number."""
    counting = """
import base64, sys
from git_credential_bitbucket.vault.key import Key
from git_credential_bitbucket.vault.storage.file import FileStorage
from git_credential_bitbucket.vault.vault import Vault, notice
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
print("ready", flush=True)
vault = Vault(FileStorage(sys.argv[1]), Key(base64.b64decode(sys.stdin.readline()), "file"))
for _ in range(60):
    with vault.transaction() as tx: tx.content["n"] = tx.content.get("n", 0) + 1
print("done", flush=True)
"""
    vault = opened(path, material)

    def count() -> None:
        for _ in range(60):
            with vault.transaction() as tx:
                tx.content["n"] = tx.content.get("n", 0) + 1

    with peers.running(counting, path) as one, peers.running(counting, path) as two:
        for process in (one, two):
            assert peers.line_of(process) == "ready"
        for process in (one, two):
            peers.give(process, Key(material, "file").to_record()["key"])
        threads = [threading.Thread(target=count) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for process in (one, two):
            assert peers.line_of(process) == "done"
    assert vault.snapshot().content == {"n": 300}


def test_locked_is_not_damage(path: str, material: bytes) -> None:
    """Without a key, or with another vault's, nothing is given, moved or written, not even a lock file."""
    put(opened(path, material), a=1)
    os.unlink(f"{path}.lock")
    before = beside(path)
    keyless, wrong = Vault(FileStorage(path)), opened(path, os.urandom(32))
    assert keyless.state == "locked"
    for vault, error in ((keyless, VaultLocked), (wrong, WrongKey)):
        with pytest.raises(error):
            vault.snapshot()
    with pytest.raises(VaultLocked), keyless.transaction():
        pass
    assert beside(path) == before
    with pytest.raises(WrongKey):
        put(opened(path, os.urandom(32)), a=2)
    with pytest.raises(WrongKey):
        opened(path, os.urandom(32)).rekey(Key(os.urandom(32), "file"))
    with pytest.raises(WrongKey):
        keyless.unlock(Key(os.urandom(32), "file"))
    assert {name: blob for name, blob in beside(path).items() if name != "vault.lock"} == before


def test_a_key_that_does_not_fit_leaves_a_damaged_vault_alone(path: str, material: bytes) -> None:
    """Damage in the header with a key that does not fit the previous generation either: locked, and nothing moved."""
    vault = opened(path, material)
    put(vault, a=1)
    put(vault, a=2)
    flip(path, 12)
    before = beside(path)
    with pytest.raises(WrongKey):
        opened(path, os.urandom(32)).snapshot()
    assert beside(path) == before


def test_lock_and_unlock(path: str, material: bytes) -> None:
    """After `lock` neither key nor content is at hand, the cached snapshot included; after `unlock` both are."""
    vault = opened(path, material)
    put(vault, a=1)
    vault.snapshot()
    vault.lock()
    assert vault.state == "locked"
    assert vault.key is None
    with pytest.raises(VaultLocked):
        vault.snapshot()
    vault.unlock(Key(material, "file"))
    assert vault.snapshot().content == {"a": 1}


def test_what_was_written_is_not_read_again(path: str, material: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer knows it; unless the vault was locked in the middle, and then nothing stays behind."""
    vault = opened(path, material)
    put(vault, a=1)
    with monkeypatch.context() as patched:
        patched.setattr(vault.storage, "read", lambda _: pytest.fail("it was read"))
        assert vault.snapshot().content == {"a": 1}
    with monkeypatch.context() as patched:
        patched.setattr(FileStorage, "_read_file", lambda *_: pytest.fail("it was read"))
        put(vault, b=1)
        assert vault.snapshot().content == {"a": 1, "b": 1}
    with vault.transaction() as tx:
        tx.content["a"] = 2
        vault.lock()
    assert vault._cached is None
    assert opened(path, material).snapshot().content == {"a": 2, "b": 1}


def test_another_s_killed_write_is_finished_by_who_knows_the_content(path: str, material: bytes) -> None:
    """The vault's file is as it was, and the write that was killed beside it counts all the same."""
    vault = opened(path, material)
    put(vault, a=1)

    def killed(name: str) -> None:
        if name == "previous-linked":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        put(Vault(FileStorage(path, step=killed), Key(material, "file")), a=2)
    assert vault.snapshot().content == {"a": 1}
    with vault.transaction() as tx:
        assert tx.content == {"a": 2}


def test_locking_while_a_snapshot_is_read_leaves_nothing_behind(
    path: str, material: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A snapshot that was being read when the vault was locked is not kept for later."""
    put(opened(path, material), a=1)
    vault = opened(path, material)
    read = vault.storage.read

    def read_and_lock(key: Key | None, known: Stored | None) -> object:
        held = read(key, known)
        vault.lock()
        return held

    monkeypatch.setattr(vault.storage, "read", read_and_lock)
    assert vault.snapshot().content == {"a": 1}
    assert vault._cached is None


def test_locking_wipes_the_key_but_not_under_a_transaction(path: str, material: bytes) -> None:
    """`lock` during a transaction lets it end with its key, sealed as it should be; then the bytes are wiped."""
    vault = opened(path, material)
    assert vault.key is not None
    held = vault.key._material
    with vault.transaction() as tx:
        vault.lock()
        tx.content["a"] = 1
        assert held == material
    del tx
    assert held == bytes(32)
    assert opened(path, material).snapshot().content == {"a": 1}


def test_memory_keeps_and_needs_no_key() -> None:
    """A vault in memory reads and writes, has no state but its own, and is not emptied by `lock`."""
    vault = Vault(MemoryStorage())
    assert (vault.state, vault.header()) == ("memory", None)
    put(vault, a=1)
    first = vault.snapshot()
    assert vault.snapshot() is first
    vault.lock()
    vault.acquire({}, create=True)
    with vault.transaction() as tx:
        tx.content["a"] += 1
    assert (vault.snapshot().content, vault.snapshot().generation) == ({"a": 2}, 2)


@pytest.mark.parametrize("damage", ["byte", "key id", "magic", "cut", "emptied", "zeros", "gone"])
def test_damage_brings_back_the_generation_before(path: str, material: bytes, damage: str) -> None:
    """A damaged vault is disabled by name, the previous generation answers, marked, and stays marked."""
    vault = opened(path, material)
    put(vault, a=1)
    put(vault, a=2)
    blob = Path(path).read_bytes()
    damages: dict[str, Callable[[], object]] = {
        "byte": lambda: flip(path),
        "key id": lambda: flip(path, 15),
        "magic": lambda: flip(path, 0),
        "cut": lambda: os.truncate(path, len(blob) // 2),
        "emptied": lambda: os.truncate(path, 0),
        "zeros": lambda: Path(path).write_bytes(bytes(len(blob))),
        "gone": lambda: os.unlink(path),
    }
    damages[damage]()
    broken = None if damage == "gone" else Path(path).read_bytes()
    header = vault.header()
    assert header is not None
    assert header.key_id == Key(material, "file").id
    for reader in (vault, opened(path, material)):
        snapshot = reader.snapshot()
        assert (snapshot.content, snapshot.recovered) == ({"a": 1}, True)
        told = notice(reader)
        assert told is not None
        assert Path(told.path).read_bytes() == (broken or b"")
        assert f"{told.path} was moved aside" in told.cause
    with vault.transaction() as tx:
        assert tx.recovered
        tx.content["a"] = 3
    assert opened(path, material).snapshot().recovered
    os.unlink(str(vault.storage.damaged()))
    last = opened(path, material).snapshot()
    assert (last.content, last.recovered) == ({"a": 3}, False)


def test_the_notice_of_damage_ends_when_the_file_is_removed(path: str, material: bytes) -> None:
    """Writes do not end it, nor a new process, nor a locked vault; the next write after that counts as any other."""
    vault = opened(path, material)
    assert notice(vault) is None
    put(vault, a=1)
    put(vault, a=2)
    flip(path)
    vault.snapshot()
    put(vault, a=3)
    told = notice(Vault(FileStorage(path)))
    assert told is not None
    assert notice(vault) == told
    assert told.hint.endswith(f"rm {told.path}")
    os.unlink(told.path)
    assert notice(vault) is None
    with vault.transaction() as tx:
        assert not tx.recovered
    assert not opened(path, material).snapshot().recovered


def test_a_transaction_recovers_first(path: str, material: bytes) -> None:
    """A write to a damaged vault begins with the previous generation and keeps the damaged file."""
    vault = opened(path, material)
    put(vault, a=1)
    put(vault, a=2)
    flip(path)
    put(vault, b=1)
    assert vault.snapshot().content == {"a": 1, "b": 1}
    assert len([name for name in beside(path) if ".damaged-" in name]) == 1


def test_both_generations_damaged_is_told_and_left(path: str, material: bytes) -> None:
    """With nothing readable the error names the vault and the way out, nothing is moved, and no write starts anew."""
    vault = opened(path, material)
    put(vault, a=1)
    put(vault, a=2)
    flip(path)
    flip(f"{path}.previous")
    before = beside(path)
    for attempt in (vault.snapshot, lambda: put(vault, a=3), lambda: opened(path, material).snapshot()):
        with pytest.raises(VaultDamaged, match="gcb/vault is damaged") as caught:
            attempt()
        assert "backup" in str(caught.value.hint)
    assert beside(path) == before


@pytest.mark.parametrize("content", [b"", b"#!/bin/sh\necho a file of somebody's\n"])
def test_a_file_that_was_never_a_vault_is_left_alone(path: str, material: bytes, content: bytes) -> None:
    """A path set to the wrong file by mistake costs that file nothing: without an earlier generation nothing moves."""
    os.mkdir(os.path.dirname(path), 0o700)
    Path(path).touch(0o600)
    Path(path).write_bytes(content)
    for key in (None, Key(material, "file")):
        with pytest.raises((VaultDamaged, VaultLocked)):
            Vault(FileStorage(path), key).snapshot()
    with pytest.raises(VaultDamaged):
        put(opened(path, material), a=1)
    assert Path(path).read_bytes() == content


def test_a_damaged_vault_on_a_read_only_disk_still_answers(home: Path, material: bytes) -> None:
    """Where nothing can be disabled, the previous generation is read all the same, once for each change on disk."""
    with peers.mounted(home / "disk", "size=1m") as disk:
        path = str(disk / "vault")
        vault = opened(path, material)
        put(vault, a=1)
        put(vault, a=2)
        flip(path)
        with peers.read_only(disk):
            snapshot = vault.snapshot()
            assert (snapshot.content, snapshot.recovered) == ({"a": 1}, True)
            assert vault.snapshot() is snapshot
            told = notice(vault)
            assert told is not None
            assert (told.path, "cannot be moved aside yet" in told.cause) == (path, True)
            with pytest.raises(VaultUnwritable, match="read-only"):
                put(vault, a=3)


def test_reading_never_waits_for_the_lock(path: str, material: bytes) -> None:
    """While another thread is in a transaction, snapshots answer at once, of a damaged vault as well."""
    vault, reader = opened(path, material), opened(path, material)
    put(vault, a=1)
    put(vault, a=2)
    with vault.transaction() as tx:
        assert reader.snapshot().content == {"a": 2}
        flip(path)
        assert reader.snapshot().content == {"a": 1}
        tx.content["a"] = 3
    assert reader.snapshot().content == {"a": 3}


def test_a_newer_vault_is_left_to_the_newer_program(path: str, material: bytes) -> None:
    """A later format is neither read, nor written over, nor disabled, though the previous generation is ours."""
    vault = opened(path, material)
    put(vault, a=1)
    put(vault, a=2)
    blob = bytearray(Path(path).read_bytes())
    blob[8:10] = (sealed.VERSION + 1).to_bytes(2)
    Path(path).write_bytes(blob)
    before = beside(path)
    for attempt in (vault.snapshot, lambda: put(vault, a=3), vault.header, lambda: vault.rekey(Key(material, "file"))):
        with pytest.raises(NewerVault, match="format 2"):
            attempt()
    assert beside(path) == before


def test_rekey_changes_both_generations(path: str, material: bytes) -> None:
    """After a rekey the new key opens the vault and its previous generation, and the old one opens neither."""
    vault = opened(path, material)
    put(vault, a=1)
    put(vault, a=2)
    new = os.urandom(32)
    vault.rekey(Key(new, "environment"))
    assert vault.snapshot().content == {"a": 2}
    with pytest.raises(WrongKey):
        opened(path, material).snapshot()
    for name in (path, f"{path}.previous"):
        header, plain = sealed.unseal(Key(new, "environment"), Path(name).read_bytes())
        assert (json.loads(plain)["a"], header.source) == (2, "environment")
    flip(path)
    assert opened(path, new).snapshot().content == {"a": 2}


def test_a_rekey_by_another_process_locks(path: str, material: bytes) -> None:
    """Who still has the old key is told once and is locked then, so that the new key can be looked for."""
    mine, other = opened(path, material), opened(path, material)
    put(mine, a=1)
    mine.snapshot()
    new = os.urandom(32)
    other.rekey(Key(new, "environment"))
    with pytest.raises(WrongKey):
        mine.snapshot()
    assert (mine.state, mine.key) == ("locked", None)
    mine.acquire({"GIT_CREDENTIAL_BITBUCKET_KEY": Key(new, "environment").to_record()["key"]})
    assert mine.snapshot().content == {"a": 1}


def test_a_rekey_on_a_full_disk_changes_nothing(home: Path, material: bytes) -> None:
    """A rekey that cannot be written leaves the old key in force, here and for others."""
    with peers.mounted(home / "small", "size=256k") as small:
        vault = opened(str(small / "vault"), material)
        put(vault, a="x" * 20_000)
        subprocess.run(["dd", "if=/dev/zero", f"of={small}/filler"], check=False, capture_output=True)
        with pytest.raises(VaultUnwritable):
            vault.rekey(Key(os.urandom(32), "file"))
        assert opened(str(small / "vault"), material).snapshot() == vault.snapshot()


def test_a_locked_vault_opens_with_the_key_the_environment_has(path: str, material: bytes) -> None:
    """`acquire` takes what the environment gives, for a vault that is there and for one to be."""
    env = {"GIT_CREDENTIAL_BITBUCKET_KEY": Key(material, "file").to_record()["key"]}
    for _ in range(2):
        vault = Vault(FileStorage(path))
        vault.acquire(env, create=True)
        with vault.transaction() as tx:
            tx.content["n"] = tx.content.get("n", 0) + 1
    assert opened(path, material).snapshot().content == {"n": 2}


def test_importing_the_vault_costs_no_cryptography() -> None:
    """Cipher, Argon2id, keyring and subprocess come when they are needed: together they cost 200 ms."""
    loaded = peers.python(
        "import sys, git_credential_bitbucket.vault.vault, git_credential_bitbucket.vault.storage.file;"
        "print(*sys.modules)"
    )[0].split()
    heavy = {"cryptography", "keyring", "secretstorage", "subprocess", "shlex", "git_credential_bitbucket.bitbucket"}
    assert not heavy & set(loaded)


def test_repr_of_what_was_read_shows_no_secret(path: str, material: bytes) -> None:
    """A traceback or a debugger's print stays silent, of the storage's records and of the vault's content."""
    vault = opened(path, material)
    with vault.transaction() as tx:
        tx.content["n"] = "hush"
    assert "hush" in str(vault.snapshot().content)
    assert "hush" not in f"{vault.snapshot()!r} {vault.storage.read(vault.key)!r}"
