"""rest.py against the stand-in: what is a verdict on a secret and what is none."""

import json

import pytest

from git_credential_bitbucket.bitbucket import oauth, rest, token_kinds, verification_request
from git_credential_bitbucket.bitbucket.providers import Endpoint
from git_credential_bitbucket.errors import RejectedByBitbucket, SettingsError
from git_credential_bitbucket.secret import Secret
from tests.fake_bitbucket import tokens
from tests.fake_bitbucket.client import ConsumerKey, FakeBitbucket

EMAIL = "alice@example.com"


def test_an_api_token_is_verified_with_its_email(bitbucket: FakeBitbucket, endpoint: Endpoint) -> None:
    """The account and the scopes come back; with another email it is refused, and the reason says both."""
    token = Secret(bitbucket.issue_api_token())
    verdict = rest.verify(endpoint, token_kinds.API_TOKEN, EMAIL, token)
    assert verdict.valid is True
    assert verdict.username == "alice"
    assert "read:repository:bitbucket" in verdict.scopes
    wrong = rest.verify(endpoint, token_kinds.API_TOKEN, "bob@example.com", token)
    assert wrong.valid is False
    assert "email" in (wrong.reason or "")


def test_an_api_token_with_git_s_scopes_alone_is_valid(bitbucket: FakeBitbucket, endpoint: Endpoint) -> None:
    """It may not read the account, and that is no fault of it."""
    token = Secret(bitbucket.issue_api_token(scopes=("read:repository:bitbucket",)))
    verdict = rest.verify(endpoint, token_kinds.API_TOKEN, EMAIL, token)
    assert verdict.valid is True
    assert verdict.username is None


@pytest.mark.parametrize("place", ["acme", "acme/app"])
def test_an_access_token_is_valid_without_a_person(bitbucket: FakeBitbucket, endpoint: Endpoint, place: str) -> None:
    """403 with the credential headers is a yes."""
    verdict = rest.verify(endpoint, token_kinds.ACCESS_TOKEN, None, Secret(bitbucket.issue_access_token(place)))
    assert verdict.valid is True


def test_oauth_is_valid_for_a_person_and_for_a_consumer(
    bitbucket: FakeBitbucket, endpoint: Endpoint, consumer: ConsumerKey, secret: Secret
) -> None:
    """A person's login names the account, a consumer's own token names none."""
    access_token, _ = bitbucket.issue_login(consumer)
    person = rest.verify(endpoint, token_kinds.OAUTH, None, Secret(access_token))
    assert (person.valid, person.username) == (True, "alice")
    minted = oauth.fetch_with_client_credentials(endpoint, consumer.key, secret)
    app = rest.verify(endpoint, token_kinds.CLIENT_CREDENTIALS, None, minted.access_token)
    assert (app.valid, app.username) == (True, None)


def test_a_secret_that_bitbucket_did_not_issue_is_not_valid(endpoint: Endpoint) -> None:
    assert rest.verify(endpoint, token_kinds.ACCESS_TOKEN, None, Secret(tokens.access_token())).valid is False


@pytest.mark.parametrize("fault", ["403", "404", "410", "429", "500", "502-html", "reset", "redirect"])
def test_everything_else_is_no_verdict(bitbucket: FakeBitbucket, endpoint: Endpoint, fault: str) -> None:
    """A bare 403, a 410, a redirect or an outage says nothing about a token, and the reason says what came."""
    token = Secret(bitbucket.issue_access_token("acme"))
    bitbucket.script_fault("api", fault, location=bitbucket.url)
    verdict = rest.find_verdict(lambda: rest.verify(endpoint, token_kinds.ACCESS_TOKEN, None, token), 60)
    assert verdict.valid is None
    assert verdict.reason


@pytest.mark.parametrize(
    ("scopes", "valid", "reason"),
    [
        (("read:repository:bitbucket",), True, None),
        (("write:repository:bitbucket",), True, "it can push but not fetch"),
        (("read:user:bitbucket",), None, "Bitbucket answered git with 403: no access, or no such repository"),
        ((), False, "the token is not valid"),
    ],
)
def test_git_s_own_question_needs_no_scope_that_git_does_not_need(
    bitbucket: FakeBitbucket, endpoint: Endpoint, scopes: tuple[str, ...], valid: bool | None, reason: str | None
) -> None:
    """Whoever may only push passes too; without any of git's scopes the token is known, and of no use."""
    url = bitbucket.create_repository("acme/app").removesuffix(".git")
    token = Secret(bitbucket.issue_api_token(scopes=scopes))
    verdict = rest.verify_for_git(endpoint, url, token_kinds.API_TOKEN, token)
    assert (verdict.valid, verdict.reason, verdict.is_denied) == (valid, reason, "403" in (reason or ""))
    assert {entry.username for entry in bitbucket.requests("git")} == {token_kinds.API_TOKEN_USERNAME}


@pytest.mark.parametrize("place", ["acme/other", "acme/nothing"])
def test_git_s_question_tells_a_denial_from_a_rejection(
    bitbucket: FakeBitbucket, endpoint: Endpoint, place: str
) -> None:
    """403 and 404 are no 401: the token is known, and has nothing to do with that repository."""
    bitbucket.create_repository("acme/app")
    bitbucket.create_repository("acme/other")
    token = Secret(bitbucket.issue_access_token("acme/app"))
    verdict = rest.verify_for_git(endpoint, f"{bitbucket.url}/{place}", token_kinds.ACCESS_TOKEN, token)
    assert (verdict.valid, verdict.is_denied) == (None, True)
    unknown = Secret(tokens.access_token())
    assert rest.verify_for_git(endpoint, f"{bitbucket.url}/{place}", token_kinds.ACCESS_TOKEN, unknown).valid is False


@pytest.mark.parametrize("fault", ["410", "429", "500", "502-html", "reset", "redirect"])
def test_for_git_as_well_everything_else_is_no_verdict(
    bitbucket: FakeBitbucket, endpoint: Endpoint, fault: str
) -> None:
    url = bitbucket.create_repository("acme/app").removesuffix(".git")
    bitbucket.script_fault("git", fault, location=bitbucket.url)
    verdict = rest.verify_for_git(endpoint, url, token_kinds.ACCESS_TOKEN, Secret(bitbucket.issue_access_token("acme")))
    assert (verdict.valid, verdict.is_denied) == (None, False)
    assert verdict.reason


def test_a_verdict_is_waited_for_no_longer_than_said(bitbucket: FakeBitbucket, endpoint: Endpoint) -> None:
    """A server that does not answer, or a name that is resolved for ever, must not hang a login."""
    bitbucket.script_fault("api", "hold")
    token = Secret(bitbucket.issue_access_token("acme"))
    verdict = rest.find_verdict(
        verification_request.prepare_verification(endpoint, token_kinds.ACCESS_TOKEN, None, token), 0.1
    )
    assert (verdict.valid, verdict.reason) == (None, "there was no answer within 0.1 seconds")
    bitbucket.release()


def test_what_keeps_a_question_from_being_asked_is_the_reason(bitbucket: FakeBitbucket, endpoint: Endpoint) -> None:
    """A proxy of a kind that is not supported is no reason to store nothing."""
    unusable = endpoint._replace(proxy="socks5://127.0.0.1:1")
    token = Secret(bitbucket.issue_access_token("acme"))
    verdict = rest.find_verdict(
        verification_request.prepare_verification(unusable, token_kinds.ACCESS_TOKEN, None, token), 60
    )
    assert (verdict.valid, verdict.reason) == (None, "socks5 proxies are not supported")


def test_a_projects_repositories_come_page_by_page(bitbucket: FakeBitbucket, endpoint: Endpoint) -> None:
    """Of that project alone; without the scope that git's fetch needs it is said why not."""
    for number in range(12):
        bitbucket.create_repository(f"acme/web{number}", project="WEB", files={})
    bitbucket.create_repository("acme/ops", project="OPS", files={})
    token = Secret(bitbucket.issue_access_token("acme", project="WEB"))
    names = rest.repositories_of(endpoint, token_kinds.ACCESS_TOKEN, token, "acme", "WEB")
    assert set(names) == {f"web{number}" for number in range(12)}
    assert rest.repositories_of(endpoint, token_kinds.ACCESS_TOKEN, token, "acme", "OPS") == ()
    for scopes, reason in (
        (("pullrequest",), "the token may not list the repositories"),
        (None, "the token is not valid"),
    ):
        other = tokens.access_token() if scopes is None else bitbucket.issue_access_token("acme", scopes=scopes)
        with pytest.raises(RejectedByBitbucket, match=reason):
            rest.repositories_of(endpoint, token_kinds.ACCESS_TOKEN, Secret(other), "acme", "WEB")


@pytest.mark.parametrize(
    ("values", "names"), [([{"full_name": 7}, {}, 7, {"full_name": "acme/app"}], ("app",)), (7, ())]
)
def test_what_is_no_repository_in_a_list_is_passed_over(
    bitbucket: FakeBitbucket, endpoint: Endpoint, values: object, names: tuple[str, ...]
) -> None:
    """A proxy may answer with anything."""
    bitbucket.script_fault("api", "odd", count=1, body=json.dumps({"values": values}))
    token = Secret(bitbucket.issue_access_token("acme"))
    found = rest.repositories_of(endpoint, token_kinds.ACCESS_TOKEN, token, "acme", "WEB")
    assert found == names


@pytest.mark.parametrize("following", ["https://elsewhere.example/2.0/repositories/acme?page=2", 7, "itself"])
def test_a_next_page_elsewhere_gets_no_token(bitbucket: FakeBitbucket, endpoint: Endpoint, following: object) -> None:
    """And a list that never ends is none."""
    base = f"{bitbucket.api_url}/repositories/acme?page=2"
    body = json.dumps({"values": [{"full_name": "acme/app"}], "next": base if following == "itself" else following})
    bitbucket.script_fault("api", "odd", count=rest.MAX_PAGES, body=body)
    token = Secret(bitbucket.issue_access_token("acme"))
    with pytest.raises(RejectedByBitbucket, match="too long to be read"):
        rest.repositories_of(endpoint, token_kinds.ACCESS_TOKEN, token, "acme", "WEB")
    assert len(bitbucket.requests("api")) == (rest.MAX_PAGES if following == "itself" else 1)


@pytest.mark.parametrize(
    ("place", "project", "told"),
    [("acme/app", "", ("acme/app", None)), ("acme", "", ("acme", None)), ("acme", "WEB", ("acme", "WEB"))],
)
def test_what_an_access_token_is_of_is_told_beside_a_private_repository(
    bitbucket: FakeBitbucket, endpoint: Endpoint, place: str, project: str, told: tuple[str, str | None]
) -> None:
    """A public one says nothing, for it answers everybody; neither does one that the token does not reach."""
    for name, public in (("app", False), ("open", True)):
        bitbucket.create_repository(f"acme/{name}", project="WEB", public=public, files={})
    bitbucket.create_repository("beta/app", files={})
    token = Secret(bitbucket.issue_access_token(place, project=project))
    assert rest.find_token_scope(endpoint, token, "acme/app") == told
    assert rest.find_token_scope(endpoint, token, "acme/open") is None
    assert rest.find_token_scope(endpoint, token, "beta/app") is None


def test_what_cannot_be_asked_is_said_before_asking(bitbucket: FakeBitbucket, endpoint: Endpoint) -> None:
    """An API token without its email, and an app password, would only earn a 401."""
    for kind, secret in (
        (token_kinds.API_TOKEN, bitbucket.issue_api_token()),
        (token_kinds.APP_PASSWORD, tokens.app_password()),
    ):
        with pytest.raises(SettingsError):
            rest.verify(endpoint, kind, None, Secret(secret))
    assert bitbucket.requests("api") == []
