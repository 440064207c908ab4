"""paste_validation.py: what people paste where a secret belongs, with secrets made at run time."""

import base64

import pytest

from git_credential_bitbucket.bitbucket import hosts, token_kinds
from git_credential_bitbucket.cli import options
from git_credential_bitbucket.errors import Error, LoginFailed
from git_credential_bitbucket.login import paste_validation
from tests.fake_bitbucket import tokens


@pytest.mark.parametrize(
    ("make", "kind"), [(tokens.api_token, token_kinds.API_TOKEN), (tokens.access_token, token_kinds.ACCESS_TOKEN)]
)
def test_a_whole_token_is_taken_without_a_word(make: "object", kind: "token_kinds.Kind") -> None:
    secret = make()  # type: ignore[operator]  # parametrize knows no types
    checked = paste_validation.check_token(secret, kind)
    assert (checked.secret.reveal(), checked.kind, checked.warnings) == (secret, kind, ())


def test_the_prefix_decides_and_not_what_the_person_chose() -> None:
    """An access token pasted as an API token would get the wrong username."""
    checked = paste_validation.check_token(tokens.access_token(), token_kinds.API_TOKEN)
    assert checked.kind == token_kinds.ACCESS_TOKEN
    assert "this is an access token" in checked.warnings[0]


@pytest.mark.parametrize(
    "text",
    [
        "https://x-token-auth:{}@bitbucket.org/acme/deploy.git",
        "git clone https://x-token-auth:{}@bitbucket.org/acme/ATBB.git\n",
        "https://{}@bitbucket.org/acme/deploy.git",
        "alice@example.com:{}",
        '"alice:{}"',
    ],
)
@pytest.mark.parametrize("make", [tokens.api_token, tokens.access_token])
def test_a_token_in_an_address_is_taken_out_of_it(make: "object", text: str) -> None:
    """Bitbucket's own page shows a clone address; it is said what was done, and not called an email address."""
    secret = make()  # type: ignore[operator]  # parametrize knows no types
    for written in (secret, secret.replace("=", "%3D")):
        checked = paste_validation.check_token(text.format(written), token_kinds.recognise(secret))
        assert checked.secret.reveal() == secret
        assert checked.warnings == ("only the token in the pasted text is used",)
    with pytest.raises(LoginFailed, match="app password"):
        paste_validation.check_token(text.format(tokens.app_password()), token_kinds.API_TOKEN)


def test_half_a_token_is_known_by_its_checksum() -> None:
    """Whoever asks for it decides: Atlassian calls the shape varied."""
    assert not paste_validation.check_token(tokens.api_token()[:-3], token_kinds.API_TOKEN).is_whole
    for text in (tokens.api_token(), tokens.oauth_token(200)):
        assert paste_validation.check_token(text, token_kinds.API_TOKEN).is_whole


def test_an_unknown_prefix_is_taken_as_what_was_asked_for_with_a_warning() -> None:
    """Prefixes may change, and then nobody shall be locked out."""
    checked = paste_validation.check_token(tokens.oauth_token(200), token_kinds.ACCESS_TOKEN)
    assert checked.kind == token_kinds.ACCESS_TOKEN
    assert "ATCTT" in checked.warnings[0]


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", "no token was given"),
        ("  \n", "no token was given"),
        ("alice@example.com", "an email"),
        ("https://x-token-auth:some-oauth-token-or-other@bitbucket.org/acme/app.git", "a URL, not a token"),
        ("tiny-one", "too short"),
        ("what is this thing here for", "spaces"),
        ("\x1b[31mred and long enough\x1b[0m", "spaces or control"),
        ("pässword-long-enough", "spaces or control"),
        ("BBDC-" + "x" * 40, "Data Center"),
    ],
)
def test_what_cannot_be_a_token_is_refused_with_the_reason(text: str, cause: str) -> None:
    """Each slip has its own words, and none repeats what was typed."""
    with pytest.raises(LoginFailed, match=cause) as refused:
        paste_validation.check_token(text, token_kinds.API_TOKEN)
    assert not text.strip() or text.strip() not in str(refused.value)


def test_an_app_password_is_refused_with_the_way_out() -> None:
    with pytest.raises(LoginFailed, match="app password") as refused:
        paste_validation.check_token(tokens.app_password(), token_kinds.API_TOKEN)
    assert "login --api-token" in str(refused.value.hint)


def test_a_consumers_key_and_secret_in_both_shapes() -> None:
    """18 and 32 characters before June 2026, 32 and 76 since."""
    for old in (True, False):
        key, secret = tokens.consumer_pair(old=old)
        assert paste_validation.consumer_key(f" {key}\n") == key
        assert paste_validation.consumer_secret(secret).reveal() == secret


def test_a_token_is_no_consumers_key_and_no_secret() -> None:
    """Whoever mixes them up is told where a token goes."""
    for check in (paste_validation.consumer_key, paste_validation.consumer_secret):
        with pytest.raises(LoginFailed, match="not the"):
            check(tokens.api_token())


@pytest.mark.parametrize("text", [tokens.api_token(), "two words", "a:b", "bell\x07"])
def test_what_is_no_account_is_refused(text: str) -> None:
    """A secret typed at the visible prompt is not kept as a name, nor repeated."""
    with pytest.raises(LoginFailed) as refused:
        paste_validation.check_account(text)
    assert text not in f"{refused.value.cause} {refused.value.hint}"


def test_an_account_may_be_left_out() -> None:
    """Only REST needs it."""
    assert paste_validation.check_account("") is None
    assert paste_validation.check_account(" alice@example.com ") == "alice@example.com"


@pytest.mark.parametrize("around", ["{}", "alice:{}", "https://alice:{quoted}@git.example/scm/PROJ/app.git"])
def test_a_data_centers_token_is_whole_although_it_holds_slashes(around: str) -> None:
    """Standard base64 has `+` and `/`, which a URL must have percent-encoded."""
    token = "BBDC-" + base64.b64encode(b"012345678901:" + b"\xff\xff\xbe\xfb" * 5).decode()
    assert "/" in token[: token_kinds.MIN_WHOLE_CHARACTERS]
    text = around.format(token, quoted=token.replace("/", "%2F").replace("+", "%2B"))
    found = paste_validation.check_token(text, token_kinds.ACCESS_TOKEN, hosts.DATA_CENTER)
    assert found.secret.reveal() == token
    with pytest.raises(Error):
        options.refuse_secrets([f"--token={text}"])
