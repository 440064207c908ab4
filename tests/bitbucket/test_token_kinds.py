"""token_kinds.py: which secret is what, by tokens made in Bitbucket's shape."""

import base64
from collections.abc import Callable

import pytest

from git_credential_bitbucket.bitbucket import token_kinds
from git_credential_bitbucket.errors import SettingsError
from git_credential_bitbucket.secret import Secret
from tests.fake_bitbucket import tokens

MADE = {
    token_kinds.API_TOKEN: tokens.api_token,
    token_kinds.ACCESS_TOKEN: tokens.access_token,
    token_kinds.APP_PASSWORD: tokens.app_password,
    token_kinds.UNKNOWN: tokens.oauth_token,
}


@pytest.mark.parametrize("kind", sorted(MADE))
def test_the_prefix_tells_the_kind(kind: str) -> None:
    """Each kind of secret is recognised; an OAuth token has no prefix and stays unknown."""
    assert token_kinds.recognise(MADE[kind]()) == kind


@pytest.mark.parametrize(
    ("kind", "username"),
    [
        (token_kinds.API_TOKEN, "x-bitbucket-api-token-auth"),
        (token_kinds.ACCESS_TOKEN, "x-token-auth"),
        (token_kinds.OAUTH, "x-token-auth"),
        (token_kinds.CLIENT_CREDENTIALS, "x-token-auth"),
        (token_kinds.APP_PASSWORD, None),
        (token_kinds.UNKNOWN, None),
    ],
)
def test_git_s_username_follows_from_the_kind(kind: str, username: str | None) -> None:
    assert token_kinds.git_username(kind) == username


def test_the_checksum_covers_all_before_it() -> None:
    """A whole token fits; a cut one, a changed one and one with lower-case digits do not; none is due for others."""
    token = tokens.api_token()
    assert token_kinds.is_checksum_valid(token) is True
    assert token_kinds.is_checksum_valid(tokens.access_token()) is True
    assert token_kinds.is_checksum_valid(tokens.app_password()) is True
    assert token_kinds.is_checksum_valid(token[:-1]) is False
    assert token_kinds.is_checksum_valid(token[:20] + ("a" if token[20] != "a" else "b") + token[21:]) is False
    assert token_kinds.is_checksum_valid("ATATT3") is False
    assert token_kinds.is_checksum_valid(tokens.oauth_token()) is None


def test_a_whole_token_is_left_as_it_is() -> None:
    """Nothing to tidy, nothing to say; the line feed that ends every paste is not worth a word."""
    token = tokens.api_token()
    assert token_kinds.clean_paste(token) == (token, [])
    assert token_kinds.clean_paste(token + "\r\n") == (token, [])


@pytest.mark.parametrize(
    "wrap", ["  {}", "\t{} ", '"{}"', "'{}'\n", "\u201c{}\u201d", "\ufeff{}", "Bearer {}", "Authorization: Bearer {}"]
)
def test_what_came_along_with_a_paste_is_removed_and_said(wrap: str) -> None:
    """Blanks, quotes, invisible characters and a header's words go, and a warning without the secret says so."""
    token = tokens.access_token()
    secret, warnings = token_kinds.clean_paste(wrap.format(token))
    assert secret == token
    assert warnings
    assert not any(token in warning for warning in warnings)


def test_a_token_copied_over_two_lines_is_joined() -> None:
    """A terminal's line break inside a token is not part of it."""
    token = tokens.api_token()
    assert token_kinds.clean_paste(f"{token[:80]}\n  {token[80:]}\n") == (token, ["removed spaces inside it"])


def test_an_email_and_an_app_password_are_named_as_such() -> None:
    """The two classic mistakes each get their own words."""
    assert token_kinds.clean_paste("alice@example.com")[1] == ["this looks like an email address, not a token"]
    assert "app password" in token_kinds.clean_paste(tokens.app_password())[1][0]


def test_an_unknown_secret_keeps_its_blanks_inside() -> None:
    assert token_kinds.clean_paste("correct horse battery") == ("correct horse battery", [])


def test_rest_takes_an_api_token_with_its_email_only() -> None:
    """Basic with the email; the username would get 401, so that is refused before it is sent."""
    token = tokens.api_token()
    header = token_kinds.rest_header(token_kinds.API_TOKEN, "alice@example.com", Secret(token))
    assert base64.b64decode(header.removeprefix("Basic ")).decode() == f"alice@example.com:{token}"
    for wrong in (None, "", "alice", "a:b@example.com"):
        with pytest.raises(SettingsError):
            token_kinds.rest_header(token_kinds.API_TOKEN, wrong, Secret(token))


def test_rest_takes_other_tokens_as_bearer_and_no_app_password() -> None:
    """Access tokens and OAuth go as Bearer; an app password is rejected."""
    token = tokens.access_token()
    assert token_kinds.rest_header(token_kinds.ACCESS_TOKEN, None, Secret(token)) == f"Bearer {token}"
    with pytest.raises(SettingsError, match="app password"):
        token_kinds.rest_header(token_kinds.APP_PASSWORD, "alice", Secret(tokens.app_password()))


@pytest.mark.parametrize(
    ("secret", "username", "cause"),
    [
        (tokens.api_token, "alice@example.com", "an email address"),
        (tokens.api_token, "alice", None),
        (tokens.api_token, token_kinds.API_TOKEN_USERNAME, None),
        (tokens.api_token, None, None),
        (tokens.access_token, "alice", token_kinds.ACCESS_TOKEN_USERNAME),
        (tokens.access_token, token_kinds.ACCESS_TOKEN_USERNAME, None),
        (tokens.access_token, None, None),
        (tokens.oauth_token, "alice@example.com", None),
    ],
)
def test_a_username_that_cannot_work_is_known(
    secret: Callable[[], str], username: str | None, cause: str | None
) -> None:
    """Only where Bitbucket never takes it: an API token goes with its owner's Bitbucket username as well."""
    told = token_kinds.username_problem(secret(), username)
    assert (told is None) == (cause is None)
    assert told is None or (cause or "") in told.cause
