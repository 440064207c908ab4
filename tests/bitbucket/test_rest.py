"""rest.py against the stand-in: what is a verdict on a secret and what is none."""

import pytest

from git_credential_bitbucket.bitbucket import kinds, oauth, rest
from git_credential_bitbucket.bitbucket.providers import Endpoint
from git_credential_bitbucket.errors import SettingsError
from git_credential_bitbucket.secret import Secret
from tests.standin import tokens
from tests.standin.client import ConsumerKey, StandIn

EMAIL = "alice@example.com"


def test_an_api_token_is_verified_with_its_email(standin: StandIn, endpoint: Endpoint) -> None:
    """The account and the scopes come back; with another email it is refused, and the reason says both."""
    token = Secret(standin.issue_api_token())
    verdict = rest.verify(endpoint, kinds.API_TOKEN, EMAIL, token)
    assert verdict.valid is True
    assert verdict.username == "alice"
    assert "read:repository:bitbucket" in verdict.scopes
    wrong = rest.verify(endpoint, kinds.API_TOKEN, "bob@example.com", token)
    assert wrong.valid is False
    assert "email" in (wrong.reason or "")


def test_an_api_token_with_git_s_scopes_alone_is_valid(standin: StandIn, endpoint: Endpoint) -> None:
    """It may not read the account, and that is no fault of it."""
    token = Secret(standin.issue_api_token(scopes=("read:repository:bitbucket",)))
    verdict = rest.verify(endpoint, kinds.API_TOKEN, EMAIL, token)
    assert verdict.valid is True
    assert verdict.username is None


@pytest.mark.parametrize("place", ["acme", "acme/app"])
def test_an_access_token_is_valid_though_it_is_nobody(standin: StandIn, endpoint: Endpoint, place: str) -> None:
    """403 with the credential headers is a yes."""
    verdict = rest.verify(endpoint, kinds.ACCESS_TOKEN, None, Secret(standin.issue_access_token(place)))
    assert verdict.valid is True


def test_oauth_is_valid_for_a_person_and_for_a_consumer(
    standin: StandIn, endpoint: Endpoint, consumer: ConsumerKey, secret: Secret
) -> None:
    """A person's log-in names the account, a consumer's own token names none."""
    access_token, _ = standin.issue_login(consumer)
    person = rest.verify(endpoint, kinds.OAUTH, None, Secret(access_token))
    assert (person.valid, person.username) == (True, "alice")
    minted = oauth.mint(endpoint, consumer.key, secret)
    app = rest.verify(endpoint, kinds.CLIENT_CREDENTIALS, None, minted.access_token)
    assert (app.valid, app.username) == (True, None)


def test_a_secret_that_nobody_made_is_not_valid(endpoint: Endpoint) -> None:
    """401 is a no."""
    assert rest.verify(endpoint, kinds.ACCESS_TOKEN, None, Secret(tokens.access_token())).valid is False


@pytest.mark.parametrize("fault", ["403", "404", "410", "429", "500", "502-html", "reset", "redirect"])
def test_everything_else_is_no_verdict(standin: StandIn, endpoint: Endpoint, fault: str) -> None:
    """A bare 403, a 410, a redirect or an outage says nothing about a token, and the reason says what came."""
    token = Secret(standin.issue_access_token("acme"))
    standin.script_fault("api", fault, location=standin.url)
    verdict = rest.verify(endpoint, kinds.ACCESS_TOKEN, None, token)
    assert verdict.valid is None
    assert verdict.reason


def test_what_cannot_be_asked_is_said_before_asking(standin: StandIn, endpoint: Endpoint) -> None:
    """An API token without its email, and an app password, would only earn a 401."""
    for kind, secret in ((kinds.API_TOKEN, standin.issue_api_token()), (kinds.APP_PASSWORD, tokens.app_password())):
        with pytest.raises(SettingsError):
            rest.verify(endpoint, kind, None, Secret(secret))
    assert standin.requests("api") == []
