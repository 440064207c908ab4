"""REST and git's requests judge whether the Data Center beside the Cloud answers as one does."""

import re

import pytest
import requests

from tests.fake_bitbucket.client import FakeBitbucket
from tests.fake_bitbucket.conftest import TOKEN_USERNAME


@pytest.mark.parametrize(
    ("place", "username", "is_new", "status"),
    [
        ("", "alice", True, 200),
        ("", "Alice", True, 200),
        ("", "bob", True, 401),
        ("", TOKEN_USERNAME, True, 401),
        ("PROJ", TOKEN_USERNAME, True, 200),
        ("PROJ/app", TOKEN_USERNAME, True, 200),
        ("PROJ/app", TOKEN_USERNAME, False, 401),
        ("PROJ/app", "alice", True, 401),
        ("PROJ/other", TOKEN_USERNAME, True, 404),
        ("OTHER", TOKEN_USERNAME, True, 404),
    ],
)
def test_each_kind_of_token_goes_with_its_username_and_reaches_its_scope(
    bitbucket: FakeBitbucket, http: requests.Session, place: str, username: str, is_new: bool, status: int
) -> None:
    """Older versions take a project's or repository's token by Bearer only."""
    bitbucket.turn(dc_basic_for_tokens=is_new)
    bitbucket.create_repository("PROJ/app")
    token = bitbucket.issue_http_token("" if place else "alice", place=place)
    url = bitbucket.data_center_url("proj/app") + "/info/refs?service=git-upload-pack"
    answer = http.get(url, auth=(username, token))
    assert answer.status_code == status
    assert bitbucket.failed_attempts(username) == (status == 401)
    if status == 401:
        assert answer.headers["WWW-Authenticate"] == 'Basic realm="Atlassian Bitbucket"'
    bearer = http.get(url, headers={"Authorization": f"Bearer {token}"})
    assert bearer.status_code == (404 if status == 404 else 200)


def test_rest_names_the_person_and_the_version_and_an_account_locks_after_wrong_attempts(
    bitbucket: FakeBitbucket, http: requests.Session
) -> None:
    """A locked account is told to solve a CAPTCHA, even with the right password."""
    bitbucket.turn(dc_version="8.9.22", dc_attempts=3)
    bitbucket.create_person("carol", password="correct horse")
    url = bitbucket.data_center_url() + "/rest/api/1.0/application-properties"
    anonymous = http.get(url)
    assert (anonymous.json()["version"], anonymous.headers.get("X-AUSERNAME")) == ("8.9.22", None)
    token = bitbucket.issue_http_token("carol")
    assert re.fullmatch(r"BBDC-[A-Za-z0-9+/]{44}", token)
    assert http.get(url, headers={"Authorization": f"Bearer {token}"}).headers["X-AUSERNAME"] == "carol"
    assert http.get(url, auth=("carol", "correct horse")).headers["X-AUSERNAME"] == "carol"
    for _ in range(3):
        assert http.get(url, auth=("carol", "wrong")).status_code == 401
    locked = http.get(url, auth=("carol", "correct horse"))
    assert (locked.status_code, locked.headers["X-Authentication-Denied-Reason"][:17]) == (403, "CAPTCHA_CHALLENGE")


@pytest.mark.parametrize("owner", ["users/carol", "projects/PROJ", "projects/PROJ/repos/app"])
def test_a_password_makes_lists_and_revokes_tokens_and_a_token_does_not(
    bitbucket: FakeBitbucket, http: requests.Session, owner: str
) -> None:
    """What was made works with git at once; an expiry may be demanded."""
    bitbucket.create_repository("PROJ/app")
    bitbucket.create_person("carol", password="correct horse")
    bitbucket.turn(dc_expiry_required=True)
    url = f"{bitbucket.data_center_url()}/rest/access-tokens/latest/{owner}"
    wanted = {"name": "laptop", "permissions": ["REPO_READ"]}
    by_password = ("carol", "correct horse")
    assert http.put(url, json=wanted, auth=by_password).status_code == 400
    made = http.put(url, json={**wanted, "expiryDays": 90}, auth=by_password).json()
    (listed,) = http.get(url, auth=by_password).json()["values"]
    assert listed["expiryDate"] == made["expiryDate"]
    assert (listed["id"], listed["name"], listed["permissions"]) == (made["id"], "laptop", ["REPO_READ"])
    bearer = {"Authorization": f"Bearer {made['token']}"}
    git = bitbucket.data_center_url("proj/app") + "/info/refs?service=git-upload-pack"
    assert http.get(git, headers=bearer).status_code == 200
    assert http.get(url, headers=bearer).status_code == 403
    assert http.get(url, auth=("carol", "wrong")).status_code == 401
    assert http.get(url).status_code == 401
    assert http.delete(f"{url}/{made['id']}", auth=by_password).status_code == 204
    assert http.get(git, headers=bearer).status_code == 401
    assert bitbucket.http_tokens() == {}
