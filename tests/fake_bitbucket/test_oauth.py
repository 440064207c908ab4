"""Each grant as a client lives it, by plain requests; the consent page by a browser that knows forms."""

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import requests

from tests.fake_bitbucket.browser import decide
from tests.fake_bitbucket.client import CALLBACK, ConsumerKey, FakeBitbucket

Ask = Callable[..., requests.Response]


@pytest.fixture
def consumer(bitbucket: FakeBitbucket) -> ConsumerKey:
    """A private consumer of the workspace acme."""
    return bitbucket.add_consumer()


@pytest.fixture
def ask(bitbucket: FakeBitbucket, http: requests.Session, consumer: ConsumerKey) -> Ask:
    """One request to the token endpoint, the client authenticated by Basic."""

    def request(**form: str) -> requests.Response:
        url = f"{bitbucket.url}/site/oauth2/access_token"
        return http.post(url, data=form, auth=(consumer.key, consumer.secret), timeout=30)

    return request


def consent(
    bitbucket: FakeBitbucket, consumer: ConsumerKey, button: str = "grant", **parameters: str
) -> dict[str, str]:
    """What the callback gets after the button was pressed."""
    query = urlencode({"client_id": consumer.key, "response_type": "code", **parameters})
    target = urlsplit(decide(f"{bitbucket.url}/site/oauth2/authorize?{query}", bitbucket.ca_file, button=button))
    assert f"{target.scheme}://{target.netloc}" == CALLBACK.rstrip("/")
    return {name: values[0] for name, values in parse_qs(target.query or target.fragment).items()}


def test_a_code_with_pkce_and_redirect_becomes_tokens_that_work(
    bitbucket: FakeBitbucket, http: requests.Session, consumer: ConsumerKey, ask: Ask
) -> None:
    """State comes back, the verifier is checked, the answer has the documented fields, the token names alice."""
    verifier = secrets.token_urlsafe(48)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    told = consent(
        bitbucket, consumer, state="s", redirect_uri=CALLBACK, code_challenge=challenge, code_challenge_method="S256"
    )
    assert told["state"] == "s"
    answer = ask(
        grant_type="authorization_code", code=told["code"], redirect_uri=CALLBACK, code_verifier=verifier
    ).json()
    assert answer["scope"] == "account repository repository:write"
    assert (answer["token_type"], answer["expires_in"]) == ("bearer", 7200)
    assert len(answer["access_token"]) > 2500
    bearer = {"Authorization": f"Bearer {answer['access_token']}"}
    assert http.get(f"{bitbucket.api_url}/user", headers=bearer, timeout=30).json()["username"] == "alice"


@pytest.mark.parametrize(
    "change",
    [{"code_verifier": "wrong" * 10}, {"redirect_uri": CALLBACK + "other"}, {"redirect_uri": ""}, {"code": "wrong"}],
)
def test_an_exchange_that_does_not_repeat_the_request_is_refused(
    bitbucket: FakeBitbucket, consumer: ConsumerKey, ask: Ask, change: dict[str, str]
) -> None:
    """Verifier, redirect_uri and code each must fit."""
    verifier = secrets.token_urlsafe(48)
    told = consent(bitbucket, consumer, redirect_uri=CALLBACK, code_challenge=verifier)
    form = {"code": told["code"], "redirect_uri": CALLBACK, "code_verifier": verifier, **change}
    answer = ask(grant_type="authorization_code", **form)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")


def test_a_code_works_once_and_for_ten_minutes(bitbucket: FakeBitbucket, consumer: ConsumerKey, ask: Ask) -> None:
    """The second exchange fails, and so does the first one after 601 seconds."""
    code = consent(bitbucket, consumer)["code"]
    assert ask(grant_type="authorization_code", code=code).status_code == 200
    assert ask(grant_type="authorization_code", code=code).json()["error"] == "invalid_grant"
    late = consent(bitbucket, consumer)["code"]
    bitbucket.advance(601)
    assert ask(grant_type="authorization_code", code=late).json()["error"] == "invalid_grant"


def test_deny_comes_back_as_access_denied(bitbucket: FakeBitbucket, consumer: ConsumerKey) -> None:
    """With the state, without a code."""
    told = consent(bitbucket, consumer, "deny", state="s")
    assert (told["error"], told["state"]) == ("access_denied", "s")
    assert "code" not in told


def test_the_implicit_grant_answers_in_the_fragment(bitbucket: FakeBitbucket, consumer: ConsumerKey) -> None:
    """A token at once, and no refresh token."""
    told = consent(bitbucket, consumer, response_type="token", state="s")
    assert (told["token_type"], told["state"]) == ("bearer", "s")
    assert "refresh_token" not in told


@pytest.mark.parametrize(
    "redirect_uri", ["http://127.0.0.1:34107/", "http://localhost:34106/", "http://127.0.0.1:34106.evil.example/"]
)
def test_a_redirect_uri_must_extend_the_callback(
    bitbucket: FakeBitbucket, consumer: ConsumerKey, redirect_uri: str
) -> None:
    """Another port or name is refused on the page, not by a redirect."""
    with pytest.raises(RuntimeError, match="Invalid redirect_uri"):
        consent(bitbucket, consumer, redirect_uri=redirect_uri)


def test_every_refresh_rotates_and_the_old_token_dies_without_grace(
    bitbucket: FakeBitbucket, consumer: ConsumerKey, ask: Ask
) -> None:
    """Re-use is refused as an invalid client, and locks the valid token out for a while."""
    _, first = bitbucket.issue_login(consumer)
    second = ask(grant_type="refresh_token", refresh_token=first).json()["refresh_token"]
    assert second != first
    again = ask(grant_type="refresh_token", refresh_token=first)
    assert again.json() == {
        "error": "unauthorized_client",
        "error_description": "Invalid OAuth client credentials",
    }
    assert ask(grant_type="refresh_token", refresh_token=second).status_code == 400
    bitbucket.advance(6)
    assert ask(grant_type="refresh_token", refresh_token=second).status_code == 200


def test_the_old_shape_keeps_the_refresh_token_and_says_scopes(
    bitbucket: FakeBitbucket, consumer: ConsumerKey, ask: Ask
) -> None:
    """The roll-out is per client, so a client meets both shapes."""
    bitbucket.turn(rotate_refresh_tokens=False, scope_field="scopes", token_lifetime=3600)
    _, refresh_token = bitbucket.issue_login(consumer)
    for _ in range(2):
        answer = ask(grant_type="refresh_token", refresh_token=refresh_token).json()
        assert answer["refresh_token"] == refresh_token
        assert "scopes" in answer
        assert "scope" not in answer


def test_a_refresh_token_dies_after_three_months_or_with_the_consent(
    bitbucket: FakeBitbucket, consumer: ConsumerKey, ask: Ask
) -> None:
    """Both are invalid_grant."""
    _, idle = bitbucket.issue_login(consumer, "alice")
    _, taken_back = bitbucket.issue_login(consumer, "bob")
    assert bitbucket.revoke_logins("bob") == 1
    assert ask(grant_type="refresh_token", refresh_token=taken_back).json()["error"] == "invalid_grant"
    bitbucket.advance(91 * 86400)
    assert ask(grant_type="refresh_token", refresh_token=idle).json()["error"] == "invalid_grant"


def test_client_credentials_get_no_refresh_token_and_act_as_app_user(
    bitbucket: FakeBitbucket, http: requests.Session, ask: Ask
) -> None:
    """Minted again instead, each time another token."""
    answers = [ask(grant_type="client_credentials").json() for _ in range(2)]
    assert answers[0]["access_token"] != answers[1]["access_token"]
    assert "refresh_token" not in answers[0]
    bearer = {"Authorization": f"Bearer {answers[0]['access_token']}"}
    assert http.get(f"{bitbucket.api_url}/user", headers=bearer, timeout=30).json()["type"] == "app_user"


def test_client_credentials_need_a_callback_and_a_private_consumer(
    bitbucket: FakeBitbucket, http: requests.Session
) -> None:
    """Each refusal by its documented error."""
    url = f"{bitbucket.url}/site/oauth2/access_token"
    form = {"grant_type": "client_credentials"}
    bare, public = bitbucket.add_consumer(callback=""), bitbucket.add_consumer(private=False)
    answer = http.post(url, data=form, auth=(bare.key, bare.secret), timeout=30)
    assert (answer.status_code, answer.json()) == (
        400,
        {"error": "invalid_request", "error_description": "No callback uri defined for the OAuth client."},
    )
    answer = http.post(url, data=form, auth=(public.key, public.secret), timeout=30)
    assert answer.json()["error"] == "unauthorized_client"


def test_bitbuckets_jwt_grant_takes_a_signed_jwt_only(
    bitbucket: FakeBitbucket, http: requests.Session, consumer: ConsumerKey
) -> None:
    """Issued by the client's key and signed with its secret; one with another signature is refused."""
    url = f"{bitbucket.url}/site/oauth2/access_token"
    form = {"grant_type": "urn:bitbucket:oauth2:jwt"}
    for secret, status in ((consumer.secret, 200), ("wrong", 400)):
        header = {"Authorization": f"JWT {signed_jwt(consumer.key, secret)}"}
        assert http.post(url, data=form, headers=header, timeout=30).status_code == status


def test_the_client_may_authenticate_in_the_body(
    bitbucket: FakeBitbucket, http: requests.Session, consumer: ConsumerKey
) -> None:
    """Basic is documented, the body works too; neither or a wrong one is unauthorized_client."""
    url = f"{bitbucket.url}/site/oauth2/access_token"
    form = {"grant_type": "client_credentials"}
    in_body = {"client_id": consumer.key, "client_secret": consumer.secret}
    assert http.post(url, data=form | in_body, timeout=30).status_code == 200
    none = http.post(url, data=form, timeout=30).json()
    assert none["error_description"] == "Requests must be authenticated using OAuth client credentials"
    wrong = http.post(url, data=form, auth=(consumer.key, "wrong"), timeout=30).json()
    assert wrong["error_description"] == "Invalid OAuth client credentials"


def test_json_bodies_and_the_password_grant_are_unsupported_grant_types(
    bitbucket: FakeBitbucket, http: requests.Session, consumer: ConsumerKey, ask: Ask
) -> None:
    """JSON is not read at all, so its grant type is None."""
    url = f"{bitbucket.url}/site/oauth2/access_token"
    client = (consumer.key, consumer.secret)
    answer = http.post(url, json={"grant_type": "client_credentials"}, auth=client, timeout=30)
    assert answer.json() == {"error": "invalid_grant", "error_description": "Unsupported grant type: None"}
    password = ask(grant_type="password", username="alice", password="x").json()
    assert password["error_description"] == "Unsupported grant type: password"


def test_errors_come_with_401_by_knob(bitbucket: FakeBitbucket, ask: Ask) -> None:
    """Clients meet both."""
    bitbucket.turn(error_status=401)
    assert ask(grant_type="refresh_token", refresh_token="wrong").status_code == 401


def test_revocation_ends_the_whole_login_or_is_not_there(
    bitbucket: FakeBitbucket, http: requests.Session, consumer: ConsumerKey, ask: Ask
) -> None:
    """The endpoint is undocumented: it works, or it is 404 by knob."""
    _, refresh_token = bitbucket.issue_login(consumer)
    url, form, client = (
        f"{bitbucket.url}/site/oauth2/revoke",
        {"token": refresh_token},
        (consumer.key, consumer.secret),
    )
    bitbucket.turn(revocation=False)
    assert http.post(url, data=form, auth=client, timeout=30).status_code == 404
    bitbucket.turn(revocation=True)
    assert http.post(url, data=form, auth=client, timeout=30).status_code == 200
    assert ask(grant_type="refresh_token", refresh_token=refresh_token).json()["error"] == "invalid_grant"


def test_an_access_token_ends_after_its_lifetime_and_not_by_a_refresh(
    bitbucket: FakeBitbucket, http: requests.Session, consumer: ConsumerKey, ask: Ask
) -> None:
    """The lifetime is a knob; older access tokens live on beside newer ones."""
    bitbucket.turn(token_lifetime=10)
    access_token, refresh_token = bitbucket.issue_login(consumer)
    assert ask(grant_type="refresh_token", refresh_token=refresh_token).json()["expires_in"] == 10
    bearer = {"Authorization": f"Bearer {access_token}"}
    assert http.get(f"{bitbucket.api_url}/user", headers=bearer, timeout=30).status_code == 200
    bitbucket.advance(11)
    assert http.get(f"{bitbucket.api_url}/user", headers=bearer, timeout=30).status_code == 401


def test_the_log_of_the_token_endpoint_has_the_grant_and_no_secret(
    bitbucket: FakeBitbucket, consumer: ConsumerKey, ask: Ask
) -> None:
    """What a test may count: grant types, how the client authenticated, digests."""
    _, refresh_token = bitbucket.issue_login(consumer)
    ask(grant_type="refresh_token", refresh_token=refresh_token)
    (entry,) = bitbucket.token_requests()
    assert entry.form["grant_type"] == "refresh_token"
    assert entry.form["client_authentication"] == "basic"
    assert not any(secret in str(entry) for secret in bitbucket.secrets() if secret != consumer.key)


def signed_jwt(issuer: str, secret: str) -> str:
    """A JWT as a client of Bitbucket's own grant makes it."""
    claims = {"iss": issuer, "exp": time.time() + 60}
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in ({"alg": "HS256"}, claims)
    ]
    signature = hmac.new(secret.encode(), ".".join(parts).encode(), hashlib.sha256).digest()
    return ".".join([*parts, base64.urlsafe_b64encode(signature).rstrip(b"=").decode()])
