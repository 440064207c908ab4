"""Killed anywhere, the vault is whole: at every named point of a write, a mending and a rekey, and at random."""

import os
import random
from pathlib import Path

import pytest

from git_credential_bitbucket.vault.format import seal
from git_credential_bitbucket.vault.key import Key
from git_credential_bitbucket.vault.storage.file import STEPS, FileStorage
from git_credential_bitbucket.vault.vault import Vault
from tests.vault import peers

CHILD = """
import base64, os, signal, sys
from git_credential_bitbucket.vault.key import Key
from git_credential_bitbucket.vault.storage.file import FileStorage
from git_credential_bitbucket.vault.vault import Vault
path, point, nth, work = sys.argv[1:]
old, new = (Key(base64.b64decode(sys.stdin.readline()), "file") for _ in range(2))
left = int(nth)
def step(name):
    global left
    if name == point:
        left -= 1
        if left == 0: os.kill(os.getpid(), signal.SIGKILL)
vault = Vault(FileStorage(path, step=step), old)
if work == "rekey":
    vault.rekey(new)
elif work == "count":
    while True:
        with vault.transaction() as tx: tx.content["n"] = n = tx.content.get("n", 0) + 1
        print(n, flush=True)
else:
    with vault.transaction() as tx: tx.content["n"] = tx.content.get("n", 0) + 1
print("survived", flush=True)
"""
WRITE = [step for step in STEPS if step != "damaged-kept"]


@pytest.fixture
def materials() -> tuple[bytes, bytes]:
    """The bytes of an old and a new key."""
    return os.urandom(32), os.urandom(32)


def opened(path: str, material: bytes) -> Vault:
    """A vault as the next process finds it."""
    return Vault(FileStorage(path, lock_timeout_s=5), Key(material, "file"))


def prepared(path: str, material: bytes) -> Vault:
    """A vault with two generations: n = 1 and n = 2."""
    vault = opened(path, material)
    for n in (1, 2):
        with vault.transaction() as tx:
            tx.content["n"] = n
    return vault


def killed(path: str, materials: tuple[bytes, bytes], point: str, nth: int, work: str) -> None:
    """Do `work` in a process that kills itself when it passes `point` for the `nth` time."""
    with peers.running(CHILD, path, point, nth, work) as child:
        peers.give(child, *(Key(material, "file").to_record()["key"] for material in materials))
        assert child.stdout is not None
        assert child.stdout.read() == ""
        assert child.wait() == -9


def check_whole(path: str, material: bytes, expected: set[int]) -> None:
    """The vault opens with one of the expected numbers, its next write goes through, and no remains are left."""
    n = opened(path, material).snapshot().content["n"]
    assert n in expected
    vault = opened(path, material)
    with vault.transaction() as tx:
        n = tx.content["n"]  # a killed write that was whole is finished by the next
        tx.content["n"] = 100
    assert n in expected
    assert vault.snapshot().content == {"n": 100}
    names = {name for name in os.listdir(os.path.dirname(path)) if ".damaged-" not in name}
    assert names == {"vault", "vault.previous", "vault.lock"}
    os.truncate(path, 10)
    assert opened(path, material).snapshot().content["n"] == n


@pytest.mark.parametrize("point", WRITE)
def test_killed_during_a_write(path: str, materials: tuple[bytes, bytes], point: str) -> None:
    """Before the rename the old content is read, after it the new; and the next writer finishes what was whole."""
    prepared(path, materials[0])
    killed(path, materials, point, 1, "write")
    renamed = point in ("renamed", "dir-synced")
    assert opened(path, materials[0]).snapshot().content["n"] == (3 if renamed else 2)
    with opened(path, materials[0]).transaction() as tx:
        assert tx.content["n"] == (2 if point == "tmp-created" else 3)
    check_whole(path, materials[0], {2, 3})


@pytest.mark.parametrize("left", [b"", b"half", bytes(500), "older", "foreign"])
def test_what_is_not_a_whole_later_generation_is_not_finished(
    path: str, materials: tuple[bytes, bytes], left: bytes | str
) -> None:
    """Half a write, reserved space, an older generation and another key's are remains: the next write replaces them."""
    vault = prepared(path, materials[0])
    if left == "older":
        left = Path(f"{path}.previous").read_bytes()
    elif left == "foreign":
        left = seal(Key(materials[1], "file"), b'{"n":9}', 99, recovered=False)
    assert isinstance(left, bytes)
    descriptor = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.write(descriptor, left)
    os.close(descriptor)
    with vault.transaction() as tx:
        assert tx.content["n"] == 2
    check_whole(path, materials[0], {2})


@pytest.mark.parametrize("point", WRITE)
def test_killed_during_the_first_write(path: str, materials: tuple[bytes, bytes], point: str) -> None:
    """Killed while the vault is made, it is absent or there; never in between."""
    killed(path, materials, point, 1, "write") if point != "previous-linked" else None
    content = opened(path, materials[0]).snapshot().content
    assert content == ({"n": 1} if point in ("renamed", "dir-synced") else {})


@pytest.mark.parametrize("point", STEPS)
def test_killed_while_damage_is_repaired(path: str, materials: tuple[bytes, bytes], point: str) -> None:
    """The damaged file is kept, the previous generation survives, and the next process mends it."""
    prepared(path, materials[0])
    blob = bytearray(Path(path).read_bytes())
    blob[-1] ^= 1
    Path(path).write_bytes(blob)
    killed(path, materials, point, 1, "write")
    kept = [entry for entry in Path(path).parent.iterdir() if ".damaged-" in entry.name]
    assert [entry.read_bytes() for entry in kept] == [blob]
    snapshot = opened(path, materials[0]).snapshot()
    assert snapshot.recovered
    check_whole(path, materials[0], {1, 2})


@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("point", WRITE)
def test_killed_during_a_rekey(path: str, materials: tuple[bytes, bytes], point: str, nth: int) -> None:
    """One of the two keys opens the vault, whole, and the previous generation opens with that or with the old one."""
    prepared(path, materials[0])
    killed(path, materials, point, nth, "rekey")
    header = opened(path, materials[0]).header()
    assert header is not None
    old, new = materials
    is_new = header.key_id == Key(new, "file").id
    assert is_new == (nth == 2 or point in ("renamed", "dir-synced"))
    vault = opened(path, new if is_new else old)
    assert vault.snapshot().content == {"n": 2}
    vault.rekey(Key(new, "file"))  # done again, as a person would, it comes to its end
    check_whole(path, new, {2})


def test_killed_at_random(path: str, materials: tuple[bytes, bytes]) -> None:
    """Whatever was reported as written is there after a kill at any moment; at most the unreported one more."""
    rng = random.Random(20261122)
    reported = 0
    for _ in range(12):
        with peers.running(CHILD, path, "none", 1, "count") as child:
            peers.give(child, *(Key(material, "file").to_record()["key"] for material in materials))
            assert child.stdout is not None
            for _ in range(rng.randrange(1, 25)):
                reported = int(peers.line_of(child))
            child.kill()
            rest = child.stdout.read().split("\n")[:-1]
            reported = int(rest[-1]) if rest else reported
        snapshot = opened(path, materials[0]).snapshot()
        assert snapshot.content["n"] in (reported, reported + 1)
        assert not snapshot.recovered
