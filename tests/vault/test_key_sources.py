"""Where keys come from, who may bring one, and that none shows itself."""

import base64
import gc
import os
import pickle
import traceback
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from git_credential_bitbucket.errors import InsecurePath, KeyringUnavailable, SettingsError, VaultLocked, WrongKey
from git_credential_bitbucket.secret import Secret
from git_credential_bitbucket.vault import format as sealed
from git_credential_bitbucket.vault import key_sources
from git_credential_bitbucket.vault.key import Argon2, Key
from tests.vault import peers

CHEAP = Argon2(bytes(range(16)), 1, 1, 64)
"""A passphrase at a test's price."""


def header_for(key: Key) -> sealed.Header:
    """The header of a vault that `key` sealed."""
    return sealed.header_of(sealed.seal(key, b"{}", 1))


@settings(max_examples=50)
@given(material=st.binary(min_size=32, max_size=32), tail=st.sampled_from(["", "\n", " \r\n"]), bare=st.booleans())
def test_a_key_in_the_environment_is_base64(material: bytes, tail: str, bare: bool) -> None:
    """Plain and URL-safe base64, padded or not, with white space around, give the same 32 bytes."""
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        text = encode(material).decode()
        key = key_sources.from_environment({key_sources.KEY_VARIABLE: (text.rstrip("=") if bare else text) + tail})
        assert key is not None
        assert (key.id, key.source) == (Key(material, "file").id, "environment")


@pytest.mark.parametrize("text", ["short", "=" * 44, "A" * 42, "A" * 64, "é" * 43, "A" * 43 + "=x", "\udcff" * 43])
def test_what_is_no_key_is_refused_without_showing_it(text: str) -> None:
    """A wrong value is an error with the command that makes a right one; the value is not in it."""
    with pytest.raises(VaultLocked) as caught:
        key_sources.from_environment({key_sources.KEY_VARIABLE: text})
    assert "base64" in str(caught.value.hint)
    assert text not in f"{caught.value.cause}{caught.value.hint}"


def test_no_key_in_the_environment_is_none() -> None:
    assert key_sources.from_environment({}) is None
    assert key_sources.from_environment({key_sources.KEY_VARIABLE: "", key_sources.KEY_FILE_VARIABLE: ""}) is None


@pytest.mark.parametrize("shape", ["raw", "base64"])
def test_a_key_file_is_raw_or_base64(tmp_path: Path, shape: str) -> None:
    """32 bytes as they are, or base64 with a newline; a link to the file is followed, as Kubernetes mounts secrets."""
    material = os.urandom(32)
    path = tmp_path / "key"
    path.touch(0o600)
    path.write_bytes(material if shape == "raw" else base64.b64encode(material) + b"\n")
    (tmp_path / "link").symlink_to(path)
    key = key_sources.from_environment({key_sources.KEY_FILE_VARIABLE: str(tmp_path / "link")})
    assert key is not None
    assert (key.id, key.source) == (Key(material, "file").id, "file")


@pytest.mark.parametrize("content", [b"", b"x" * 31, b"x" * 33, b"x" * 5000])
def test_a_file_that_holds_no_key_is_refused(tmp_path: Path, content: bytes) -> None:
    """Anything but 32 bytes is told with the way to make some."""
    path = tmp_path / "key"
    path.touch(0o600)
    path.write_bytes(content)
    with pytest.raises(VaultLocked, match="does not contain a key"):
        key_sources.from_environment({key_sources.KEY_FILE_VARIABLE: str(path)})


def test_a_key_file_by_a_relative_path_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Git runs its helpers in the work tree: a repository would bring its own key."""
    (tmp_path / "key").write_bytes(b"k" * 32)
    (tmp_path / "key").chmod(0o600)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(VaultLocked, match="relative path") as told:
        key_sources.from_environment({key_sources.KEY_FILE_VARIABLE: "key"})
    assert told.value.hint == "write an absolute path"


def test_a_missing_key_file_is_locked_not_absent(tmp_path: Path) -> None:
    """A variable that names no file must not make the program go on without that key."""
    with pytest.raises(VaultLocked, match="no such file"):
        key_sources.from_environment({key_sources.KEY_FILE_VARIABLE: str(tmp_path / "none")})


@pytest.mark.parametrize(
    ("owner", "mode", "taken"),
    [
        (peers.NOBODY, 0o600, True),
        (peers.NOBODY, 0o400, True),
        (peers.NOBODY, 0o640, False),
        (peers.NOBODY, 0o604, False),
        (0, 0o440, True),
        (0, 0o460, False),
        (0, 0o444, False),
        (1, 0o440, False),
    ],
)
def test_a_key_file_is_ours_or_handed_to_us_by_root(home: Path, owner: int, mode: int, taken: bool) -> None:
    """Our own closed file, or root's that a group may read at most (orchestrators do that), and nothing else."""
    home.chmod(0o711)
    path = home / "key"
    path.write_bytes(os.urandom(32))
    if os.geteuid() == 0:
        os.chown(path, owner, peers.NOBODY)
    path.chmod(mode)
    told = peers.as_nobody(
        """
try: print(key_sources.from_environment({key_sources.KEY_FILE_VARIABLE: sys.argv[1]}).source)
except InsecurePath as exc: print("refused", exc.hint)
""",
        path,
    )
    assert told[0].startswith("file" if taken else "refused run: chmod 0400")


def test_a_fifo_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)
    with pytest.raises(InsecurePath):
        key_sources.from_environment({key_sources.KEY_FILE_VARIABLE: str(tmp_path / "fifo")})


def test_a_passphrase_gives_its_key_again() -> None:
    """The same passphrase and the header's numbers give the same key; another passphrase or salt another one."""
    key = key_sources.from_passphrase(Secret("correct horse"), CHEAP)
    assert key.argon2 == header_for(key).argon2 == CHEAP
    assert key_sources.from_passphrase(Secret("correct horse"), CHEAP).id == key.id
    assert key_sources.from_passphrase(Secret("correct hors"), CHEAP).id != key.id
    other = Argon2(os.urandom(16), 1, 1, 64)
    assert key_sources.from_passphrase(Secret("correct horse"), other).id != key.id


def test_keyboards_agree_on_accents() -> None:
    """An accented letter sent composed or decomposed is the same passphrase."""
    assert (
        key_sources.from_passphrase(Secret("caf\u00e9"), CHEAP).id
        == key_sources.from_passphrase(Secret("cafe\u0301"), CHEAP).id
    )


def test_a_new_passphrase_costs_what_rfc_9106_recommends() -> None:
    """A new vault's passphrase has a salt of its own and RFC 9106's memory-constrained costs, well above OWASP's."""
    one, two = (key_sources.from_passphrase(Secret("correct horse")).argon2 for _ in range(2))
    assert one is not None
    assert two is not None
    assert one.salt != two.salt
    assert (one.iterations, one.lanes, one.memory_kib) == (3, 4, 64 * 1024)


def test_an_empty_passphrase_is_refused() -> None:
    with pytest.raises(VaultLocked, match="empty"):
        key_sources.from_passphrase(Secret(""))


def test_the_id_tells_nothing_of_the_key() -> None:
    """Key ids share nothing with their keys or with one another, and are the same for the same key."""
    material = os.urandom(32)
    key = Key(material, "file")
    assert key.id == Key(material, "keyring").id
    assert key.id not in material
    assert key.id != Key(material[:-1] + bytes([material[-1] ^ 1]), "file").id


def test_a_key_does_not_show_itself() -> None:
    """Neither repr nor pickling nor a traceback gives the bytes away."""
    material = os.urandom(32)
    key = Key(material, "file")
    shown = f"{key} {key!r}"
    assert material.hex() not in shown
    assert base64.b64encode(material).decode() not in shown
    with pytest.raises(TypeError):
        pickle.dumps(key)
    told = _traceback_of_a_misfit(key)
    assert "Key(file" in told
    assert material.hex() not in told
    assert repr(material) not in told


def test_a_key_is_wiped_when_the_last_holder_lets_go() -> None:
    """The bytes are overwritten, not just dropped."""
    key = Key(os.urandom(32), "file")
    material = key._material
    del key
    gc.collect()
    assert material == bytes(32)


def test_a_key_travels_as_a_record() -> None:
    """What `to_record` writes gives the key back, with a passphrase's numbers; anything else is refused."""
    for key in (Key(os.urandom(32), "keyring"), key_sources.from_passphrase(Secret("correct horse"), CHEAP)):
        again = Key.from_record(key.to_record())
        assert (again.id, again.source, again.argon2) == (key.id, key.source, key.argon2)
    good = Key(os.urandom(32), "keyring").to_record()
    for wrong in ({}, {**good, "key": "x"}, {**good, "source": "passphrase"}, {**good, "source": "elsewhere"}):
        with pytest.raises(VaultLocked, match="not a vault key"):
            Key.from_record(wrong)


def test_the_environment_comes_before_the_file(tmp_path: Path) -> None:
    env = {
        key_sources.KEY_VARIABLE: base64.b64encode(bytes(32)).decode(),
        key_sources.KEY_FILE_VARIABLE: str(tmp_path / "none"),
    }
    key = key_sources.from_environment(env)
    assert key is not None
    assert key.source == "environment"


def test_a_vault_to_be_takes_what_is_given() -> None:
    """Without a vault the environment's key is the one; without any, there is nothing to open."""
    assert (
        key_sources.obtain({key_sources.KEY_VARIABLE: base64.b64encode(bytes(32)).decode()}, None).source
        == "environment"
    )
    with pytest.raises(VaultLocked, match="no vault yet"):
        key_sources.obtain({}, None)


@pytest.mark.parametrize(
    ("source", "env", "error", "said"),
    [
        ("environment", {}, VaultLocked, key_sources.KEY_VARIABLE),
        ("file", {}, VaultLocked, key_sources.KEY_FILE_VARIABLE),
        ("passphrase", {}, VaultLocked, "passphrase"),
        ("environment", {key_sources.KEY_VARIABLE: "A" * 43}, WrongKey, key_sources.KEY_VARIABLE),
        ("passphrase", {key_sources.KEY_VARIABLE: "A" * 43}, WrongKey, key_sources.KEY_VARIABLE),
        ("keyring", {"GIT_CREDENTIAL_BITBUCKET_KEYRING": "off"}, KeyringUnavailable, "KEYRING"),
        ("keyring", {"GIT_CREDENTIAL_BITBUCKET_KEYRING": "0"}, KeyringUnavailable, "KEYRING"),
        ("keyring", {"GIT_CREDENTIAL_BITBUCKET_KEYRING": "never"}, SettingsError, "KEYRING .* is neither on nor off"),
        (
            "keyring",
            {"GIT_CREDENTIAL_BITBUCKET_KEYRING": "OFF", key_sources.KEY_VARIABLE: "A" * 43},
            KeyringUnavailable,
            "KEYRING",
        ),
    ],
)
def test_a_missing_key_is_told_by_its_source(
    source: str, env: Mapping[str, str], error: type[Exception], said: str
) -> None:
    """The error says where the key was to come from, and there is a hint with every one."""
    key = Key(os.urandom(32), source, CHEAP if source == "passphrase" else None)
    with pytest.raises(error, match=said) as caught:
        key_sources.obtain(env, header_for(key))
    assert getattr(caught.value, "hint", None)


def _traceback_of_a_misfit(key: Key) -> str:
    with pytest.raises(WrongKey) as caught:
        sealed.unseal(key, sealed.seal(Key(os.urandom(32), "file"), b"{}", 1))
    return "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
