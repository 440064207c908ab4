"""answers.py: what becomes of the token endpoint's documents, one detail at a time."""

import io
import json

import pytest
import requests

from git_credential_bitbucket.bitbucket.answers import EXCHANGE, MINT, REFRESH, Question
from git_credential_bitbucket.bitbucket.grant import Grant
from git_credential_bitbucket.errors import BitbucketRefused, BitbucketUnreachable, Error
from tests.standin import tokens

URL = "https://bitbucket.org/site/oauth2/access_token"


def answer(document: object, status: int = 200) -> requests.Response:
    """An answer as the transport gives it."""
    response = requests.Response()
    response.status_code, response.url = status, URL
    response.raw = io.BytesIO(document if isinstance(document, bytes) else json.dumps(document).encode())
    return response


def granted(**fields: object) -> Grant:
    """The grant in a document with an access token and `fields`."""
    question = Question(REFRESH, ())
    question.read(answer({"access_token": tokens.oauth_token(), **fields}))
    return question.grant()


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
    with pytest.raises(BitbucketUnreachable) as caught:
        Question(REFRESH, ()).read(answer({"access_token": token}))
    assert "without a usable access token" in caught.value.cause


@pytest.mark.parametrize("grant_type", [EXCHANGE, REFRESH, MINT])
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
def test_an_error_repeats_neither_secrets_nor_control_bytes(grant_type: str, document: dict[str, object]) -> None:
    """The server's words are shown, but not what was sent to it, and nothing that moves the cursor."""
    secret = tokens.oauth_token(60)
    told = json.loads(json.dumps(document).replace("{secret}", secret))
    for status in (200, 400, 401):
        with pytest.raises(Error) as caught:
            Question(grant_type, (secret,)).read(answer(told, status))
        assert secret not in str(caught.value)
        assert str(caught.value).isprintable()


def test_a_refusal_without_words_is_still_a_refusal() -> None:
    """A page for people with 403, an empty 400, a JSON list with 404."""
    for document, status in ((b"<html>", 403), (b"", 400), ([1], 404)):
        with pytest.raises(BitbucketRefused, match=str(status)):
            Question(MINT, ()).read(answer(document, status))


def test_a_question_that_was_never_answered_has_no_grant() -> None:
    """A grant is what `read` has seen, not what the library made of it."""
    with pytest.raises(BitbucketUnreachable):
        Question(MINT, ()).grant()
