"""The REST API's answers about a credential."""

import requests

from tests.fake_bitbucket.client import FakeBitbucket


def get(bitbucket: FakeBitbucket, http: requests.Session, path: str, secret: str, email: str = "") -> requests.Response:
    """A GET with Basic if there is an email, with Bearer otherwise."""
    if email:
        return http.get(bitbucket.api_url + path, auth=(email, secret), timeout=60)
    return http.get(bitbucket.api_url + path, headers={"Authorization": f"Bearer {secret}"}, timeout=60)


def test_an_api_token_is_its_person_with_the_email_only(bitbucket: FakeBitbucket, http: requests.Session) -> None:
    """Basic email:token; the username, the static username and Bearer get 401."""
    token = bitbucket.issue_api_token("alice")
    answer = get(bitbucket, http, "/user", token, "alice@example.com")
    assert (answer.status_code, answer.json()["username"]) == (200, "alice")
    assert answer.headers["x-credential-type"] == "api_token"
    for username in ("alice", "x-bitbucket-api-token-auth", ""):
        refused = get(bitbucket, http, "/user", token, username)
        assert refused.status_code == 401
        message = "Token is invalid, expired, or not supported for this endpoint."
        assert refused.json() == {"type": "error", "error": {"message": message}}


def test_repositories_without_access_are_403_and_missing_ones_404(
    bitbucket: FakeBitbucket, http: requests.Session
) -> None:
    """Never 401: the token is good."""
    bitbucket.create_repository("acme/app")
    bitbucket.create_repository("other/app")
    token = bitbucket.issue_access_token("acme")
    statuses = [get(bitbucket, http, f"/repositories/{place}", token).status_code for place in ("other/app", "acme/no")]
    assert statuses == [403, 404]


def test_a_token_counts_in_the_header_and_on_the_api_host_only(
    bitbucket: FakeBitbucket, http: requests.Session
) -> None:
    """Not in the query, and not on the web host (CHANGE-3052)."""
    token, _ = bitbucket.issue_login(bitbucket.add_consumer())
    assert get(bitbucket, http, "/user", token).status_code == 200
    assert http.get(f"{bitbucket.api_url}/user", params={"access_token": token}, timeout=60).status_code == 401
    bearer = {"Authorization": f"Bearer {token}"}
    assert http.get(f"{bitbucket.url}/2.0/user", headers=bearer, timeout=60).status_code == 401
