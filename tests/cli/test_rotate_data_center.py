"""rotate at a Data Center: a token is created, verified, put into use, and the old one revoked, wherever it stops."""

import json
import subprocess
import sys
from urllib.parse import urlsplit

import pytest

from tests.cli.listed import listed
from tests.cli.person import Person
from tests.daemon.daemons import eventually
from tests.fake_bitbucket.client import FakeBitbucket
from tests.running import Runner

HELPER = "git-credential-bitbucket"
PASSWORD = "correct horse battery"
OURS = "git-credential-bitbucket "


@pytest.fixture
def server(keyed: Runner, bitbucket: FakeBitbucket) -> FakeBitbucket:
    """A Data Center that git's configuration names, with a person who has a password."""
    bitbucket.create_person("carol@corp", password=PASSWORD)
    bitbucket.create_repository("PROJ/app")
    for key, value in bitbucket.data_center_config():
        keyed("git", "config", "--global", key, value)
    return bitbucket


def log_in(run: Runner, server: FakeBitbucket, username: str = "", place: str = "") -> str:
    """The token of that person or place, stored."""
    token = server.issue_http_token(username, place=place, permissions=("PROJECT_READ", "REPO_WRITE"), name="laptop")
    scope = ("--for", place) if place else ()
    run(HELPER, "login", "--access-token", "--host", server.data_center_url(), *scope, stdin=f"{token}\n")
    return token


def rotating(run: Runner) -> "subprocess.Popen[bytes]":
    """A rotation that goes on; it has been given the password."""
    process = subprocess.Popen(
        [HELPER, "rotate"],
        env=run.env,
        cwd=run.folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    process.stdin.write(f"{PASSWORD}\n".encode())
    process.stdin.close()
    return process


def given(run: Runner, server: FakeBitbucket) -> tuple[str, str]:
    """What git is given for PROJ/app."""
    netloc = urlsplit(server.data_center_url()).netloc
    answer = run(HELPER, "get", stdin=f"protocol=https\nhost={netloc}\npath=scm/PROJ/app.git\n").stdout
    told = dict(line.split("=", 1) for line in answer.splitlines())
    return told["username"], told["password"]


def test_a_personal_token_is_replaced_with_the_password_alone(keyed: Runner, server: FakeBitbucket) -> None:
    """Same permissions, the expiry that was asked for; the old one is revoked, the password in no file."""
    old = log_in(keyed, server, "carol@corp")
    since = server.mark()
    person = Person({**keyed.env, "TERM": "xterm-256color"}, keyed.folder)
    with person.types(HELPER, "rotate", "--expires", "90d", columns=300) as dialogue:
        dialogue.reads("Password of carol@corp, used once and not stored (not shown): ")
        dialogue.types(PASSWORD)
        said = dialogue.ends()
    ((new, name),) = server.http_tokens().items()
    assert given(keyed, server) == ("carol@corp", new)
    assert new != old
    assert f"Creating the token “{name}” with the permissions PROJECT_READ, REPO_WRITE." in said
    assert "Revoked the old token “laptop”." in said
    assert PASSWORD not in said
    (one,) = listed(keyed)
    assert 89 * 86400 < one["ends_at"] - one["created_at"] <= 90 * 86400 + 60
    methods = [entry.method for entry in server.requests("access-tokens", since=since)]
    assert methods == ["GET", "PUT", "DELETE"]
    files = [path for path in (keyed.folder.parent).rglob("*") if path.is_file()]
    assert not [path for path in files if PASSWORD.encode() in path.read_bytes()]


@pytest.mark.parametrize("place", ["PROJ", "PROJ/app"])
def test_a_projects_or_repositorys_token_is_replaced_by_an_administrator(
    keyed: Runner, server: FakeBitbucket, place: str
) -> None:
    """By username and password where no login may."""
    log_in(keyed, server, place=place)
    keyed(HELPER, "rotate", stdin=f"carol@corp\n{PASSWORD}\n")
    ((new, _),) = server.http_tokens().items()
    assert given(keyed, server) == ("x-token-auth", new)


def test_a_projects_token_that_is_stored_for_the_server_is_not_rotated(keyed: Runner, server: FakeBitbucket) -> None:
    """The project is not known, and so neither whose tokens to list: no password is asked for."""
    token = server.issue_http_token(place="PROJ", permissions=("PROJECT_READ",), name="laptop")
    host = urlsplit(server.data_center_url()).netloc
    given = f"protocol=https\nhost={host}\nusername=x-token-auth\npassword={token}\n\n"
    keyed("git", "-c", "credential.helper=bitbucket", "credential", "approve", stdin=given)
    refused = keyed(HELPER, "rotate", stdin=f"carol@corp\n{PASSWORD}\n", check=False)
    assert "stored for the whole server, so its project or repository is unknown" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert len(server.http_tokens()) == 1


@pytest.mark.parametrize("scopes", [["REPO_ADMIN"], ["REPO_WRITE"]])
def test_a_stored_login_of_an_administrator_is_used_and_another_is_not(
    keyed: Runner, server: FakeBitbucket, scopes: list[str]
) -> None:
    """Without its OAuth scope, the username and password that are given do it; nothing is sent twice."""
    log_in(keyed, server, place="PROJ/app")
    consumer = server.add_consumer()
    made = server.control("issue_login", consumer=consumer.key, username="carol@corp", scopes=scopes)
    url = server.data_center_url()
    urls = {"authorize_url": url, "token_url": url, "revoke_url": url, "api_url": f"{url}/rest/api/1.0"}
    record = {"kind": "oauth", "place": url, "secret": made["access_token"], "endpoint": urls}
    add = "import sys; from git_credential_bitbucket.client.shared_client import ask; ask('add', [('record', input())])"
    keyed(sys.executable, "-c", add, stdin=json.dumps(record))
    since, is_admin = server.mark(), "REPO_ADMIN" in scopes
    keyed(HELPER, "rotate", f"{url}/PROJ/app", stdin="" if is_admin else f"carol@corp\n{PASSWORD}\n")
    assert server.failed_attempts("carol@corp") == 0
    ((_, name),) = server.http_tokens().items()
    assert name.startswith(OURS)
    asked = [(e.auth, e.status) for e in server.requests("access-tokens", since=since)]
    expected = [("bearer", 200), ("bearer", 200), ("bearer", 204)]
    assert asked == (expected if is_admin else [("bearer", 403), ("basic", 200), ("basic", 200), ("basic", 204)])


def test_a_wrong_password_is_sent_once_and_changes_nothing(keyed: Runner, server: FakeBitbucket) -> None:
    """Servers lock an account after a few attempts."""
    old = log_in(keyed, server, "carol@corp")
    refused = keyed(HELPER, "rotate", stdin="wrong\n", check=False)
    assert refused.returncode == 1
    assert "the server rejected the username or the password" in refused.stderr
    assert server.failed_attempts("carol@corp") == 1
    assert list(server.http_tokens()) == [old]
    assert given(keyed, server)[1] == old


def test_what_the_server_demands_is_told(keyed: Runner, server: FakeBitbucket) -> None:
    """An expiry that an administrator requires, and a token whose id nobody can know."""
    log_in(keyed, server, "carol@corp")
    server.turn(dc_expiry_required=True)
    refused = keyed(HELPER, "rotate", stdin=f"{PASSWORD}\n", check=False)
    assert "Tokens must have an expiry" in refused.stderr
    keyed(HELPER, "logout", "--all")
    server.turn(dc_id_in_token=False)
    log_in(keyed, server, "carol@corp")
    unknown = keyed(HELPER, "rotate", stdin=f"{PASSWORD}\n", check=False)
    assert "the server does not list this token" in unknown.stderr


def test_a_new_token_that_does_not_work_is_revoked_again(keyed: Runner, server: FakeBitbucket) -> None:
    old = log_in(keyed, server, "carol@corp")
    server.script_fault("api", "401", after=1)
    refused = keyed(HELPER, "rotate", stdin=f"{PASSWORD}\n", check=False)
    assert "the new token was not accepted" in refused.stderr
    assert "was revoked again" in refused.stderr
    assert list(server.http_tokens()) == [old]
    assert given(keyed, server)[1] == old


def test_two_at_once_do_not_revoke_each_others_token(keyed: Runner, server: FakeBitbucket) -> None:
    """The second is told, and the first ends as if there were none."""
    log_in(keyed, server, "carol@corp")
    server.script_fault("access-tokens", "hold", after=1)
    since = server.mark()
    with rotating(keyed) as process:
        server.wait_for("access-tokens", 2, since=since)
        second = keyed(HELPER, "rotate", stdin=f"{PASSWORD}\n", check=False)
        server.release()
        assert process.wait(60) == 0
    assert second.returncode == 1
    assert "another process holds the lock for this rotation" in second.stderr
    assert list(server.http_tokens()) == [given(keyed, server)[1]]


@pytest.mark.parametrize(
    ("number", "said", "living"),
    [
        (2, "the server did not confirm the token “git-credential-bitbucket ", 2),
        (3, "the new token is in use, but the old one “laptop” was not revoked", 2),
    ],
)
def test_an_answer_that_is_lost_is_told_and_the_next_rotation_tidies_up(
    keyed: Runner, server: FakeBitbucket, number: int, said: str, living: int
) -> None:
    """The one that git is given works all the while."""
    log_in(keyed, server, "carol@corp")
    server.script_fault("access-tokens", "500", after=number - 1, act=number == 2)
    failed = keyed(HELPER, "rotate", stdin=f"{PASSWORD}\n", check=False)
    assert failed.returncode == 1
    assert said in failed.stderr
    assert len(server.http_tokens()) == living
    assert given(keyed, server)[1] in server.http_tokens()
    keyed(HELPER, "rotate", stdin=f"{PASSWORD}\n")
    assert list(server.http_tokens()) == [given(keyed, server)[1]]


@pytest.mark.parametrize(
    ("endpoint", "number", "is_served", "living"),
    [
        ("access-tokens", 2, False, 1),
        ("access-tokens", 2, True, 2),
        ("api", 2, False, 2),
        ("access-tokens", 3, False, 2),
        ("access-tokens", 3, True, 1),
    ],
    ids=["before it is created", "created", "verifying", "put into use", "old one revoked"],
)
def test_killed_at_any_step_a_working_token_is_left_and_the_next_rotation_tidies_up(
    keyed: Runner, server: FakeBitbucket, endpoint: str, number: int, is_served: bool, living: int
) -> None:
    """What was created had been named; after a second run only what it created lives."""
    log_in(keyed, server, "carol@corp")
    server.script_fault(endpoint, "hang", after=number - 1, act=is_served)
    since = server.mark()
    with rotating(keyed) as process:
        # not at its arrival: the request's body may be on its way still
        eventually(lambda: any(one.fault for one in server.requests(endpoint, since=since)))
        process.kill()
        assert process.stdout is not None
        said = process.stdout.read().decode()
    server.release()
    server.wait_for(endpoint, number, since=since, answered=True)
    left = server.http_tokens()
    assert len(left) == living
    assert given(keyed, server)[1] in left
    assert all(name in said for name in left.values() if name.startswith(OURS))
    keyed(HELPER, "rotate", stdin=f"{PASSWORD}\n")
    ((new, name),) = server.http_tokens().items()
    assert name.startswith(OURS)
    assert given(keyed, server)[1] == new
    assert [one["state"] for one in listed(keyed)] == ["ready"]
