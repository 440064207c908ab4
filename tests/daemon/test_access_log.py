"""The daemon's access log: what stands in it, what never does, and that its loss stops nothing."""

import fcntl
import json
import os
from pathlib import Path
from typing import Any

import pytest

from git_credential_bitbucket import access_log, config
from tests.daemon.conftest import Start
from tests.daemon.daemons import Daemon, cloud
from tests.vault import peers


@pytest.fixture
def logged(keyed_env: dict[str, str], home: Path) -> dict[str, str]:
    """An environment with the log switched on."""
    return {**keyed_env, access_log.SETTING: str(home / "log" / "log.jsonl")}


def lines_of(daemon: Daemon) -> list[dict[str, Any]]:
    """What a daemon wrote in its life."""
    daemon.end()
    return list(access_log.read(daemon.env[access_log.SETTING]))


def test_each_operation_leaves_a_line(start: Start, logged: dict[str, str]) -> None:
    """Operation, outcome, place, credential, and who asked; the secret in none of them."""
    daemon = start(env=logged)
    secret = daemon.store("acme/app.git")
    assert daemon.secret("acme/app.git") == secret
    assert daemon.secret("elsewhere/app.git") is None
    daemon.ask("erase", cloud("acme/app.git") + f"username=x\npassword={secret}\n".encode())
    daemon.ask("get", b"protocol=https\nprotocol=https\n")
    daemon.ask("status")
    lines = lines_of(daemon)
    first, *lines = lines
    assert (first["operation"], first["outcome"]) == ("get", "nothing")
    assert [(one["operation"], one["outcome"]) for one in lines] == [
        ("store", "done"),
        ("get", "given"),
        ("get", "nothing"),
        ("erase", "done"),
        ("get", "refused"),
    ]
    assert lines[0]["credential"] == lines[1]["credential"] == lines[3]["credential"]
    assert lines[1]["scope"] == "https://bitbucket.org/acme/app"
    assert "credential" not in lines[2]
    assert all((one["uid"], one["pid"]) == (os.getuid(), os.getpid()) for one in lines)
    assert all(one["program"] and one["time"].endswith("Z") for one in lines)
    assert secret not in Path(logged[access_log.SETTING]).read_text()
    assert os.stat(logged[access_log.SETTING]).st_mode & 0o777 == 0o600


def test_who_is_watched_does_not_choose_what_is_written(start: Start, logged: dict[str, str]) -> None:
    """An id in a request of git's names nothing, and no name in it is longer than a name."""
    daemon = start(env=logged)
    secret = daemon.store("acme/app.git")
    daemon.store("acme/harmless.git")
    long = b"\x80" * 60_000
    said = [line.partition("=")[2] for line in daemon.ask("status").decode().split("\n") if "harmless" in line]
    other = json.loads(said[0])["id"]
    for named in (other.encode(), long):
        answer = daemon.ask("get", cloud("acme/app.git") + b"id=%b\nreplaces=%b\n" % (named, named))
        assert f"password={secret}\n".encode() in answer
    daemon.ask("get", cloud() + b"path=%b\n" % long)
    _, stored, _, _, *asked, elsewhere = lines_of(daemon)
    assert [one["credential"] for one in asked] == [stored["credential"]] * 2
    assert not [one for one in asked if "replaces" in one]
    assert len(elsewhere["scope"]) == 1000


def test_without_the_setting_nothing_is_written(start: Start, home: Path) -> None:
    daemon = start()
    daemon.store("acme/app.git")
    daemon.end()
    assert not list(home.rglob("log.jsonl"))


def test_an_unusable_setting_is_told_instead_of_ready(start: Start, keyed_env: dict[str, str]) -> None:
    """A relative path names no place that a daemon could know."""
    daemon = start(env={**keyed_env, access_log.SETTING: "here.jsonl"})
    assert daemon.told.startswith(f"error={config.describe(access_log.SETTING)} is neither")


def test_a_full_disk_stops_no_answer(start: Start, logged: dict[str, str], home: Path) -> None:
    with peers.mounted(home / "log", "size=4k") as small:
        (small / "rest").write_bytes(bytes(4096))
        daemon = start(env=logged)
        secret = daemon.store("acme/app.git")
        for _ in range(200):
            assert daemon.secret("acme/app.git") == secret
        daemon.end()


def test_a_log_that_hangs_stops_no_answer(start: Start, logged: dict[str, str], home: Path) -> None:
    """Somebody holds the log's lock for ever: answers go on, the daemon leaves in time."""
    (home / "log").mkdir(mode=0o700)
    descriptor = os.open(logged[access_log.SETTING], os.O_CREAT | os.O_WRONLY, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    daemon = start(env=logged)
    secret = daemon.store("acme/app.git")
    for _ in range(access_log.MAX_WAITING + 100):
        assert daemon.secret("acme/app.git") == secret
    assert daemon.ask("exit") == b"ok=1\n"
    assert daemon.ended() == 0
    os.close(descriptor)
