"""token_response.py: what becomes of the token endpoint's answers, one detail at a time."""

import json

import pytest

from git_credential_bitbucket.bitbucket.token_response import Grant, GrantType, RawAnswer, TokenResponse, interpret
from git_credential_bitbucket.errors import RejectedByBitbucket
from tests.fake_bitbucket import tokens

URL = "https://bitbucket.org/site/oauth2/access_token"


def judged(document: object, status: int = 200, asked: GrantType = "refresh_token", sent: str = "") -> TokenResponse:
    """What an answer with this document or body means."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return interpret(RawAnswer(status, "application/json", None, body), asked, URL, (sent,))


def granted(**fields: object) -> Grant:
    """The grant in a document with an access token and `fields`."""
    return judged({"access_token": tokens.oauth_token(), **fields}).granted()


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (7200, 7200),
        (2.9, 2),
        ("3600", 3600),
        (0, None),
        (-5, None),
        ("soon", None),
        ("-1", None),
        ("\u0663\u0663", None),
        (None, None),
        (True, None),
        ([], None),
        (10**30, None),
        ("9" * 5000, None),
        (float("inf"), None),
        (float("nan"), None),
    ],
)
def test_a_lifetime_that_is_none_never_costs_the_tokens(value: object, seconds: int | None) -> None:
    """The new refresh token is in the same document, so an odd `expires_in` is left out, and nothing is raised."""
    refresh_token = tokens.oauth_token()
    grant = granted(expires_in=value, refresh_token=refresh_token)
    assert grant.expires_in == seconds
    assert grant.refresh_token is not None
    assert grant.refresh_token.reveal() == refresh_token


@pytest.mark.parametrize(
    ("fields", "scopes"),
    [
        ({"scope": "repository account"}, ("repository", "account")),
        ({"scopes": "repository account"}, ("repository", "account")),
        ({"scopes": "repository,account repository"}, ("repository", "account")),
        ({"scope": ["repository", "account", 7]}, ("repository", "account")),
        ({"scope": None}, ()),
        ({"scope": None, "scopes": "repository"}, ("repository",)),
        ({"scope": {"a": 1}}, ()),
        ({"scope": "evil\u202escope repository"}, ("repository",)),
        ({}, ()),
    ],
)
def test_scopes_are_read_in_every_shape(fields: dict[str, object], scopes: tuple[str, ...]) -> None:
    """Old and new name, string and list; what cannot be a scope is left out."""
    assert granted(**fields).scopes == scopes


@pytest.mark.parametrize("token", [None, 7, "", "two\nlines", "a blank", "n\u00f6n-ascii", "nul\0", "x" * 40000])
def test_a_token_that_git_could_not_be_given_is_refused(token: object) -> None:
    """It must fit on one line of git's protocol."""
    assert "without a usable access token" in str(judged({"access_token": token}).error)


@pytest.mark.parametrize("asked", ["authorization_code", "refresh_token", "client_credentials", "jwt_bearer"])
@pytest.mark.parametrize(
    "document",
    [
        {"error": "server_error"},
        {"error": "invalid_grant", "error_description": "for {secret} \x1b[2J"},
        {"error": "{secret}", "error_description": 7},
        {"error": {"message": "no {secret}"}},
        {"error": ["odd"]},
        {"error": 7},
    ],
)
def test_an_error_repeats_neither_secrets_nor_control_bytes(asked: GrantType, document: dict[str, object]) -> None:
    """The server's words are shown, but not what was sent to it, and nothing that moves the cursor."""
    secret = tokens.oauth_token(60)
    answer = json.loads(json.dumps(document).replace("{secret}", secret))
    for status in (200, 400, 401):
        told = judged(answer, status, asked, secret)
        assert told.grant is None
        assert secret not in str(told.error)
        assert str(told.error).isprintable()


def test_a_rejection_without_words_is_still_a_rejection() -> None:
    """A page for people with 403, an empty 400, a JSON list with 404."""
    for document, status in ((b"<html>", 403), (b"", 400), ([1], 404)):
        with pytest.raises(RejectedByBitbucket, match=str(status)):
            judged(document, status, "client_credentials").granted()
