"""git itself judges whether the stand-in serves it as Bitbucket does."""

import os
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


def test_clone_commit_and_push_of_3_mb_go_through_each_git(
    bitbucket: FakeBitbucket, git: Git, run: Runner, home: Path, credential: Configure
) -> None:
    """A clone, then a push that is too large for one request and so goes chunked after a probe."""
    address = bitbucket.create_repository("acme/app", files={"README.md": "hello\n"})
    credential(TOKEN_USERNAME, bitbucket.issue_access_token("acme/app"))
    run(git.path, "clone", "--quiet", address, "app")
    checkout = home / "work" / "app"
    assert (checkout / "README.md").read_text() == "hello\n"
    commit = commit_file(run, git, checkout, "large", os.urandom(3 << 20))
    mark = bitbucket.mark()
    run(git.path, "push", "--quiet", "origin", "HEAD", cwd=checkout)
    assert bitbucket.head("acme/app") == commit
    posts = [entry for entry in bitbucket.requests("git", since=mark) if entry.method == "POST"]
    assert posts[-1].body_length > 3 << 20
    assert {entry.auth for entry in posts} == {"basic"}


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


def test_an_app_password_gets_410_with_the_deprecation(bitbucket: FakeBitbucket, http: requests.Session) -> None:
    """Whatever the username."""
    bitbucket.create_repository("acme/app")
    answer = http.get(refs_address(bitbucket, "acme/app"), auth=("alice", bitbucket.issue_app_password()))
    assert answer.status_code == 410
    assert "App passwords are deprecated and must be replaced with API tokens." in answer.text


def test_no_credential_gets_401_with_bitbuckets_realm(bitbucket: FakeBitbucket, http: requests.Session) -> None:
    """The same for a repository that is there and for one that is not."""
    bitbucket.create_repository("acme/app")
    for place in ("acme/app", "acme/missing"):
        answer = http.get(refs_address(bitbucket, place))
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == 'Basic realm="Bitbucket.org HTTP"'


def test_a_token_reaches_its_place_and_no_further(bitbucket: FakeBitbucket, http: requests.Session) -> None:
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


def test_an_api_tokens_write_scope_does_not_imply_read(bitbucket: FakeBitbucket, http: requests.Session) -> None:
    """Write alone pushes and does not fetch; no scope at all is no token."""
    bitbucket.create_repository("acme/app")
    writer = bitbucket.issue_api_token(scopes=("write:repository:bitbucket",))
    assert refs(bitbucket, http, API_TOKEN_USERNAME, writer) == 403
    assert refs(bitbucket, http, API_TOKEN_USERNAME, writer, service="git-receive-pack") == 200
    assert refs(bitbucket, http, API_TOKEN_USERNAME, bitbucket.issue_api_token(scopes=())) == 401


def test_a_revoked_and_an_expired_token_get_401(bitbucket: FakeBitbucket, http: requests.Session) -> None:
    """At once, or when the clock has passed the end."""
    bitbucket.create_repository("acme/app")
    revoked, short = bitbucket.issue_access_token("acme/app"), bitbucket.issue_access_token("acme/app", lifetime=60)
    assert refs(bitbucket, http, TOKEN_USERNAME, revoked) == refs(bitbucket, http, TOKEN_USERNAME, short) == 200
    bitbucket.revoke(revoked)
    bitbucket.advance(61)
    assert refs(bitbucket, http, TOKEN_USERNAME, revoked) == refs(bitbucket, http, TOKEN_USERNAME, short) == 401


def test_a_token_can_be_revoked_in_the_middle_of_a_push(
    bitbucket: FakeBitbucket, git: Git, run: Runner, home: Path, credential: Configure
) -> None:
    """The refs are told, the pack is refused: 401 on the POST, and the server keeps its commit."""
    address = bitbucket.create_repository("acme/app")
    token = bitbucket.issue_access_token("acme/app")
    credential(TOKEN_USERNAME, token)
    run(git.path, "clone", "--quiet", address, "app")
    commit_file(run, git, home / "work" / "app", "file", b"text")
    before, mark = bitbucket.head("acme/app"), bitbucket.mark()
    assert bitbucket.revoke(token, after=1) == 1
    push = run(git.path, "push", "origin", "HEAD", cwd=home / "work" / "app", check=False)
    assert push.returncode != 0
    assert bitbucket.head("acme/app") == before
    assert [(entry.method, entry.status) for entry in bitbucket.requests("git", since=mark) if entry.auth][:2] == [
        ("GET", 200),
        ("POST", 401),
    ]


def test_a_public_repository_is_read_by_anybody_and_written_by_nobody(
    bitbucket: FakeBitbucket, git: Git, run: Runner, home: Path
) -> None:
    """A clone without a credential works; a push asks for one."""
    address = bitbucket.create_repository("acme/open", public=True)
    run(git.path, "clone", "--quiet", address, "open")
    commit_file(run, git, home / "work" / "open", "file", b"text")
    push = run(git.path, "push", "origin", "HEAD", cwd=home / "work" / "open", check=False)
    assert "terminal prompts disabled" in push.stderr


def test_git_reaches_bitbucket_org_by_name_through_the_proxy(
    bitbucket: FakeBitbucket, git: Git, run: Runner, credential: Configure
) -> None:
    """With http.proxy set, the real name leads to the stand-in, certificate and all."""
    bitbucket.create_repository("acme/app")
    credential(TOKEN_USERNAME, bitbucket.issue_access_token("acme"))
    run(git.path, "-c", f"http.proxy={bitbucket.proxy_url}", "ls-remote", "https://bitbucket.org/acme/app.git")
    assert {entry.path for entry in bitbucket.requests("proxy")} == {"bitbucket.org:443"}


def test_the_log_has_digests_and_no_secrets(bitbucket: FakeBitbucket, http: requests.Session) -> None:
    """Two tokens can be told apart; neither can be read."""
    bitbucket.create_repository("acme/app")
    tokens = [bitbucket.issue_access_token("acme/app") for _ in range(2)]
    for token in tokens:
        refs(bitbucket, http, TOKEN_USERNAME, token)
    logged = bitbucket.requests("git")
    assert len({entry.secret for entry in logged}) == 2
    assert not any(token in str(logged) for token in tokens)


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
    return http.get(refs_address(bitbucket, place, service), auth=(username, secret), timeout=30).status_code
