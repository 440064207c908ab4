"""A daemon that forgets the key when nobody has asked for a while."""

import os
import socket
from pathlib import Path

import pytest

from git_credential_bitbucket import config, paths
from tests.daemon.conftest import A_MOMENT_S, Clock, Start
from tests.daemon.daemons import Daemon, cloud, eventually, read_all
from tests.fake_bitbucket import tokens

SETTING = "GIT_CREDENTIAL_BITBUCKET_LOCK_AFTER"


@pytest.fixture
def daemon(start: Start, keyed_env: dict[str, str], clock: Clock) -> Daemon:
    """A daemon that locks after an hour without use."""
    return start(env={**keyed_env, SETTING: "3600"}, enter=clock.enter)


def test_idleness_locks_and_a_person_unlocks(start: Start, keyed_env: dict[str, str], clock: Clock) -> None:
    """The key leaves memory though it lies in a file; `get` is silent and says why; the daemon stays for it."""
    env = {**keyed_env, SETTING: "3600", "GIT_CREDENTIAL_BITBUCKET_IDLE_EXIT": "3600"}
    daemon = start(env=env, enter=clock.enter)
    secret = daemon.store("acme/app.git")
    clock.turn_on(daemon, 3600)
    with pytest.raises(AssertionError):
        eventually(lambda: daemon.process.poll() is not None, A_MOMENT_S)
    assert daemon.secret("acme/app.git") is None
    told = daemon.told_about("why", cloud("acme/app.git"))
    assert told["state"] == "locked"
    assert "it was idle" in told["error"]
    assert told["hint"].endswith("git-credential-bitbucket unlock")
    assert daemon.told_about("unlock", b"person=1\n") == {"ok": "1"}
    assert daemon.secret("acme/app.git") == secret


def test_a_vault_that_may_not_be_read_does_not_end_a_locked_daemon(daemon: Daemon) -> None:
    """What it holds in memory only would be gone with it."""
    daemon.store("acme/app.git")
    assert daemon.told_about("lock") == {"ok": "1"}
    os.chmod(paths.vault_path(daemon.env), 0o644)
    with pytest.raises(AssertionError):
        eventually(lambda: daemon.process.poll() is not None, A_MOMENT_S)


def test_whoever_is_still_connected_keeps_it_open(daemon: Daemon, clock: Clock) -> None:
    """A question that is under way is answered with the key that was there when it came."""
    secret = daemon.store("acme/app.git")
    with daemon.connect() as asking:
        asking.sendall(b"action=get\n")
        eventually(lambda: int(daemon.told_about("ping")["clients"]) > 1)
        clock.turn_on(daemon, 3600)
        assert daemon.ask("ping")  # it looks at the time now
        asking.sendall(b"timeout=900\n" + cloud("acme/app.git"))
        asking.shutdown(socket.SHUT_WR)
        assert f"password={secret}\n".encode() in read_all(asking)


def test_who_is_asked_does_not_lock(daemon: Daemon, clock: Clock) -> None:
    """Each question begins the time anew."""
    secret = daemon.store("acme/app.git")
    for _ in range(3):
        clock.turn_on(daemon, 2400)
        assert daemon.secret("acme/app.git") == secret


def test_who_only_looks_on_does_not_put_it_off(daemon: Daemon, clock: Clock) -> None:
    """Pings, a monitor's status, questions about nothing, garbage, and connections that ask nothing."""
    daemon.store("acme/app.git")

    def is_locked() -> bool:
        for action, body in (
            ("ping", b""),
            ("status", b""),
            ("get", b"garbage\n"),
            ("get", b"protocol=https\nhost=example.com\n"),
        ):
            daemon.ask(action, body)
        with daemon.connect():
            pass
        with daemon.connect() as silent:
            silent.sendall(b"action=get")
            return daemon.told_about("why", cloud("acme/app.git"))["state"] == "locked"

    assert not is_locked()  # from now on the daemon knows git's configuration
    clock.turn_on(daemon, 2400)
    assert not is_locked()
    clock.turn_on(daemon, 1200)
    eventually(is_locked)
    assert daemon.secret("acme/app.git") is None


def test_a_locked_daemon_has_no_copy_left(start: Start, keyed_env: dict[str, str]) -> None:
    """Neither of the key nor of a token, in use or not, in the memory of the process that goes on."""
    daemon = start()
    tokens_there = [tokens.access_token() for _ in range(3)]
    for number, token in enumerate(tokens_there):
        daemon.store(f"acme/app{number}", token)
        assert daemon.secret(f"acme/app{number}") == token
    secrets = [Path(keyed_env["GIT_CREDENTIAL_BITBUCKET_KEY_FILE"]).read_bytes(), *map(str.encode, tokens_there)]

    def found() -> int:
        return memory_of(int(daemon.told_about("ping")["pid"]), secrets)

    try:
        assert found() > 0
    except PermissionError:
        pytest.skip("only root can look into a daemon")
    assert daemon.told_about("lock") == {"ok": "1"}
    eventually(lambda: found() == 0)
    assert daemon.told_about("why", cloud("acme/app0"))["state"] == "locked"
    assert daemon.told_about("unlock", b"person=1\n") == {"ok": "1"}
    assert daemon.secret("acme/app0") == tokens_there[0]


def memory_of(pid: int, secrets: list[bytes]) -> int:
    """How often any of `secrets` is in the memory of a process; 1 where that changes just now."""
    count = 0
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        try:
            for line in maps:
                words = line.split()
                if words[1].startswith("rw"):
                    start, end = (int(word, 16) for word in words[0].split("-"))
                    memory.seek(start)
                    count += sum(map(memory.read(end - start).count, secrets))
        except OSError:  # it was given back a moment ago, or the process has ended: look again
            return 1
    return count


def test_the_first_question_after_a_long_sleep_finds_it_locked(daemon: Daemon, clock: Clock) -> None:
    """The time that a machine sleeps counts, though no timer of the daemon's ran out meanwhile."""
    secret = daemon.store("acme/app.git")
    assert daemon.secret("acme/app.git") == secret
    clock.turn_on(daemon, 7200)
    assert daemon.secret("acme/app.git") is None
    assert "it was idle" in daemon.told_about("why", cloud("acme/app.git"))["error"]


def test_an_unusable_setting_is_told_instead_of_ready(start: Start, keyed_env: dict[str, str]) -> None:
    """A number of seconds, or nothing."""
    assert start(env={**keyed_env, SETTING: "soon"}).told.startswith(
        f"error={config.describe(SETTING)} is not a number"
    )
