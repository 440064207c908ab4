"""git-lfs itself judges the LFS API."""

import os
import shutil
from pathlib import Path

import pytest
import requests

from tests.fake_bitbucket.client import FakeBitbucket
from tests.fake_bitbucket.conftest import TOKEN_USERNAME, Configure
from tests.git_versions import Git
from tests.running import Runner

pytestmark = pytest.mark.skipif(shutil.which("git-lfs") is None, reason="git-lfs is not installed")


def test_git_lfs_uploads_verifies_and_downloads(
    bitbucket: FakeBitbucket, git: Git, run: Runner, home: Path, credential: Configure
) -> None:
    """One megabyte goes up with the push, is verified under the repository's UUID, and comes back with a clone."""
    address = bitbucket.create_repository("acme/app")
    credential(TOKEN_USERNAME, bitbucket.issue_access_token("acme/app"))
    run(git.path, "lfs", "install")
    run(git.path, "clone", "--quiet", address, "one")
    one, data = home / "work" / "one", os.urandom(1 << 20)
    run(git.path, "lfs", "track", "*.bin", cwd=one)
    (one / "large.bin").write_bytes(data)
    run(git.path, "add", "--all", cwd=one)
    run(git.path, "commit", "--quiet", "--message", "large", cwd=one)
    run(git.path, "push", "--quiet", "origin", "HEAD", cwd=one)
    run(git.path, "clone", "--quiet", address, "two")
    assert (home / "work" / "two" / "large.bin").read_bytes() == data
    verified = [entry for entry in bitbucket.requests("lfs") if entry.path.endswith("/verify") and entry.status == 200]
    assert any(entry.path.startswith("/%7B%7D/%7B") for entry in verified)
    assert [entry.method for entry in bitbucket.requests("media")] == ["PUT", "GET"]
    assert {entry.auth for entry in bitbucket.requests("media")} == {None}


@pytest.mark.parametrize("status", [401, 403])
def test_an_anonymous_batch_gets_401_or_403_by_knob(
    bitbucket: FakeBitbucket, http: requests.Session, status: int
) -> None:
    """Both have been seen for a private repository."""
    address = bitbucket.create_repository("acme/app")
    bitbucket.turn(lfs_anonymous_status=status)
    batch = {"operation": "download", "objects": []}
    answer = http.post(f"{address}/info/lfs/objects/batch", json=batch, timeout=30)
    assert answer.status_code == status
    assert ("WWW-Authenticate" in answer.headers) == (status == 401)


def test_a_wrong_credential_gets_401_whatever_the_knob(bitbucket: FakeBitbucket, http: requests.Session) -> None:
    """The knob is about no credential at all."""
    address = bitbucket.create_repository("acme/app")
    bitbucket.turn(lfs_anonymous_status=403)
    answer = http.post(f"{address}/info/lfs/objects/batch", json={}, auth=(TOKEN_USERNAME, "wrong"), timeout=30)
    assert answer.status_code == 401


def test_an_objects_address_needs_its_signature(bitbucket: FakeBitbucket, http: requests.Session) -> None:
    """Guessing an object's id is not enough."""
    answer = http.get(f"{bitbucket.url}/-/media/{'a' * 64}/{'b' * 64}", timeout=30)
    assert answer.status_code == 403
