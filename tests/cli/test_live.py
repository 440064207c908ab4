"""`doctor --live` at the fake Bitbucket, under the real names: each assumption and answer, and no secret told."""

import json
from pathlib import Path

import pytest
import requests

from git_credential_bitbucket import git_config
from git_credential_bitbucket.bitbucket import providers
from git_credential_bitbucket.client import ipc
from git_credential_bitbucket.diagnostics import finding, live_report
from tests.cli.listed import listed
from tests.cli.person import Person
from tests.cli.schemas import validated
from tests.fake_bitbucket.client import ConsumerKey, FakeBitbucket
from tests.helpers import control_of
from tests.running import Runner

HELPER = "git-credential-bitbucket"
PLACE = "hush-workspace/hush-repository"
EMAIL = "alice@example.com"


@pytest.fixture
def consumer(bitbucket: FakeBitbucket) -> ConsumerKey:
    """An OAuth consumer; there is a repository to ask about."""
    bitbucket.create_repository(PLACE)
    return bitbucket.add_consumer(workspace=PLACE.partition("/")[0])


@pytest.fixture
def stored(keyed: Runner, home: Path, bitbucket: FakeBitbucket, consumer: ConsumerKey) -> Runner:
    """A person with an API token, a repository's token and an OAuth login at bitbucket.org."""
    keyed("git", "config", "--global", "http.proxy", bitbucket.proxy_url)
    api_token = bitbucket.issue_api_token("alice")
    keyed(HELPER, "login", "--api-token", "--account", EMAIL, stdin=f"{api_token}\n")
    keyed(HELPER, "login", "--access-token", "--for", PLACE, stdin=bitbucket.issue_access_token(PLACE))
    access, refresh = bitbucket.issue_login(consumer)
    provider = providers.find(git_config.read(keyed.env), "https", "bitbucket.org", keyed.env)
    assert provider is not None
    record = {
        "kind": "oauth",
        "place": "https://bitbucket.org",
        "secret": access,
        "refresh_token": refresh,
        "expires_in": 7200,
        "client_id": consumer.key,
        "client_secret": consumer.secret,
        "endpoint": provider.endpoint.to_record(),
    }
    answer = ipc.send_request(
        str(control_of(home)), ipc.format_request("add", f"record={json.dumps(record)}\n".encode())
    )
    assert answer[1].startswith(b"ok=1")
    return keyed


def observed(run: Runner, *words: str, code: int = 0) -> dict[str, dict[str, str]]:
    """The observations, by their assumptions."""
    done = run(HELPER, "doctor", "--live", "--json", *words, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return {one["assumption"]: one for one in validated("doctor-live", done.stdout)["observations"]}


def verdict(found: dict[str, dict[str, str]], text: str) -> str:
    """Of the one whose assumption holds `text`."""
    (one,) = (one for assumption, one in found.items() if text in assumption)
    return one["verdict"]


def test_every_assumption_is_tested_with_every_kind(
    stored: Runner, bitbucket: FakeBitbucket, consumer: ConsumerKey
) -> None:
    """With all that it takes, only what takes thousands of requests is left; one rejected token is sent on purpose."""
    stored.env |= consumer.environment
    since = bitbucket.mark()
    found = observed(stored, PLACE, "--yes")
    untested = {text: one["why"] for text, one in found.items() if one["verdict"] != "as assumed"}
    assert list(untested.values()) == ["it would take thousands of requests", "no answer tells of a limit"]
    told = [text for text in found if "git takes the kind" in text or "REST's /user" in text]
    kinds = {"api-token", "access-token", "oauth", "client-credentials"}
    assert {kind for kind in kinds for text in told if kind in text} == kinds
    assert len(told) == 2 * len(kinds)
    sent = bitbucket.requests(since=since)
    assert [one.status for one in sent if one.auth == "bearer" and one.endpoint == "git"] == [401]
    assert sum(one.status == 401 for one in sent if one.auth and one.endpoint != "git") == 1
    assert len(bitbucket.requests("revoke", since=since)) == 1
    realm = next(one for text, one in found.items() if "realm" in text)
    assert realm["answer"] == '401; WWW-Authenticate: Basic realm="Bitbucket.org HTTP"'
    assert realm["request"].startswith("GET /WORKSPACE/REPOSITORY.git/info/refs?service=git-receive-pack; headers ")


def test_nothing_that_changes_is_done_unless_somebody_agrees(
    stored: Runner, bitbucket: FakeBitbucket, consumer: ConsumerKey
) -> None:
    """Without a terminal and without --yes nothing is renewed, minted or revoked; what was renewed is stored."""
    for key, value in (("oauthClientId", consumer.key), ("oauthClientSecret", consumer.secret)):
        stored("git", "config", "--global", f"credential.https://bitbucket.org.{key}", value)
    since = bitbucket.mark()
    found = observed(stored, PLACE)
    assert {verdict(found, text) for text in ("renewal", "client credentials", "revoked")} == {"could not be tested"}
    assert [*bitbucket.token_requests(since=since), *bitbucket.requests("revoke", since=since)] == []
    assert verdict(observed(stored, PLACE, "--yes"), "renewal") == "as assumed"
    stored(HELPER, "refresh")
    assert [one.status for one in bitbucket.token_requests(since=since)].count(200) == 3


def test_what_differs_is_told(stored: Runner, bitbucket: FakeBitbucket) -> None:
    """Bitbucket does not rotate for every client yet; the exit code says that something differs."""
    bitbucket.turn(rotate_refresh_tokens=False)
    bitbucket.script_fault("git", "503")
    found = observed(stored, PLACE, "--yes", code=1)
    assert verdict(found, "renewal") == "differs"
    assert verdict(found, "realm") == "could not be tested"  # a 503 says nothing of it


def test_what_is_rejected_or_missing_is_no_verdict(stored: Runner, bitbucket: FakeBitbucket) -> None:
    """A revoked token says nothing of Bitbucket, nor does one without access; git's part needs a repository."""
    bitbucket.revoke(kind="api_token")
    since = bitbucket.mark()
    found = observed(stored, PLACE)
    assert [one.status for one in bitbucket.requests(since=since)].count(
        401
    ) == 3  # challenge, Bearer, and the token once
    assert verdict(found, "git takes the kind api-token") == "could not be tested"
    assert verdict(found, "/user answers the kind api-token") == "could not be tested"
    assert (
        "has no access"
        in observed(stored, "hush-workspace/other")[next(t for t in found if "kind oauth by" in t)]["why"]
    )
    assert "name a REPOSITORY" in observed(stored)[next(text for text in found if "realm" in text)]["why"]
    stored(HELPER, "logout", "--all")
    assert {one["verdict"] for text, one in observed(stored, PLACE).items() if "realm" not in text} == {
        "could not be tested"
    }


def test_the_transcript_holds_no_secret_and_no_name(
    stored: Runner, bitbucket: FakeBitbucket, consumer: ConsumerKey
) -> None:
    """In a person's form and the one for programs, with all that -v tells besides."""
    stored.env |= consumer.environment
    done = stored(HELPER, "-v", "doctor", "--live", PLACE, "--yes")
    shown = f"{done.stdout}\n{done.stderr}\n{json.dumps(observed(stored, PLACE))}"
    assert shown.count("as assumed") > 20
    for secret in [
        *bitbucket.secrets(),
        *(one["secret"] or "?" for one in listed(stored) if len(one["secret"] or "") > 8),
    ]:
        assert secret not in shown
        assert secret[:16] not in shown
    assert not [name for name in (*PLACE.split("/"), EMAIL, '"alice"', consumer.key) if name in shown]


def test_what_bitbucket_repeats_of_a_secret_is_hidden(bitbucket: FakeBitbucket, keyed: Runner) -> None:
    """The longer one first, where one is a part of another."""
    context = finding.context_for(keyed.env, bitbucket.url)
    provider = providers.find(context.trusted, context.url.protocol, context.url.host, keyed.env)
    assert provider is not None
    run = live_report.Live(context, provider, lambda _: False)
    run.hide("s3cret", "s3cret-and-more")
    answer = requests.Response()
    answer.status_code, answer.url = 429, bitbucket.url
    answer.headers["X-RateLimit-Resource"] = "for s3cret-and-more, s3cret"
    answer.request = requests.Request("GET", f"{bitbucket.url}/s3cret").prepare()
    told = run.observed("a", lambda: answer, lambda _: (live_report.DIFFERS, None))
    assert (told.request, told.answer) == ("GET /…; headers ", "429; X-RateLimit-Resource: for …, …")


def test_a_person_is_asked_before_each_step_that_changes_something(stored: Runner, bitbucket: FakeBitbucket) -> None:
    person = Person({**stored.env, "TERM": "xterm"}, stored.folder)
    since = bitbucket.mark()
    with person.types(HELPER, "doctor", "--live", PLACE) as dialogue:
        dialogue.reads("Renew the OAuth login now? [y/N]")
        dialogue.types("n")
        dialogue.reads("it changes something, and was not confirmed")
        dialogue.ends()
    assert bitbucket.token_requests(since=since) == []
