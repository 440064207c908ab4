"""The key in a real gnome-keyring on a private D-Bus: kept, locked, denied, hanging, absent, and gone."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from git_credential_bitbucket.errors import KeyringUnavailable, VaultLocked, VaultUnwritable
from git_credential_bitbucket.vault import key_sources, keyring_key
from git_credential_bitbucket.vault.key import Key
from git_credential_bitbucket.vault.storage.file import FileStorage
from git_credential_bitbucket.vault.vault import Vault
from tests.vault import peers

OFF = {"GIT_CREDENTIAL_BITBUCKET_KEYRING": "off"}
NO_OTHER = "keyring.backends.SecretService.Keyring"


@pytest.fixture
def session(home: Path) -> Iterator[peers.KeyringSession]:
    """A keyring that is unlocked, as after a login to the desktop."""
    with peers.KeyringSession(home) as session:
        yield session


@pytest.fixture
def path(home: Path) -> str:
    """The vault's path."""
    return str(home / "gcb" / "vault")


def reason_of(caught: "pytest.ExceptionInfo[KeyringUnavailable]") -> str:
    """The reason; an error without a cure fails the test."""
    assert caught.value.hint
    return caught.value.reason


def test_a_key_is_kept_and_found(session: peers.KeyringSession) -> None:
    """A key made in the keyring is fetched by its id, by another process, and removed by it."""
    one, two = keyring_key.make(session.env), keyring_key.make(session.env)
    assert one.id != two.id
    for key in (one, two):
        again = keyring_key.fetch(session.env, key.id)
        assert (again.id, again.source) == (key.id, "keyring")
    keyring_key.remove(session.env, one.id)
    keyring_key.remove(session.env, one.id)
    with pytest.raises(VaultLocked, match="no key for this vault"):
        keyring_key.fetch(session.env, one.id)
    assert keyring_key.fetch(session.env, two.id).id == two.id
    assert all(one.id.hex() not in label for label in session.items())


def test_a_busy_bus_is_waited_for(session: peers.KeyringSession) -> None:
    """Longer than the second that the library would give it to let us in."""
    key = keyring_key.make(session.env)
    session.bus.send_signal(signal.SIGSTOP)
    going_on = threading.Timer(2, session.bus.send_signal, (signal.SIGCONT,))
    going_on.start()
    try:
        assert keyring_key.fetch(session.env, key.id, unlock=True).id == key.id
    finally:
        going_on.join()


def test_the_key_shows_nowhere(session: peers.KeyringSession, tmp_path: Path) -> None:
    """The child gets and gives the key by pipe: neither its arguments nor its environment hold it."""
    seen = tmp_path / "seen"
    spy = tmp_path / "python"
    spy.write_text(f'#!/bin/sh\ntr "\\0" " " </proc/$$/cmdline >>{seen}\nenv >>{seen}\nexec {sys.executable} "$@"\n')
    spy.chmod(0o700)
    real, sys.executable = sys.executable, str(spy)
    try:
        key = keyring_key.make(session.env)
    finally:
        sys.executable = real
    told = seen.read_text()
    assert "keyring_worker" in told
    assert key.to_record()["key"] not in told
    assert key.id.hex() not in told


def test_a_locked_keyring_is_told_without_a_dialogue(session: peers.KeyringSession) -> None:
    """A locked collection answers `locked` at once; nobody was asked to unlock it, and afterwards it works again."""
    key = keyring_key.make(session.env)
    session.lock()
    with session.watching_prompts() as prompts:
        with pytest.raises(KeyringUnavailable) as caught:
            keyring_key.fetch(session.env, key.id)
        with pytest.raises(KeyringUnavailable):
            keyring_key.make(session.env)
        assert prompts() == 0
    assert reason_of(caught) == "locked"
    assert "unlock" in str(caught.value.hint)
    session.unlock()
    assert keyring_key.fetch(session.env, key.id).id == key.id


def test_a_dismissed_dialogue_is_denied(session: peers.KeyringSession) -> None:
    """`unlock` asks for the dialogue; where it is dismissed (here nothing can show it) the answer is `denied`."""
    key = keyring_key.make(session.env)
    session.lock()
    with session.watching_prompts() as prompts:
        with pytest.raises(KeyringUnavailable) as caught:
            keyring_key.fetch(session.env, key.id, unlock=True)
        assert prompts() == 1
    assert reason_of(caught) == "denied"


def test_a_bus_that_forbids_it_is_denied(home: Path) -> None:
    """A D-Bus policy (a sandbox's, say) that keeps us from the service is `denied`, not a hang and not a crash."""
    with peers.KeyringSession(home, policy=peers.DENY_SECRETS) as session:
        for unlock in (False, True):
            with pytest.raises(KeyringUnavailable) as caught:
                keyring_key.fetch(session.env, bytes(16), unlock=unlock)
            assert reason_of(caught) == "denied"


def test_a_hanging_keyring_is_given_three_seconds(session: peers.KeyringSession) -> None:
    """A stopped keyring daemon costs 3 seconds, its child is killed, and other threads go on meanwhile."""
    key = keyring_key.make(session.env)
    assert session.keyring is not None
    session.keyring.send_signal(signal.SIGSTOP)
    ticks: list[float] = []
    done = threading.Event()

    def tick() -> None:
        while not done.wait(0.1):
            ticks.append(time.monotonic())

    ticking = threading.Thread(target=tick)
    ticking.start()
    began = time.monotonic()
    with pytest.raises(KeyringUnavailable) as caught:
        keyring_key.fetch(session.env, key.id)
    took = time.monotonic() - began
    done.set()
    ticking.join()
    session.keyring.send_signal(signal.SIGCONT)
    assert reason_of(caught) == "hanging"
    assert keyring_key.PROBE_TIMEOUT_S <= took < keyring_key.PROBE_TIMEOUT_S + 30
    assert len(ticks) > 3
    children = subprocess.run(
        ["pgrep", "-P", str(os.getpid()), "-f", "keyring_worker"], capture_output=True, check=False
    )
    assert children.stdout == b""


def test_no_keyring_is_absent_and_a_plain_one_refused(home: Path) -> None:
    """Without a service: absent. With only keyrings.alt's plain-text file: refused by name, whatever its priority."""
    with peers.KeyringSession(home, keyring=False) as session:
        for backend, reason in (
            (NO_OTHER, "absent"),
            ("keyring.backends.null.Keyring", "absent"),
            ("keyring.backends.fail.Keyring", "absent"),
            ("no.such.Backend", "absent"),
            ("keyrings.alt.file.PlaintextKeyring", "plaintext"),
            (None, "plaintext"),
        ):
            chosen = {"PYTHON_KEYRING_BACKEND": backend} if backend else {}
            with pytest.raises(KeyringUnavailable) as caught:
                keyring_key.make({**session.env, **chosen})
            assert reason_of(caught) == reason, backend
    assert not [name for _, _, names in os.walk(home) for name in names if "pass" in name.lower()]


def test_a_chainer_is_looked_into(session: peers.KeyringSession) -> None:
    """With a plain-text back end chained behind the keyring, the key goes to the keyring and to nothing else."""
    chained = {**session.env, "PYTHON_KEYRING_BACKEND": "keyring.backends.chainer.ChainerBackend"}
    key = keyring_key.make(chained)
    assert any(key.id.hex() in label for label in session.items())
    session.lock()
    with pytest.raises(KeyringUnavailable) as caught:
        keyring_key.make(chained)
    assert reason_of(caught) == "locked"


def test_a_keyring_that_forgets_at_log_out_is_refused(session: peers.KeyringSession) -> None:
    """A default that lives in memory only would lose the key, and with it the vault, at the next logout."""
    session.make_session_collection_the_default()
    for ask in (keyring_key.make, keyring_key.open_up):
        with pytest.raises(KeyringUnavailable, match="deleted at logout") as caught:
            ask(session.env)
        assert reason_of(caught) == "absent"


def test_switched_off_is_not_even_asked(session: peers.KeyringSession) -> None:
    with pytest.raises(KeyringUnavailable) as caught:
        keyring_key.fetch({**session.env, **OFF}, bytes(16))
    assert reason_of(caught) == "disabled"


def test_the_bus_is_found_where_systemd_puts_it(session: peers.KeyringSession) -> None:
    """Cron and ssh have no DBUS_SESSION_BUS_ADDRESS; the socket in XDG_RUNTIME_DIR serves."""
    env = {name: value for name, value in session.env.items() if name != "DBUS_SESSION_BUS_ADDRESS"}
    key = keyring_key.make(env)
    assert keyring_key.fetch(env, key.id).id == key.id


def test_an_isolated_python_without_site_can_ask(session: peers.KeyringSession, path: str) -> None:
    """From a Python started with -I -S, as the front end's, with a hostile module in the working directory."""
    hostile = Path(path).parents[1] / "work"
    for name in ("json.py", "keyring.py", "secretstorage.py"):
        (hostile / name).write_text("raise SystemExit('hostile')")
    code = f"""
import sys
sys.path[:] = {[entry for entry in sys.path if entry.startswith("/")]!r}
from git_credential_bitbucket.vault import keyring_key
env = {session.env!r}
print(keyring_key.fetch(env, keyring_key.make(env).id).source)
"""
    answer = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code],
        cwd=hostile,
        env={"PYTHONPATH": str(hostile)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout == "keyring\n"


def test_a_vault_is_founded_with_a_key_in_the_keyring(session: peers.KeyringSession, path: str) -> None:
    """`acquire` makes key and vault; two at once end with one key; the next process finds it by itself."""
    vaults = [Vault(FileStorage(path)) for _ in range(2)]
    threads = [threading.Thread(target=vault.acquire, args=(session.env,), kwargs={"create": True}) for vault in vaults]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for n, vault in enumerate(vaults):
        with vault.transaction() as tx:
            tx.content[str(n)] = n
    later = Vault(FileStorage(path))
    later.acquire(session.env)
    assert later.snapshot().content == {"0": 0, "1": 1}
    assert len(session.items()) == 1


def test_nothing_is_founded_without_leave(session: peers.KeyringSession, path: str) -> None:
    """Without `create` an absent vault stays absent, and the keyring empty."""
    with pytest.raises(VaultLocked, match="no vault yet"):
        Vault(FileStorage(path)).acquire(session.env)
    session.lock()
    with pytest.raises(KeyringUnavailable):
        Vault(FileStorage(path)).acquire(session.env, create=True)
    session.unlock()
    assert session.items() == []
    assert not os.path.exists(path)


def test_a_vault_that_cannot_be_written_leaves_no_key_behind(session: peers.KeyringSession, home: Path) -> None:
    """On a full disk the new key is taken out of the keyring again."""
    with peers.mounted(home / "small", "size=64k") as small:
        with FileStorage(str(small / "vault")).lock():
            pass  # the lock's file needs no room when it is there
        subprocess.run(["dd", "if=/dev/zero", f"of={small}/filler"], check=False, capture_output=True)
        with pytest.raises(VaultUnwritable):
            Vault(FileStorage(str(small / "vault"))).acquire(session.env, create=True)
    assert session.items() == []


def test_an_open_vault_survives_the_keyring(session: peers.KeyringSession, path: str) -> None:
    """Locked, then gone after start: who has the key goes on, who has not is told, and nothing is moved or written."""
    vault = Vault(FileStorage(path))
    vault.acquire(session.env, create=True)
    with vault.transaction() as tx:
        tx.content["a"] = 1
    blob = Path(path).read_bytes()
    assert session.keyring is not None
    for trouble, reasons in ((session.lock, {"locked"}), (session.keyring.kill, {"absent"})):
        trouble()
        session.keyring.wait() if trouble == session.keyring.kill else None
        assert vault.snapshot().content == {"a": 1}
        late = Vault(FileStorage(path))
        with pytest.raises(KeyringUnavailable) as caught:
            late.acquire({**session.env, "PYTHON_KEYRING_BACKEND": NO_OTHER})
        assert reason_of(caught) in reasons
        assert late.state == "locked"
    assert Path(path).read_bytes() == blob


def test_rekey_from_the_environment_to_the_keyring_and_back(session: peers.KeyringSession, path: str) -> None:
    """The vault moves to a key in the keyring, another in the keyring, and out again; the old ones can be removed."""
    mine = Key(os.urandom(32), "environment")
    env = {**session.env, key_sources.KEY_VARIABLE: mine.to_record()["key"]}
    vault = Vault(FileStorage(path))
    vault.acquire(env, create=True)
    with vault.transaction() as tx:
        tx.content["a"] = 1
    first, second = keyring_key.make(session.env), keyring_key.make(session.env)
    vault.rekey(first)
    vault.rekey(second)
    keyring_key.remove(session.env, first.id)
    late = Vault(FileStorage(path))
    late.acquire(env)  # the variable's key is no longer the vault's: the keyring's is looked for
    assert late.snapshot().content == {"a": 1}
    late.rekey(Key.from_record(mine.to_record()))
    keyring_key.remove(session.env, second.id)
    last = Vault(FileStorage(path))
    last.acquire({**env, **OFF})
    assert last.snapshot().content == {"a": 1}


def test_an_item_that_somebody_changed_is_told(session: peers.KeyringSession) -> None:
    """An item under the right name with another content is an error that names it, and not a key."""
    key = keyring_key.make(session.env)
    keyring_key._ask(session.env, "set", key.id, unlock=False, text="not a key")
    with pytest.raises(VaultLocked, match="is not its key"):
        keyring_key.fetch(session.env, key.id)
