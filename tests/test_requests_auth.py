"""REST with git's tokens: fresh, renewed once at a 401, for the API's host alone."""

import io
import json
import os
import time
from base64 import b64decode
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from atlassian import Bitbucket
from atlassian.bitbucket.cloud import Cloud

from git_credential_bitbucket import BitbucketAuth, git_protocol, paths
from git_credential_bitbucket.bitbucket import token_kinds
from git_credential_bitbucket.bitbucket.providers import CLOUD
from git_credential_bitbucket.client.agent_client import ask
from git_credential_bitbucket.errors import SettingsError, UnknownCredential
from tests.fake_bitbucket import tokens
from tests.fake_bitbucket.client import FakeBitbucket
from tests.helper.peers import gits_cache_daemon
from tests.running import Runner


@pytest.fixture
def host(env: dict[str, str], bitbucket: FakeBitbucket, run: Runner, monkeypatch: pytest.MonkeyPatch) -> FakeBitbucket:
    """The stand-in as a configured host, and this process in the test's environment."""
    for name in os.environ:
        monkeypatch.delenv(name)
    for name, value in (env | {"GIT_CREDENTIAL_BITBUCKET_KEY": os.urandom(32).hex()[:43] + "="}).items():
        monkeypatch.setenv(name, value)
    for key, value in bitbucket.git_config():
        run("git", "config", "--global", key, value)
    return bitbucket


def add(host: FakeBitbucket, **record: object) -> None:
    """Keep a credential for the stand-in."""
    place = {"place": host.url, "endpoint": {**CLOUD.to_record(), "token_url": f"{host.url}/site/oauth2/access_token"}}
    place["endpoint"]["ca_file"] = host.ca_file  # type: ignore[index]  # it is that very dictionary
    ask("add", [("record", json.dumps(place | record))])


def log_in(host: FakeBitbucket, **more: object) -> str:
    """An OAuth login of alice; returns its access token."""
    consumer = host.add_consumer()
    access, refresh = host.issue_login(consumer)
    add(
        host,
        kind=token_kinds.OAUTH,
        secret=access,
        refresh_token=refresh,
        client_id=consumer.key,
        client_secret=consumer.secret,
        expires_in=7200,
        **more,
    )
    return access


def session(host: FakeBitbucket, place: str = "", url: str = "") -> requests.Session:
    """A session that trusts the stand-in."""
    made = requests.Session()
    made.verify = host.ca_file
    made.trust_env = False
    made.auth = BitbucketAuth(place, url=url or host.url)
    return made


def test_a_request_is_signed_with_the_token_that_git_would_get(host: FakeBitbucket) -> None:
    log_in(host)
    with session(host) as api:
        assert api.get(f"{host.api_url}/user").json()["username"] == "alice"


def test_an_api_token_is_sent_with_its_account(host: FakeBitbucket) -> None:
    """REST takes the email, where git takes a static name."""
    add(host, kind=token_kinds.API_TOKEN, secret=host.issue_api_token(), account="alice@example.com")
    with session(host) as api:
        assert api.get(f"{host.api_url}/user").status_code == 200


def test_the_environments_token_goes_before_what_is_kept(host: FakeBitbucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for git and for the verb `token`, by its variable's kind where its prefix tells none."""
    log_in(host)
    monkeypatch.setenv("BITBUCKET_API_TOKEN", token := tokens.oauth_token())
    with session(host) as api:
        with pytest.raises(SettingsError) as refused:
            api.get(f"{host.api_url}/user")
        assert "BITBUCKET_EMAIL" in str(refused.value.hint)
        monkeypatch.setenv("BITBUCKET_EMAIL", "alice@example.com")
        sent = api.prepare_request(requests.Request("GET", f"{host.api_url}/user")).headers["Authorization"]
    assert b64decode(sent.removeprefix("Basic ")).decode() == f"alice@example.com:{token}"


def test_a_refused_token_is_renewed_once_and_the_request_made_again(host: FakeBitbucket) -> None:
    """Whoever holds a long-lived session never sees a token's end; a body is sent again from its start."""
    access = log_in(host, minted_at=time.time() - 1000)
    with session(host) as api:
        host.revoke(access)
        answer = api.get(f"{host.api_url}/user", data=io.BytesIO(b"body"))
        assert answer.status_code == 200
        assert [earlier.status_code for earlier in answer.history] == [401]
    assert len(host.token_requests()) == 1


def test_a_token_minted_moments_ago_is_not_renewed_for_a_refusal(host: FakeBitbucket) -> None:
    """Another would be refused as well, and each try would cost a refresh token."""
    access = log_in(host)
    with session(host) as api:
        host.revoke(access)
        assert api.get(f"{host.api_url}/user").status_code == 401
    assert host.token_requests() == []


def test_atlassians_own_client_takes_it(host: FakeBitbucket) -> None:
    """atlassian-python-api's Cloud client, with nothing but a session of ours."""
    host.create_repository("acme/app")
    log_in(host)
    with session(host) as api:
        base = host.api_url.removesuffix("/2.0")
        cloud = Cloud(url=base, session=api, verify_ssl=host.ca_file)  # type: ignore[no-untyped-call]  # it has no types
        assert (cloud.get("repositories/acme/app") or {})["full_name"] == "acme/app"


def test_atlassians_client_for_data_center_takes_it(host: FakeBitbucket, run: Runner) -> None:
    """At a context path, with a repository's token for that repository, and a person's for the others."""
    host.turn(dc_context="/bitbucket")
    url = host.data_center_url(context="/bitbucket")
    for key, value in host.data_center_config("/bitbucket"):
        run("git", "config", "--global", key, value)
    host.create_repository("PROJ/app")
    endpoint = {**CLOUD.to_record(), "api_url": f"{url}/rest/api/1.0", "ca_file": host.ca_file}
    origin = url.removesuffix("/bitbucket")
    owners: tuple[tuple[str, str, token_kinds.Kind], ...] = (
        ("", "PROJ/app", token_kinds.ACCESS_TOKEN),
        ("alice", "", token_kinds.PERSONAL_TOKEN),
    )
    for username, place, kind in owners:
        record = {
            "kind": kind,
            "place": f"{origin}/{place.lower()}".rstrip("/"),
            "secret": host.issue_http_token(username, place=place),
            "bitbucket_username": username or None,
            "endpoint": endpoint,
        }
        ask("add", [("record", json.dumps(record))])
    for scope, name in (("PROJ/app", "access-token-user/"), ("PROJ/other", "alice")):
        with session(host, scope, url) as api:
            client = Bitbucket(url=url, session=api)  # type: ignore[no-untyped-call]  # it has no types
            assert client.get_repo("PROJ", "app")["slug"] == "app"  # type: ignore[no-untyped-call]  # as above
            who = api.get(f"{url}/rest/api/1.0/application-properties").headers["X-AUSERNAME"]
            assert who.startswith(name)


def test_many_threads_with_one_refused_token_make_one_renewal(host: FakeBitbucket) -> None:
    """The generation that was refused is named, so the second finds it replaced."""
    log_in(host)
    (told,) = [json.loads(value) for key, value in ask("status") if key == "credential[]"]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: ask("refresh", [("id", told["id"]), ("generation", "0")]), range(8)))
    assert host.token_requests() == []


def test_gits_own_cache_daemon_at_the_socket_is_replaced(host: FakeBitbucket) -> None:
    """It sits down wherever it finds nobody; what the vault has is found behind it."""
    log_in(host)
    ask("exit")
    with gits_cache_daemon(Path(paths.socket_path(os.environ)), os.environ), session(host) as api:
        assert api.get(f"{host.api_url}/user").json()["username"] == "alice"


def test_another_host_gets_no_token(host: FakeBitbucket) -> None:
    """A redirect, a link in an answer, a typo: unsigned."""
    log_in(host)
    with session(host) as api:
        assert "Authorization" not in api.prepare_request(requests.Request("GET", f"{host.url}/2.0/user")).headers
        assert "Authorization" not in api.prepare_request(requests.Request("GET", "https://evil.example/2.0")).headers


def test_without_a_credential_the_reason_is_raised(host: FakeBitbucket) -> None:
    """Not a 401 that nobody understands."""
    with session(host) as api, pytest.raises(UnknownCredential) as raised:
        api.post(f"{host.api_url}/user", data=io.BytesIO(b"x"))
    assert "no credential for" in raised.value.cause
    assert raised.value.hint


def test_a_host_that_is_not_configured_is_refused(host: FakeBitbucket) -> None:
    """No token goes to a host that nobody named."""
    with pytest.raises(SettingsError):
        BitbucketAuth(url=host.url.replace("https", "http"))


def test_an_api_at_plain_http_is_refused(host: FakeBitbucket, run: Runner) -> None:
    """A mistyped setting must not send a token in plain text."""
    run("git", "config", "--global", f"credential.{host.url}.apiURL", "http://127.0.0.1:1/2.0")
    with pytest.raises(SettingsError, match="tokens are never sent over plain http"):
        BitbucketAuth(url=host.url)


def test_importing_the_package_imports_nothing_else(run: Runner) -> None:
    """The hot path passes through the package's own module."""
    code = "import sys; before = set(sys.modules); import git_credential_bitbucket; print(set(sys.modules) - before)"
    assert run(
        "python3", "-I", "-c", "import sys; sys.path.insert(0, sys.argv[1]);" + code, os.getcwd()
    ).stdout.strip() == ("{'git_credential_bitbucket'}")


def test_wire_and_auth_agree_on_the_host(host: FakeBitbucket) -> None:
    assert git_protocol.normalise_host("https", host.netloc) == host.netloc
    assert "BitbucketAuth(" in repr(BitbucketAuth(url=host.url))


def test_a_consumer_in_the_environment_signs(host: FakeBitbucket, monkeypatch: pytest.MonkeyPatch) -> None:
    consumer = host.add_consumer()
    monkeypatch.setenv("BITBUCKET_CLIENT_ID", consumer.key)
    monkeypatch.setenv("BITBUCKET_CLIENT_SECRET", consumer.secret)
    answer = requests.get(f"{host.api_url}/user", auth=BitbucketAuth(url=host.url), verify=host.ca_file, timeout=60)
    assert answer.status_code == 200
