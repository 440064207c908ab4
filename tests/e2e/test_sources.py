"""A token that is rotated elsewhere, under gits that fetch: no command is lost, and nothing of it is on disk."""

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e.leaks import Needles
from tests.e2e.sandbox import Machine, either_way, machine_git
from tests.fake_bitbucket.client import FakeBitbucket

ROUNDS, GITS = 3, 6


class Source:
    """A secret manager that has a token of Bitbucket's: a file, and a command that prints it."""

    def __init__(self, machine: Machine, bitbucket: FakeBitbucket, folder: Path) -> None:
        self.bitbucket, self.file, self.asked, self.token = bitbucket, folder / "token", folder / "asked", ""
        self.program = folder / "broker"
        self.program.write_text(f"#!/bin/sh\necho >> {self.asked}\ncat {self.file}\n")
        self.program.chmod(0o755)
        self.references = {"file": f"file:{self.file}", "command": f"exec:{self.program}"}
        self.machine = machine
        self.rotate()

    def rotate(self) -> str:
        """Put a new token in the place of the old one, as secret managers do: at once. Returns the old one."""
        old, self.token = self.token, self.bitbucket.issue_api_token()
        self.file.with_name("new").write_text(self.token)
        os.replace(self.file.with_name("new"), self.file)
        return old

    def log_in(self, kind: str) -> None:
        """Have it used for the stand-in."""
        words = ["login", "--api-token", "--from", self.references[kind], "--host", self.bitbucket.url]
        self.machine.helper(*words)
        self.asked.write_text("")


def fetched_by_many(machine: Machine, url: str, meanwhile: Callable[[], object] = lambda: None) -> list[str]:
    """What so many gits at once say on standard error; each of them succeeds, whatever is done `meanwhile`."""
    with ThreadPoolExecutor(GITS) as pool:
        running = [pool.submit(machine.git, "ls-remote", url) for _ in range(GITS)]
        meanwhile()
        return [one.result().stderr for one in running]


@pytest.fixture
def source(bitbucket: FakeBitbucket, tmp_path: Path, request: pytest.FixtureRequest) -> Source:
    """One for the machine of the test."""
    name = "newer" if "newer" in request.fixturenames else "machine"
    return Source(request.getfixturevalue(name), bitbucket, tmp_path)


@either_way
@machine_git
def test_a_file_is_rotated_under_a_fetch_loop(
    machine: Machine, bitbucket: FakeBitbucket, source: Source, url: str
) -> None:
    """Each command has the token that is there when it begins: none is rejected, with and without a daemon."""
    source.log_in("file")
    for _ in range(ROUNDS):
        assert set(fetched_by_many(machine, url)) == {""}
        bitbucket.revoke(source.rotate())
    assert [entry.status for entry in machine.offered() if entry.status == 401] == []
    assert [one["source"] for one in machine.credentials()] == [f"file:{source.file}"]


def test_a_command_is_asked_again_by_a_rejection(
    newer: Machine, bitbucket: FakeBitbucket, source: Source, url: str
) -> None:
    """Its old value is revoked at once, under running gits: those that were handed it ask again within the same
    command, and get the new one. The command runs once for a rotation, however many ask.
    """
    source.log_in("command")
    for _ in range(ROUNDS):
        assert set(fetched_by_many(newer, url, lambda: bitbucket.revoke(source.rotate()))) == {""}
    assert set(fetched_by_many(newer, url)) == {""}
    assert 0 < len(source.asked.read_text()) <= ROUNDS
    (one,) = json.loads(newer.helper("status", "--json").stdout)["credentials"]
    assert (one["state"], one["suspended_for"]) == ("ready", [])
    assert not list(Needles([source.token]).files(newer.home))
