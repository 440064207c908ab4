"""The REST API's answers about a credential."""

import pytest
import requests

from tests.fake_bitbucket.client import FakeBitbucket


def get(bitbucket: FakeBitbucket, http: requests.Session, path: str, secret: str, email: str = "") -> requests.Response:
    """A GET with Basic if there is an email, with Bearer otherwise."""
    if email:
        return http.get(bitbucket.api_url + path, auth=(email, secret), timeout=30)
    return http.get(bitbucket.api_url + path, headers={"Authorization": f"Bearer {secret}"}, timeout=30)


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


@pytest.mark.parametrize(
    ("place", "project", "kind"),
    [
        ("acme/app", "", "repo_access_token"),
        ("acme", "CORE", "project_access_token"),
        ("acme", "", "workspace_access_token"),
    ],
)
def test_an_access_token_is_valid_but_no_person(
    bitbucket: FakeBitbucket, http: requests.Session, place: str, project: str, kind: str
) -> None:
    """403 that still carries the headers; its repository answers 200."""
    bitbucket.create_repository("acme/app")
    token = bitbucket.issue_access_token(place, project=project)
    answer = get(bitbucket, http, "/user", token)
    assert answer.status_code == 403
    assert answer.headers["x-credential-type"] == kind
    assert answer.headers["x-oauth-scopes"] == "repository, repository:write"
    assert get(bitbucket, http, "/repositories/acme/app", token).status_code == 200


def test_a_missing_scope_is_named(bitbucket: FakeBitbucket, http: requests.Session) -> None:
    """A token that git can use, but that may not ask who it is."""
    token = bitbucket.issue_api_token(scopes=("read:repository:bitbucket",))
    answer = get(bitbucket, http, "/user", token, "alice@example.com")
    assert answer.status_code == 403
    detail = answer.json()["error"]["detail"]
    assert detail == {"granted": ["read:repository:bitbucket"], "required": ["account"]}


def test_repositories_without_access_are_403_and_missing_ones_404(
    bitbucket: FakeBitbucket, http: requests.Session
) -> None:
    """Never 401: the token is good."""
    bitbucket.create_repository("acme/app")
    bitbucket.create_repository("other/app")
    token = bitbucket.issue_access_token("acme")
    statuses = [get(bitbucket, http, f"/repositories/{place}", token).status_code for place in ("other/app", "acme/no")]
    assert statuses == [403, 404]


def test_a_projects_repositories_are_listed_in_pages(bitbucket: FakeBitbucket, http: requests.Session) -> None:
    """By the filter on the project's key; `next` is there until the last page, and other projects' are not."""
    for number in range(12):
        bitbucket.create_repository(f"acme/web{number}", project="WEB", files={})
    bitbucket.create_repository("acme/ops", project="OPS", files={})
    token = bitbucket.issue_access_token("acme", project="WEB")
    path, found = '/repositories/acme?q=project.key="WEB"&pagelen=100', []
    while path:
        page = get(bitbucket, http, path, token).json()
        found += [one["slug"] for one in page["values"]]
        path = page.get("next", "").removeprefix(bitbucket.api_url)
    assert sorted(found) == sorted(f"web{number}" for number in range(12))
    assert get(bitbucket, http, "/repositories/acme?q=nonsense", token).status_code == 400


def test_an_app_password_gets_410(bitbucket: FakeBitbucket, http: requests.Session) -> None:
    """As with git."""
    assert get(bitbucket, http, "/user", bitbucket.issue_app_password(), "alice").status_code == 410


def test_a_token_counts_in_the_header_and_on_the_api_host_only(
    bitbucket: FakeBitbucket, http: requests.Session
) -> None:
    """Not in the query, and not on the web host (CHANGE-3052)."""
    token, _ = bitbucket.issue_login(bitbucket.add_consumer())
    assert get(bitbucket, http, "/user", token).status_code == 200
    assert http.get(f"{bitbucket.api_url}/user", params={"access_token": token}, timeout=30).status_code == 401
    bearer = {"Authorization": f"Bearer {token}"}
    assert http.get(f"{bitbucket.url}/2.0/user", headers=bearer, timeout=30).status_code == 401
