"""oauth.py against the stand-in: every grant, every refusal, and what the library around it must not do."""

import logging
from urllib.parse import parse_qs, urlsplit

import pytest

from git_credential_bitbucket.bitbucket import oauth
from git_credential_bitbucket.bitbucket.providers import Endpoint
from git_credential_bitbucket.errors import (
    BitbucketUnreachable,
    InvalidClient,
    LoginExpired,
    LoginFailed,
    RejectedByBitbucket,
    SettingsError,
)
from git_credential_bitbucket.secret import Secret
from tests.bitbucket.strange import endpoint_at, refresh
from tests.fake_bitbucket import browser
from tests.fake_bitbucket.client import CALLBACK, ConsumerKey, FakeBitbucket

VERIFIER = "verifier-" * 6
SCOPES = ("repository", "repository:write")


def code_from(endpoint: Endpoint, consumer: ConsumerKey, bitbucket: FakeBitbucket, verifier: str = VERIFIER) -> str:
    """An authorization code, got by consenting in a browser."""
    url = oauth.authorize_url(endpoint, consumer.key, CALLBACK, SCOPES, "a state", verifier)
    target = browser.decide(url, bitbucket.ca_file)
    answer = parse_qs(urlsplit(target).query)
    assert answer["state"] == ["a state"]
    return answer["code"][0]


def test_a_code_becomes_tokens(
    bitbucket: FakeBitbucket, endpoint: Endpoint, consumer: ConsumerKey, secret: Secret
) -> None:
    """The whole grant, with PKCE and the secret; the redirect_uri is sent again, a scope is not."""
    code = code_from(endpoint, consumer, bitbucket)
    grant = oauth.exchange_code(endpoint, consumer.key, secret, code, CALLBACK, VERIFIER)
    assert grant.scopes == SCOPES
    assert grant.expires_in == 7200
    assert grant.refresh_token
    authorize = bitbucket.requests("authorize")[0].query
    assert (authorize["code_challenge_method"], authorize["scope"]) == ("S256", "repository repository:write")
    form = bitbucket.token_requests()[0].form
    assert form["redirect_uri"] == CALLBACK
    assert "code_verifier" in form
    assert form["client_authentication"] == "basic"
    assert "scope" not in form


def test_a_code_works_once_and_with_its_verifier_only(
    bitbucket: FakeBitbucket, endpoint: Endpoint, consumer: ConsumerKey, secret: Secret
) -> None:
    """A used code, a wrong verifier and a wrong redirect_uri each end the login, with the way out."""
    code = code_from(endpoint, consumer, bitbucket)
    oauth.exchange_code(endpoint, consumer.key, secret, code, CALLBACK, VERIFIER)
    with pytest.raises(LoginFailed, match="code") as caught:
        oauth.exchange_code(endpoint, consumer.key, secret, code, CALLBACK, VERIFIER)
    assert caught.value.hint
    code = code_from(endpoint, consumer, bitbucket)
    with pytest.raises(LoginFailed):
        oauth.exchange_code(endpoint, consumer.key, secret, code, CALLBACK + "other", VERIFIER)
    with pytest.raises(LoginFailed):
        oauth.exchange_code(endpoint, consumer.key, secret, code, CALLBACK, "another-" * 6)


def test_a_consent_is_not_lost_to_an_odd_answer(
    bitbucket: FakeBitbucket, endpoint: Endpoint, consumer: ConsumerKey, secret: Secret
) -> None:
    """The code is spent, but the refresh token that came without an access token is good for one."""
    code = code_from(endpoint, consumer, bitbucket)
    bitbucket.script_fault("token", "odd", body='{"access_token": null, "refresh_token": "{refresh_token}"}')
    grant = oauth.exchange_code(endpoint, consumer.key, secret, code, CALLBACK, VERIFIER)
    assert grant.refresh_token
    assert not bitbucket.is_spent(grant.refresh_token.reveal())
    assert [asked.form["grant_type"] for asked in bitbucket.token_requests()] == ["authorization_code", "refresh_token"]


@pytest.mark.parametrize("field", ["scope", "scopes"])
@pytest.mark.parametrize("relaxed", [False, True])
def test_a_refresh_survives_whatever_scopes_the_answer_names(
    bitbucket: FakeBitbucket,
    endpoint: Endpoint,
    consumer: ConsumerKey,
    secret: Secret,
    monkeypatch: pytest.MonkeyPatch,
    field: str,
    relaxed: bool,
) -> None:
    """Both spellings, more scopes than asked for, and oauthlib's own variables in the environment: nothing raises."""
    bitbucket.turn(scope_field=field, extra_scopes=["pullrequest", "webhook"])
    if relaxed:
        for name in ("OAUTHLIB_RELAX_TOKEN_SCOPE", "OAUTHLIB_STRICT_TOKEN_TYPE", "OAUTHLIB_INSECURE_TRANSPORT"):
            monkeypatch.setenv(name, "1")
    _, refresh_token = bitbucket.issue_login(consumer)
    grant = refresh(endpoint, consumer.key, secret, Secret(refresh_token))
    assert {"pullrequest", "webhook"} < set(grant.scopes)
    assert grant.refresh_token
    assert grant.refresh_token.reveal() != refresh_token
    assert "scope" not in bitbucket.token_requests()[0].form


def test_without_rotation_the_old_refresh_token_comes_back(
    bitbucket: FakeBitbucket, endpoint: Endpoint, consumer: ConsumerKey, secret: Secret
) -> None:
    """Where the roll-out has not arrived, the same refresh token stays good."""
    bitbucket.turn(rotate_refresh_tokens=False)
    _, refresh_token = bitbucket.issue_login(consumer)
    for _ in range(2):
        grant = refresh(endpoint, consumer.key, secret, Secret(refresh_token))
        assert grant.refresh_token == Secret(refresh_token)


def test_a_missing_lifetime_is_told_as_missing(
    bitbucket: FakeBitbucket, endpoint: Endpoint, consumer: ConsumerKey, secret: Secret
) -> None:
    """Nobody makes up an `expires_in` that Bitbucket did not send."""
    bitbucket.turn(omit_expires_in=True)
    assert oauth.fetch_with_client_credentials(endpoint, consumer.key, secret).expires_in is None


@pytest.mark.parametrize("code", ["invalid_grant", "unauthorized_client"])
@pytest.mark.parametrize("status", [400, 401])
def test_a_spent_refresh_token_means_a_new_login(
    bitbucket: FakeBitbucket, endpoint: Endpoint, consumer: ConsumerKey, secret: Secret, code: str, status: int
) -> None:
    """Both error codes have been seen, with both statuses; what was said is told."""
    bitbucket.turn(reuse_error=code, error_status=status)
    _, refresh_token = bitbucket.issue_login(consumer)
    refresh(endpoint, consumer.key, secret, Secret(refresh_token))
    with pytest.raises(LoginExpired) as caught:
        refresh(endpoint, consumer.key, secret, Secret(refresh_token))
    assert "Invalid OAuth client credentials" in caught.value.cause
    assert "login --oauth" in (caught.value.hint or "")


def test_client_credentials_are_minted_without_a_refresh_token(
    bitbucket: FakeBitbucket, endpoint: Endpoint, consumer: ConsumerKey, secret: Secret
) -> None:
    """Each mint is a token of its own; the form says nothing but the grant."""
    first, second = (oauth.fetch_with_client_credentials(endpoint, consumer.key, secret) for _ in range(2))
    assert first.access_token != second.access_token
    assert first.refresh_token is None
    assert bitbucket.token_requests()[0].form == {"grant_type": "client_credentials", "client_authentication": "basic"}


def test_a_consumer_that_is_not_set_up_says_what_to_tick(bitbucket: FakeBitbucket, endpoint: Endpoint) -> None:
    """No callback, not private, and a wrong secret: three causes, each with its cure."""
    for made, secret, hint in (
        (bitbucket.add_consumer(callback=""), None, "callback URL"),
        (bitbucket.add_consumer(private=False), None, "private consumer"),
        (bitbucket.add_consumer(), "wrong", "key and secret"),
    ):
        with pytest.raises(InvalidClient) as caught:
            oauth.fetch_with_client_credentials(endpoint, made.key, Secret(secret or made.secret))
        assert hint in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("reset", BitbucketUnreachable),
        ("cut", BitbucketUnreachable),
        ("cut-json", BitbucketUnreachable),
        ("wrong-type", BitbucketUnreachable),
        ("error-200", BitbucketUnreachable),
        ("502-html", BitbucketUnreachable),
        ("500", BitbucketUnreachable),
        ("503", BitbucketUnreachable),
        ("429", BitbucketUnreachable),
        ("401", RejectedByBitbucket),
        ("403", RejectedByBitbucket),
        ("404", RejectedByBitbucket),
        ("410", RejectedByBitbucket),
    ],
)
def test_each_fault_becomes_its_error(
    bitbucket: FakeBitbucket,
    endpoint: Endpoint,
    consumer: ConsumerKey,
    secret: Secret,
    fault: str,
    error: type[Exception],
) -> None:
    """One line naming the host and no secret, asked once."""
    _, refresh_token = bitbucket.issue_login(consumer)
    bitbucket.script_fault("token", fault)
    with pytest.raises(error) as caught:
        refresh(endpoint, consumer.key, secret, Secret(refresh_token))
    text = f"{caught.value} {getattr(caught.value, 'hint', '')}"
    assert bitbucket.netloc in text
    assert "\n" not in text
    assert not any(each in text for each in bitbucket.secrets())
    assert len(bitbucket.token_requests()) == 1


def test_retry_after_is_understood_in_seconds_and_as_a_date(
    bitbucket: FakeBitbucket, endpoint: Endpoint, consumer: ConsumerKey, secret: Secret
) -> None:
    """A number, a date to come, a date gone by, and nonsense."""
    for header, low, high in (
        ("7", 7, 7),
        ("Wed, 21 Oct 2099 07:28:00 GMT", 86400, 86400),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0, 0),
        ("99999999999999999999", 86400, 86400),
    ):
        bitbucket.script_fault("token", "429", retry_after=header)
        with pytest.raises(BitbucketUnreachable) as caught:
            oauth.fetch_with_client_credentials(endpoint, consumer.key, secret)
        assert low <= (caught.value.retry_after or 0) <= high
    for header in ("soon", "-5", "", "\u0663"):
        bitbucket.script_fault("token", "503", retry_after=header)
        with pytest.raises(BitbucketUnreachable) as caught:
            oauth.fetch_with_client_credentials(endpoint, consumer.key, secret)
        assert caught.value.retry_after is None


def test_a_redirect_is_not_followed(
    bitbucket: FakeBitbucket, endpoint: Endpoint, consumer: ConsumerKey, secret: Secret
) -> None:
    """A refresh token goes to the token endpoint and nowhere else, not even on the same host."""
    _, refresh_token = bitbucket.issue_login(consumer)
    bitbucket.script_fault("token", "redirect", location=f"{bitbucket.url}/site/oauth2/access_token?again")
    mark = bitbucket.mark()
    with pytest.raises(RejectedByBitbucket, match="redirect"):
        refresh(endpoint, consumer.key, secret, Secret(refresh_token))
    assert len(bitbucket.requests(since=mark)) == 1


def test_no_plain_http_even_if_the_library_is_told_to_allow_it(
    monkeypatch: pytest.MonkeyPatch, consumer: ConsumerKey, secret: Secret
) -> None:
    """OAUTHLIB_INSECURE_TRANSPORT in the environment changes nothing."""
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    plain = endpoint_at("http://127.0.0.1:9", None)
    token = Secret("a" * 20)
    for ask in (
        lambda: oauth.authorize_url(plain, consumer.key, CALLBACK, SCOPES, "s", VERIFIER),
        lambda: oauth.exchange_code(plain, consumer.key, secret, "code", CALLBACK, VERIFIER),
        lambda: refresh(plain, consumer.key, secret, token),
        lambda: oauth.fetch_with_client_credentials(plain, consumer.key, secret),
        lambda: oauth.revoke(plain, consumer.key, secret, token),
    ):
        with pytest.raises(SettingsError, match="plain http"):
            ask()


def test_nothing_secret_is_logged_at_any_level(
    bitbucket: FakeBitbucket,
    endpoint: Endpoint,
    consumer: ConsumerKey,
    secret: Secret,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With every logger at debug and http.client's own switch on, no token, code or secret is printed."""
    monkeypatch.setattr("http.client.HTTPConnection.debuglevel", 2)
    for name in ("", "requests_oauthlib", "requests_oauthlib.oauth2_session", "oauthlib", "urllib3"):
        caplog.set_level(logging.DEBUG, logger=name)
    code = code_from(endpoint, consumer, bitbucket)
    capfd.readouterr()  # the browser above is a test's, and prints what it does
    caplog.clear()
    grant = oauth.exchange_code(endpoint, consumer.key, secret, code, CALLBACK, VERIFIER)
    assert grant.refresh_token
    refresh(endpoint, consumer.key, secret, grant.refresh_token)
    oauth.fetch_with_client_credentials(endpoint, consumer.key, secret)
    oauth.revoke(endpoint, consumer.key, secret, grant.access_token)
    printed = caplog.text + "".join(capfd.readouterr())
    assert "Starting new HTTPS connection" in printed
    assert not [each for each in (*bitbucket.secrets(), VERIFIER) if each in printed]


def test_revocation_tells_the_truth(
    bitbucket: FakeBitbucket, endpoint: Endpoint, consumer: ConsumerKey, secret: Secret
) -> None:
    """Taken, refused, no such endpoint, no answer: True, False and twice None."""
    access_token, refresh_token = bitbucket.issue_login(consumer)
    assert oauth.revoke(endpoint, consumer.key, Secret("wrong"), Secret(refresh_token)) is False
    assert oauth.revoke(endpoint, consumer.key, secret, Secret(access_token)) is True
    with pytest.raises(LoginExpired):
        refresh(endpoint, consumer.key, secret, Secret(refresh_token))
    bitbucket.turn(revocation=False)
    assert oauth.revoke(endpoint, consumer.key, secret, Secret(access_token)) is None
    bitbucket.script_fault("revoke", "reset")
    assert oauth.revoke(endpoint, consumer.key, secret, Secret(access_token)) is None
