"""Each grant as a client lives it, by plain requests; the consent page by a browser that knows forms."""

from collections.abc import Callable
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import requests

from tests.fake_bitbucket.browser import decide
from tests.fake_bitbucket.client import CALLBACK, ConsumerKey, FakeBitbucket

Ask = Callable[..., requests.Response]


@pytest.fixture
def ask(bitbucket: FakeBitbucket, http: requests.Session, consumer: ConsumerKey) -> Ask:
    """One request to the token endpoint, the client authenticated by Basic."""

    def request(**form: str) -> requests.Response:
        url = f"{bitbucket.url}/site/oauth2/access_token"
        return http.post(url, data=form, auth=(consumer.key, consumer.secret), timeout=60)

    return request


def consent(
    bitbucket: FakeBitbucket, consumer: ConsumerKey, button: str = "grant", **parameters: str
) -> dict[str, str]:
    """What the callback gets after the button was pressed."""
    query = urlencode({"client_id": consumer.key, "response_type": "code", **parameters})
    target = urlsplit(decide(f"{bitbucket.url}/site/oauth2/authorize?{query}", bitbucket.ca_file, button=button))
    assert f"{target.scheme}://{target.netloc}" == CALLBACK.rstrip("/")
    return {name: values[0] for name, values in parse_qs(target.query or target.fragment).items()}


def test_a_code_works_once_and_for_ten_minutes(bitbucket: FakeBitbucket, consumer: ConsumerKey, ask: Ask) -> None:
    """The second exchange fails, and so does the first one after 601 seconds."""
    code = consent(bitbucket, consumer)["code"]
    assert ask(grant_type="authorization_code", code=code).status_code == 200
    assert ask(grant_type="authorization_code", code=code).json()["error"] == "invalid_grant"
    late = consent(bitbucket, consumer)["code"]
    bitbucket.advance(601)
    assert ask(grant_type="authorization_code", code=late).json()["error"] == "invalid_grant"


@pytest.mark.parametrize(
    "redirect_uri", ["http://127.0.0.1:34107/", "http://localhost:34106/", "http://127.0.0.1:34106.evil.example/"]
)
def test_a_redirect_uri_must_extend_the_callback(
    bitbucket: FakeBitbucket, consumer: ConsumerKey, redirect_uri: str
) -> None:
    """Another port or name is refused on the page, not by a redirect."""
    with pytest.raises(RuntimeError, match="Invalid redirect_uri"):
        consent(bitbucket, consumer, redirect_uri=redirect_uri)


def test_a_refresh_token_dies_after_three_months_or_with_the_consent(
    bitbucket: FakeBitbucket, consumer: ConsumerKey, ask: Ask
) -> None:
    _, idle = bitbucket.issue_login(consumer, "alice")
    _, taken_back = bitbucket.issue_login(consumer, "bob")
    assert bitbucket.revoke_logins("bob") == 1
    assert ask(grant_type="refresh_token", refresh_token=taken_back).json()["error"] == "invalid_grant"
    bitbucket.advance(91 * 86400)
    assert ask(grant_type="refresh_token", refresh_token=idle).json()["error"] == "invalid_grant"


def test_the_client_may_authenticate_in_the_body(
    bitbucket: FakeBitbucket, http: requests.Session, consumer: ConsumerKey
) -> None:
    """Basic is documented, the body works too; neither or a wrong one is unauthorized_client."""
    url = f"{bitbucket.url}/site/oauth2/access_token"
    form = {"grant_type": "client_credentials"}
    in_body = {"client_id": consumer.key, "client_secret": consumer.secret}
    assert http.post(url, data=form | in_body, timeout=60).status_code == 200
    none = http.post(url, data=form, timeout=60).json()
    assert none["error_description"] == "Requests must be authenticated using OAuth client credentials"
    wrong = http.post(url, data=form, auth=(consumer.key, "wrong"), timeout=60).json()
    assert wrong["error_description"] == "Invalid OAuth client credentials"


def test_json_bodies_and_the_password_grant_are_unsupported_grant_types(
    bitbucket: FakeBitbucket, http: requests.Session, consumer: ConsumerKey, ask: Ask
) -> None:
    """JSON is not read at all, so its grant type is None."""
    url = f"{bitbucket.url}/site/oauth2/access_token"
    client = (consumer.key, consumer.secret)
    answer = http.post(url, json={"grant_type": "client_credentials"}, auth=client, timeout=60)
    assert answer.json() == {"error": "invalid_grant", "error_description": "Unsupported grant type: None"}
    password = ask(grant_type="password", username="alice", password="x").json()
    assert password["error_description"] == "Unsupported grant type: password"


def test_an_access_token_expires_after_its_lifetime_and_not_by_a_refresh(
    bitbucket: FakeBitbucket, http: requests.Session, consumer: ConsumerKey, ask: Ask
) -> None:
    """The lifetime is a knob; older access tokens live on beside newer ones."""
    bitbucket.turn(token_lifetime=600)
    access_token, refresh_token = bitbucket.issue_login(consumer)
    assert ask(grant_type="refresh_token", refresh_token=refresh_token).json()["expires_in"] == 600
    bearer = {"Authorization": f"Bearer {access_token}"}
    assert http.get(f"{bitbucket.api_url}/user", headers=bearer, timeout=60).status_code == 200
    bitbucket.advance(601)
    assert http.get(f"{bitbucket.api_url}/user", headers=bearer, timeout=60).status_code == 401


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
