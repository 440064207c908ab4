"""git and plain requests judge whether the stand-in serves git and git-lfs as Bitbucket does."""

from pathlib import Path

import pytest
import requests

from tests.fake_bitbucket.client import FakeBitbucket
from tests.fake_bitbucket.conftest import API_TOKEN_USERNAME, TOKEN_USERNAME, Configure
from tests.git_versions import Git
from tests.running import Runner


def commit_file(run: Runner, git: Git, checkout: Path, name: str, data: bytes) -> str:
    """Commit one file on main; returns the commit."""
    (checkout / name).write_bytes(data)
    run(git.path, "add", "--all", cwd=checkout)
    run(git.path, "commit", "--quiet", "--message", name, cwd=checkout)
    return run(git.path, "rev-parse", "HEAD", cwd=checkout).stdout.strip()


def test_a_small_push_and_a_fetch_use_compressed_bodies(
    bitbucket: FakeBitbucket, git: Git, run: Runner, home: Path, credential: Configure
) -> None:
    """Git compresses a longer list of wants, and the real http-backend unpacks it."""
    address = bitbucket.create_repository("acme/app")
    credential(TOKEN_USERNAME, bitbucket.issue_access_token("acme/app"))
    for name in ("one", "two"):
        run(git.path, "clone", "--quiet", address, name)
    for number in range(40):
        commit_file(run, git, home / "work" / "one", f"file-{number}", b"%d" % number)
    for number in range(40):
        commit_file(run, git, home / "work" / "two", f"other-{number}", b"%d" % number)
    run(git.path, "push", "--quiet", "origin", "HEAD:refs/heads/one", cwd=home / "work" / "one")
    run(git.path, "fetch", "--quiet", cwd=home / "work" / "two")
    assert any(entry.body_coding == "gzip" for entry in bitbucket.requests("git"))


@pytest.mark.parametrize(
    ("username", "status"),
    [
        (API_TOKEN_USERNAME, 200),
        ("alice", 200),
        ("Alice", 200),
        ("alice@example.com", 401),
        ("bob", 401),
        (TOKEN_USERNAME, 401),
        ("", 401),
    ],
)
def test_an_api_token_goes_with_its_own_usernames_only(
    bitbucket: FakeBitbucket, http: requests.Session, username: str, status: int
) -> None:
    """The static username or the person's Bitbucket username; the email gets 401."""
    bitbucket.create_repository("acme/app")
    assert refs(bitbucket, http, username, bitbucket.issue_api_token("alice")) == status


@pytest.mark.parametrize(("username", "status"), [(TOKEN_USERNAME, 200), ("alice", 401), (API_TOKEN_USERNAME, 401)])
def test_access_and_oauth_tokens_go_with_x_token_auth_only(
    bitbucket: FakeBitbucket, http: requests.Session, username: str, status: int
) -> None:
    """No name of a person, and not the API token's."""
    bitbucket.create_repository("acme/app")
    assert refs(bitbucket, http, username, bitbucket.issue_access_token("acme/app")) == status
    access_token, _ = bitbucket.issue_login(bitbucket.add_consumer())
    assert refs(bitbucket, http, username, access_token) == status


def test_no_credential_gets_401_with_bitbuckets_realm(bitbucket: FakeBitbucket, http: requests.Session) -> None:
    """The same for a repository that is there and for one that is not."""
    bitbucket.create_repository("acme/app")
    for place in ("acme/app", "acme/missing"):
        answer = http.get(refs_address(bitbucket, place))
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == 'Basic realm="Bitbucket.org HTTP"'


def test_a_token_reaches_its_scope_and_no_further(bitbucket: FakeBitbucket, http: requests.Session) -> None:
    """A repository, a project and a workspace token, on four repositories."""
    for place, project in (("acme/app", "CORE"), ("acme/lib", "CORE"), ("acme/web", "SITE"), ("other/app", "CORE")):
        bitbucket.create_repository(place, project=project)
    tokens = {
        bitbucket.issue_access_token("acme/app"): (200, 403, 403, 403, 404),
        bitbucket.issue_access_token("acme", project="CORE"): (200, 200, 403, 403, 404),
        bitbucket.issue_access_token("acme"): (200, 200, 200, 403, 404),
    }
    for token, wanted in tokens.items():
        places = ("acme/app", "acme/lib", "acme/web", "other/app", "acme/missing")
        assert tuple(refs(bitbucket, http, TOKEN_USERNAME, token, place) for place in places) == wanted


def test_a_person_without_access_gets_403_and_the_documented_text(
    bitbucket: FakeBitbucket, http: requests.Session
) -> None:
    """403 by default, 404 where the knob says so; never 401, so nothing is erased."""
    bitbucket.create_person("carol", places=["other"])
    bitbucket.create_repository("acme/app")
    token = bitbucket.issue_api_token("carol")
    answer = http.get(refs_address(bitbucket, "acme/app"), auth=(API_TOKEN_USERNAME, token))
    assert answer.status_code == 403
    assert "You may not have access to this repository" in answer.text
    bitbucket.turn(no_access_status=404)
    assert refs(bitbucket, http, API_TOKEN_USERNAME, token) == 404


def test_the_log_has_digests_and_no_secrets(bitbucket: FakeBitbucket, http: requests.Session) -> None:
    bitbucket.create_repository("acme/app")
    tokens = [bitbucket.issue_access_token("acme/app") for _ in range(2)]
    for token in tokens:
        refs(bitbucket, http, TOKEN_USERNAME, token)
    logged = bitbucket.requests("git")
    assert len({entry.secret for entry in logged}) == 2
    assert not any(token in str(logged) for token in tokens)


@pytest.mark.parametrize("status", [401, 403])
def test_an_anonymous_batch_gets_401_or_403_by_knob(
    bitbucket: FakeBitbucket, http: requests.Session, status: int
) -> None:
    """Both have been seen for a private repository."""
    address = bitbucket.create_repository("acme/app")
    bitbucket.turn(lfs_anonymous_status=status)
    batch = {"operation": "download", "objects": []}
    answer = http.post(f"{address}/info/lfs/objects/batch", json=batch, timeout=60)
    assert answer.status_code == status
    assert ("WWW-Authenticate" in answer.headers) == (status == 401)


def test_a_wrong_credential_gets_401_whatever_the_knob(bitbucket: FakeBitbucket, http: requests.Session) -> None:
    address = bitbucket.create_repository("acme/app")
    bitbucket.turn(lfs_anonymous_status=403)
    answer = http.post(f"{address}/info/lfs/objects/batch", json={}, auth=(TOKEN_USERNAME, "wrong"), timeout=60)
    assert answer.status_code == 401


def test_an_objects_address_needs_its_signature(bitbucket: FakeBitbucket, http: requests.Session) -> None:
    """Guessing an object's id is not enough."""
    answer = http.get(f"{bitbucket.url}/-/media/{'a' * 64}/{'b' * 64}", timeout=60)
    assert answer.status_code == 403


def refs_address(bitbucket: FakeBitbucket, place: str, service: str = "git-upload-pack") -> str:
    """The first address that a git command asks."""
    return f"{bitbucket.url}/{place}.git/info/refs?service={service}"


def refs(
    bitbucket: FakeBitbucket,
    http: requests.Session,
    username: str,
    secret: str,
    place: str = "acme/app",
    service: str = "git-upload-pack",
) -> int:
    """The status that git would get with that credential."""
    return http.get(refs_address(bitbucket, place, service), auth=(username, secret), timeout=60).status_code
