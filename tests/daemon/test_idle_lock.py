"""A daemon that forgets the key when nobody has asked for a while."""

import os
import socket
import time
from pathlib import Path

import pytest

from git_credential_bitbucket import config, paths
from tests.daemon.conftest import Start
from tests.daemon.daemons import cloud, eventually, read_all
from tests.fake_bitbucket import tokens

SETTING = "GIT_CREDENTIAL_BITBUCKET_LOCK_AFTER"


def test_idleness_locks_and_a_person_unlocks(start: Start, keyed_env: dict[str, str]) -> None:
    """The key leaves memory though it lies in a file; `get` is silent and says why; the daemon stays for it."""
    daemon = start(env={**keyed_env, SETTING: "1", "GIT_CREDENTIAL_BITBUCKET_IDLE_EXIT": "1"})
    secret = daemon.store("acme/app.git")
    with pytest.raises(AssertionError):
        eventually(lambda: daemon.process.poll() is not None, 2.5)
    assert daemon.secret("acme/app.git") is None
    told = daemon.told_about("why", cloud("acme/app.git"))
    assert told["state"] == "locked"
    assert "it was idle" in told["error"]
    assert told["hint"].endswith("git-credential-bitbucket unlock")
    assert daemon.told_about("unlock", b"person=1\n") == {"ok": "1"}
    assert daemon.secret("acme/app.git") == secret


def test_a_vault_that_may_not_be_read_does_not_end_a_locked_daemon(start: Start, keyed_env: dict[str, str]) -> None:
    """What it holds in memory only would be gone with it."""
    daemon = start(env={**keyed_env, SETTING: "1"})
    daemon.store("acme/app.git")
    assert daemon.told_about("lock") == {"ok": "1"}
    os.chmod(paths.vault_path(keyed_env), 0o644)
    with pytest.raises(AssertionError):
        eventually(lambda: daemon.process.poll() is not None, 2)


def test_whoever_is_still_connected_keeps_it_open(start: Start, keyed_env: dict[str, str]) -> None:
    """A question that is under way is answered with the key that was there when it came."""
    daemon = start(env={**keyed_env, SETTING: "1"})
    secret = daemon.store("acme/app.git")
    with daemon.connect() as asking:
        asking.sendall(b"action=get\n")
        time.sleep(1.8)  # nobody asks meanwhile, for that alone would put it off
        asking.sendall(b"timeout=900\n" + cloud("acme/app.git"))
        asking.shutdown(socket.SHUT_WR)
        assert f"password={secret}\n".encode() in read_all(asking)


def test_who_is_asked_does_not_lock(start: Start, keyed_env: dict[str, str]) -> None:
    """Each question begins the time anew."""
    daemon = start(env={**keyed_env, SETTING: "2"})
    secret = daemon.store("acme/app.git")
    with pytest.raises(AssertionError):
        eventually(lambda: daemon.secret("acme/app.git") != secret, 3)


def test_who_only_looks_on_does_not_put_it_off(start: Start, keyed_env: dict[str, str]) -> None:
    """Pings, a monitor's status, questions about nothing, garbage, and connections that ask nothing."""
    daemon = start(env={**keyed_env, SETTING: "2"})
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

    assert not is_locked()
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


_SLEPT = (
    "import os, sys; sys.path.append(sys.argv.pop(1))\n"
    "from git_credential_bitbucket.client.activate import third_party; third_party()\n"
    "from git_credential_bitbucket.daemon import lifecycle\n"
    "from git_credential_bitbucket.daemon.__main__ import main\n"
    "clock = lifecycle.clock\n"
    "lifecycle.clock = lambda: clock() + 7200 * os.path.exists({flag!r})\n"
    "sys.exit(main(sys.argv[1:]))"
)


def test_the_first_question_after_a_long_sleep_finds_it_locked(
    start: Start, keyed_env: dict[str, str], home: Path
) -> None:
    """The time that a machine sleeps counts, though no timer of the daemon's ran out meanwhile."""
    flag = home / "slept"
    daemon = start(env={**keyed_env, SETTING: "3600"}, enter=_SLEPT.format(flag=str(flag)))
    secret = daemon.store("acme/app.git")
    assert daemon.secret("acme/app.git") == secret
    assert daemon.ask("ping")  # by now the use before it is noted
    flag.touch()
    assert daemon.secret("acme/app.git") is None
    assert "it was idle" in daemon.told_about("why", cloud("acme/app.git"))["error"]


def test_an_unusable_setting_is_told_instead_of_ready(start: Start, keyed_env: dict[str, str]) -> None:
    """A number of seconds, or nothing."""
    assert start(env={**keyed_env, SETTING: "soon"}).told.startswith(
        f"error={config.describe(SETTING)} is not a number"
    )
