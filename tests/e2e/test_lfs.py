"""git-lfs asks for credentials by itself, and asks again without end where a helper lets it."""

import os
import shutil
from pathlib import Path

import pytest

from tests.e2e.sandbox import Machine, either_way, machine_git, only_line
from tests.fake_bitbucket.client import ConsumerKey, FakeBitbucket
from tests.fake_bitbucket.journal import Entry

pytestmark = pytest.mark.skipif(shutil.which("git-lfs") is None, reason="git-lfs is not installed")

REASONABLE = 6
"""Requests of one git-lfs command; where a helper offers a rejected secret again at once, it makes 155 in 20 s."""


def with_large_file(machine: Machine, url: str, name: str = "large.bin") -> Path:
    """A clone with a commit that holds a file for LFS, not pushed yet."""
    machine.git("lfs", "install")
    clone = machine.clone(url)
    machine.git("lfs", "track", "*.bin", cwd=clone)
    machine.git("add", ".gitattributes", cwd=clone)
    machine.commit(clone, name, os.urandom(1 << 20))
    return clone


def batches(machine: Machine, since: int) -> list[Entry]:
    """git-lfs's questions where objects are, which it asks by the credential."""
    return [e for e in machine.standin.requests("lfs", since=since) if e.path.endswith("/objects/batch")]


@machine_git
def test_a_large_file_goes_up_and_comes_back(machine: Machine, url: str, bitbucket: FakeBitbucket) -> None:
    """Upload, the verification under the repository's UUID, and a clone that downloads it again.

    Others' tokens lie beside the repository's own: the address of the verification does not tell which is meant.
    """
    for repository in ("acme/aaa", "acme/app", "zeta/zzz"):
        machine.keep(repository, kind="access-token", secret=bitbucket.issue_access_token(repository))
    assert_up_and_down(machine, url)


def test_a_large_file_by_a_login_and_without_a_daemon(newer: Machine, url: str, bitbucket: FakeBitbucket) -> None:
    """git-lfs asks many times, and each time a process opens the vault."""
    newer.env["GIT_CREDENTIAL_BITBUCKET_DAEMON"] = "off"
    newer.log_in(bitbucket.add_consumer())
    assert_up_and_down(newer, url)


def assert_up_and_down(machine: Machine, url: str) -> None:
    """A push uploads the file, and a clone downloads it."""
    one = with_large_file(machine, url)
    machine.git("push", cwd=one)
    two = machine.clone(url)
    assert (two / "large.bin").read_bytes() == (one / "large.bin").read_bytes()
    assert {entry.status for entry in machine.offered(endpoint="lfs")} == {200}


def test_a_revoked_login_is_renewed_under_git_lfs(machine: Machine, url: str, bitbucket: FakeBitbucket) -> None:
    """git-lfs erases and asks again by itself: it gets a new token, and goes on."""
    token = machine.log_in(bitbucket.add_consumer())
    clone = with_large_file(machine, url)
    bitbucket.revoke(token)
    mark = bitbucket.mark()
    machine.git("lfs", "push", "--all", "origin", cwd=clone)
    assert [entry.status for entry in bitbucket.token_requests()] == [200]
    assert len(batches(machine, mark)) <= REASONABLE
    assert [entry.method for entry in bitbucket.requests("media")] == ["PUT"]


@either_way
def test_a_revoked_token_in_the_vault_ends_git_lfs(older: Machine, url: str, bitbucket: FakeBitbucket) -> None:
    """It is suspended for a minute, so git-lfs gives up; and it is still there afterwards."""
    token = bitbucket.issue_access_token("acme/app")
    older.keep("acme/app", kind="access-token", secret=token)
    clone = with_large_file(older, url)
    bitbucket.revoke(token)
    mark = bitbucket.mark()
    answer = older.git("lfs", "push", "--all", "origin", cwd=clone, check=False)
    assert answer.returncode != 0
    assert "Bitbucket rejected it" in answer.stderr
    assert len(batches(older, mark)) <= REASONABLE
    assert [credential["state"] for credential in older.credentials()] == ["suspended"]


@either_way
def test_a_revoked_token_in_the_environment_ends_git_lfs(older: Machine, url: str, bitbucket: FakeBitbucket) -> None:
    """The environment cannot be changed; a mark of a minute keeps its token back, and says so."""
    token = bitbucket.issue_access_token("acme/app")
    ours = {"BITBUCKET_ACCESS_TOKEN": token}
    older.env |= ours
    clone = with_large_file(older, url)
    bitbucket.revoke(token)
    mark = bitbucket.mark()
    answer = older.git("lfs", "push", "--all", "origin", cwd=clone, check=False)
    assert answer.returncode != 0
    assert "Bitbucket rejected the secret in BITBUCKET_ACCESS_TOKEN" in answer.stderr
    assert len(batches(older, mark)) <= REASONABLE
    again = older.git("ls-remote", url, check=False)
    assert only_line(again.stderr).startswith("Bitbucket rejected the secret in BITBUCKET_ACCESS_TOKEN")
    another = bitbucket.issue_access_token("acme/app")
    older.git("lfs", "push", "--all", "origin", cwd=clone, more={"BITBUCKET_ACCESS_TOKEN": another})


@either_way
def test_a_rejected_consumer_in_the_environment_ends_git_lfs(
    older: Machine, url: str, bitbucket: FakeBitbucket, consumer: ConsumerKey
) -> None:
    """Its tokens are refused however new: git-lfs is told no after the second."""
    older.env |= consumer.environment
    clone = with_large_file(older, url)
    bitbucket.turn(token_lifetime=0, omit_expires_in=True)
    bitbucket.revoke(kind="oauth2")
    mark = bitbucket.mark()
    answer = older.git("lfs", "push", "--all", "origin", cwd=clone, check=False)
    assert answer.returncode != 0
    assert len(batches(older, mark)) <= REASONABLE
    assert len(bitbucket.token_requests(since=mark)) <= REASONABLE
