"""attempt.py: what a redirect may say to a login, without any network."""

import base64
import hashlib
import re
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from git_credential_bitbucket.bitbucket.providers import Provider
from git_credential_bitbucket.errors import LoginFailed, SettingsError
from git_credential_bitbucket.login.authorization import Attempt
from tests.fake_bitbucket import tokens


@pytest.fixture
def attempt(cloud: Provider) -> Attempt:
    """A login at bitbucket.org that nobody will answer."""
    return Attempt(cloud, "key", ("repository", "repository:write"))


def state_of(attempt: Attempt) -> str:
    """The state that its address carries."""
    return parse_qs(urlsplit(attempt.url).query)["state"][0]


def test_the_address_asks_for_what_git_needs_and_carries_pkce(attempt: Attempt) -> None:
    """S256 of the verifier that the exchange will repeat, a state, the scopes, the redirect; and no secret."""
    fields = parse_qs(urlsplit(attempt.url).query)
    verifier = attempt.grant(f"code=c&state={state_of(attempt)}").verifier
    digest = hashlib.sha256(verifier.encode()).digest()
    assert fields["code_challenge"] == [base64.urlsafe_b64encode(digest).rstrip(b"=").decode()]
    assert fields["code_challenge_method"] == ["S256"]
    assert fields["scope"] == ["repository repository:write"]
    assert fields["redirect_uri"] == ["http://localhost:1/"]
    assert fields["response_type"] == ["code"]
    assert re.fullmatch(r"[A-Za-z0-9_-]{43,128}", verifier)
    assert verifier not in attempt.url
    assert len(state_of(attempt)) >= 43


def test_each_attempt_has_secrets_of_its_own(cloud: Provider) -> None:
    first, second = (Attempt(cloud, "key", ()) for _ in range(2))
    assert state_of(first) != state_of(second)
    assert not second.matches_state(f"code=c&state={state_of(first)}")
    assert "scope" not in parse_qs(urlsplit(first.url).query)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "code=c",
        "code=c&state=",
        "code=c&state={state}x",
        "code=c&state={state}&state={state}",
        "code=c&state=guess&state={state}",
        "code=c&State={state}",
        "code=c;state={state}",
        "code=c&state=%00{state}",
        "code=c&state=\udcff",
        "&".join(f"x{n}=1" for n in range(100)) + "&state={state}",
    ],
)
def test_only_the_one_right_state_is_ours(attempt: Attempt, query: str) -> None:
    """Missing, wrong, doubled, misspelt or buried: not the answer to this login."""
    assert not attempt.matches_state(query.replace("{state}", state_of(attempt)))


def test_a_state_is_good_for_one_answer(attempt: Attempt) -> None:
    """The first answer counts, whatever it says."""
    assert attempt.matches_state(f"code=c&state={state_of(attempt)}")
    assert attempt.claim()
    assert not attempt.claim()


def test_a_refusal_says_who_refused_and_why(attempt: Attempt) -> None:
    """The person's own no, Bitbucket's, and one with control bytes in it."""
    with pytest.raises(LoginFailed, match="denied in the browser"):
        attempt.grant("error=access_denied")
    with pytest.raises(LoginFailed, match="invalid_scope: The consumer lacks") as caught:
        attempt.grant(urlencode({"error": "invalid_scope", "error_description": "The consumer lacks that scope."}))
    assert "permissions" in (caught.value.hint or "")
    with pytest.raises(LoginFailed) as caught:
        attempt.grant(urlencode({"error": "\x1b[2J", "error_description": "\u202e\n" * 500}))
    assert caught.value.cause.isprintable()
    assert len(caught.value.cause) < 1500


@pytest.mark.parametrize(
    "query", ["state=s", "code=&state=s", "code=a&code=b", "code=a%20b", "code=%0a", "code=" + "x" * 3000]
)
def test_what_is_no_code_is_refused(attempt: Attempt, query: str) -> None:
    """None, two, with blanks, too long."""
    with pytest.raises(LoginFailed):
        attempt.grant(query)


def test_a_token_in_place_of_a_code_is_told_apart(attempt: Attempt) -> None:
    """Somebody who pastes a token hears where it belongs, and it is not sent anywhere."""
    token = tokens.api_token()
    with pytest.raises(LoginFailed, match="is a token") as caught:
        attempt.with_code(token)
    assert token not in f"{caught.value}{caught.value.hint}"


def test_a_grant_does_not_show_its_secrets(attempt: Attempt) -> None:
    grant = attempt.with_code("the-code-itself")
    assert grant.code not in repr(grant)
    assert grant.verifier not in repr(grant)


def test_no_attempt_is_made_where_oauth_may_not_run(cloud: Provider) -> None:
    """Plain http, or verification turned off: refused before anything is shown."""
    for wrong in (cloud._replace(protocol="http"), cloud._replace(unverified_by="http.sslVerify")):
        with pytest.raises(SettingsError):
            Attempt(wrong, "key", ())
