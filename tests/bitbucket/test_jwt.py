"""The grant for Atlassian Connect apps: a signed JWT for an access token. PyJWT signs, the stand-in checks."""

import sys
from typing import Any

import jwt
import pytest

from git_credential_bitbucket.bitbucket import oauth
from git_credential_bitbucket.bitbucket.providers import Endpoint
from git_credential_bitbucket.errors import BitbucketUnreachable, InvalidClient, SettingsError
from git_credential_bitbucket.secret import Secret
from tests.fake_bitbucket.client import ConsumerKey, FakeBitbucket
from tests.fake_bitbucket.tokens import digest

CLIENT_KEY = "ari:cloud:bitbucket::app/1b9ee2b2/installation"


def test_a_signed_jwt_becomes_a_token(
    bitbucket: FakeBitbucket, endpoint: Endpoint, consumer: ConsumerKey, secret: Secret
) -> None:
    """In the header that Bitbucket wants, in its own words; there is no refresh token."""
    grant = oauth.fetch_with_jwt(endpoint, consumer.key, CLIENT_KEY, secret)
    assert grant.access_token.reveal() in bitbucket.secrets()
    assert (grant.refresh_token, grant.expires_in) == (None, 7200)
    (asked,) = bitbucket.token_requests()
    assert asked.form["grant_type"] == "urn:bitbucket:oauth2:jwt"
    assert asked.form["client_authentication"] == "jwt"
    assert asked.secret != digest(consumer.secret)


def test_the_jwt_names_app_and_installation_and_is_good_for_minutes(
    endpoint: Endpoint, consumer: ConsumerKey, secret: Secret, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Issuer, subject, and an end that leaves a clock some room."""
    made: list[str] = []
    sign = jwt.encode

    def record_call(*given: Any, **more: Any) -> str:  # noqa: ANN401 - PyJWT's own
        made.append(sign(*given, **more))
        return made[-1]

    monkeypatch.setattr(jwt, "encode", record_call)
    oauth.fetch_with_jwt(endpoint, consumer.key, CLIENT_KEY, secret)
    claims = jwt.decode(made[0], consumer.secret, algorithms=["HS256"], options={"verify_sub": True})
    assert (claims["iss"], claims["sub"], claims["exp"] - claims["iat"]) == (consumer.key, CLIENT_KEY, 180)


def test_a_wrong_secret_is_told_with_what_to_check(endpoint: Endpoint, consumer: ConsumerKey) -> None:
    wrong = Secret("not the secret of this installation" * 2)
    with pytest.raises(InvalidClient, match="JWT") as caught:
        oauth.fetch_with_jwt(endpoint, consumer.key, CLIENT_KEY, wrong)
    assert "shared secret" in (caught.value.hint or "")
    assert wrong.reveal() not in caught.value.cause


def test_trouble_at_bitbucket_is_no_verdict(
    bitbucket: FakeBitbucket, endpoint: Endpoint, consumer: ConsumerKey, secret: Secret
) -> None:
    bitbucket.script_fault("token", "503")
    with pytest.raises(BitbucketUnreachable):
        oauth.fetch_with_jwt(endpoint, consumer.key, CLIENT_KEY, secret)


def test_without_pyjwt_the_way_to_it_is_told(
    endpoint: Endpoint, consumer: ConsumerKey, secret: Secret, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is an extra, for few have such an app."""
    monkeypatch.setitem(sys.modules, "jwt", None)
    with pytest.raises(SettingsError) as caught:
        oauth.fetch_with_jwt(endpoint, consumer.key, CLIENT_KEY, secret)
    assert "pipx inject git-credential-bitbucket PyJWT" in (caught.value.hint or "")
