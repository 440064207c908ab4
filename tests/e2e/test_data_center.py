"""A Data Center with real git: a person's, a project's and a repository's token, context paths, rejections."""

import os

import pytest

from tests.e2e.sandbox import Machine

THREE_MB = 3 << 20
TOKEN_USERNAME = "x-token-auth"


@pytest.fixture
def data_center(older: Machine) -> Machine:
    """A machine whose git is configured for the Data Center, at a context path."""
    return configured(older, "/bitbucket")


def configured(machine: Machine, context: str = "") -> Machine:
    """`machine`, with the lines that `configure --host` writes for the Data Center."""
    machine.standin.turn(dc_context=context)
    machine.site = machine.standin.data_center_url(context=context)
    section = f"credential.{machine.site}"
    for name, value in [
        *machine.standin.data_center_config(context),
        (f"{section}.helper", ""),
        (f"{section}.helper", str(machine.program)),
        (f"{section}.useHttpPath", "true"),
    ]:
        machine.git("config", "--global", "--add", name, value)
    return machine


@pytest.mark.parametrize(
    ("username", "place", "options", "scope"),
    [
        ("alice", "", (), ""),
        ("", "PROJ", ("--for", "PROJ"), "/proj"),
        ("", "PROJ/app", ("--for", "PROJ/app"), "/proj/app"),
    ],
    ids=["person", "project", "repository"],
)
def test_a_token_clones_and_pushes_with_the_username_of_its_owner(
    data_center: Machine, username: str, place: str, options: tuple[str, ...], scope: str
) -> None:
    """The server says whose the token is; git's requests name that, and no attempt fails."""
    standin = data_center.standin
    repository = "~alice/app" if username else "PROJ/app"
    standin.create_repository(repository)
    token = standin.issue_http_token(username, place=place)
    said = data_center.helper("login", "--access-token", "--host", data_center.site, *options, stdin=token + "\n")
    assert "error" not in said.stderr
    clone = data_center.clone(standin.data_center_url(repository, context="/bitbucket"))
    commit = data_center.commit(clone, content=os.urandom(THREE_MB))
    data_center.git("push", cwd=clone)
    assert standin.head(repository) == commit
    username = username or TOKEN_USERNAME
    offered = [entry for entry in standin.requests("git") if entry.auth == "basic"]
    assert {(entry.username, entry.status) for entry in offered} == {(username, 200)}
    assert standin.failed_attempts(username) == 0
    (one,) = data_center.credentials()
    assert str(one["url"]).endswith(scope or data_center.site.removesuffix("/bitbucket"))


def test_a_rejected_token_is_not_sent_again_until_somebody_says_so(newer: Machine) -> None:
    """One failed login counts; from then on git is told why, and `restore` offers it again."""
    machine = configured(newer)
    standin = machine.standin
    standin.create_repository("PROJ/app")
    standin.create_repository("PROJ/other")
    token = standin.issue_http_token("alice")
    machine.helper("login", "--access-token", "--host", machine.site, stdin=token)
    standin.revoke(token)
    for place in ("PROJ/app", "PROJ/app", "PROJ/other"):
        failed = machine.git("ls-remote", standin.data_center_url(place), check=False)
        assert failed.returncode != 0
    assert standin.failed_attempts("alice") == 1
    (one,) = machine.credentials()
    assert one["state"] == "disabled"
    assert "could lock the account" in machine.helper("status").stdout
    machine.helper("restore", str(one["id"]))
    assert machine.git("ls-remote", standin.data_center_url("PROJ/app"), check=False).returncode != 0
    assert standin.failed_attempts("alice") == 2


def test_a_token_in_the_environment_takes_its_owners_name_and_is_rejected_once(newer: Machine) -> None:
    """Without a name it is a project's; a Cloud token is never sent there, nor this one to bitbucket.org."""
    machine = configured(newer)
    standin = machine.standin
    url = standin.create_repository("PROJ/app") and standin.data_center_url("PROJ/app")
    personal = {"BITBUCKET_TOKEN": standin.issue_http_token("alice")}
    named = {**personal, "BITBUCKET_USERNAME": "alice"}
    for more, works in (
        ({"BITBUCKET_TOKEN": standin.issue_http_token(place="PROJ")}, True),
        (personal, False),
        (personal, False),
        (named, True),
        ({"BITBUCKET_API_TOKEN": standin.issue_api_token()}, False),
    ):
        assert (machine.git("ls-remote", url, more=more, check=False).returncode == 0) == works
    url_at_exec = ("exec", "--", machine.used_git.path, "ls-remote", url)
    assert machine.helper(*url_at_exec, more=named).returncode == 0
    assert standin.failed_attempts(TOKEN_USERNAME) == 1
    machine.told[-2:] = []
    assert "rejected BITBUCKET_TOKEN with the username x-token-auth" in machine.told[-6] + machine.told[-5]
    assert "never sent to Bitbucket Data Center" in machine.told[-1]
    at_cloud = "protocol=https\nhost=bitbucket.org\n\n"
    refused = machine.git("credential", "fill", more={**named, "GIT_ASKPASS": "true"}, stdin=at_cloud, check=False)
    assert named["BITBUCKET_TOKEN"] not in refused.stdout


def test_a_password_typed_at_gits_prompt_is_known_as_a_token_by_its_prefix(newer: Machine) -> None:
    """A person's with the typed name, for the whole host; a repository's with git's name for those."""
    machine = configured(newer)
    standin = machine.standin
    standin.create_repository("PROJ/app")
    standin.create_repository("OPS/tool")
    machine.approve("scm/PROJ/app", "alice", standin.issue_http_token("alice"))
    machine.clone(standin.data_center_url("OPS/tool"))
    machine.approve("scm/PROJ/app", TOKEN_USERNAME, standin.issue_http_token(place="PROJ/app"))
    machine.clone(standin.data_center_url("PROJ/app"))
    machine.clone(standin.data_center_url("PROJ/app", "alice"))
    names = [entry.username for entry in standin.requests("git") if entry.auth and entry.status == 200]
    assert names[0] == "alice"
    assert TOKEN_USERNAME in names
    kinds = {(one["kind"], str(one["url"]).removeprefix(machine.site)) for one in machine.credentials()}
    assert kinds == {("personal-token", ""), ("access-token", "/proj/app")}


def test_bearer_is_an_opt_in_and_what_it_does_to_large_pushes(newer: Machine) -> None:
    """For older servers, which take a repository's token by nothing else. git then probes without the header before it
    pushes in chunks, and fails; a buffer that holds the whole push avoids that.
    """
    machine = configured(newer)
    standin = machine.standin
    standin.turn(dc_basic_for_tokens=False, dc_version="8.9.22")
    standin.create_repository("PROJ/app")
    url, token = standin.data_center_url("PROJ/app"), standin.issue_http_token(place="PROJ/app")
    login = ("login", "--access-token", "--host", machine.site, "--for", "PROJ/app", "--replace")
    assert "by Bearer only" in machine.helper(*login, stdin=token).stderr
    assert machine.git("ls-remote", url, check=False).returncode != 0
    assert "authtype=bearer" in machine.helper("status").stdout
    machine.git("config", "--global", f"credential.{machine.site}.authtype", "bearer")
    machine.end_daemon()  # it looks at git's files once a second
    attempts = standin.failed_attempts(TOKEN_USERNAME)
    assert "Bearer" not in machine.helper(*login, stdin=token).stderr
    clone = machine.clone(url)
    machine.commit(clone)
    machine.git("push", cwd=clone)
    commit = machine.commit(clone, content=os.urandom(THREE_MB))
    failed = machine.git("push", cwd=clone, check=False)
    assert "http.postBuffer" in failed.stderr + machine.helper("status").stdout
    (one,) = [each for each in machine.credentials() if each["replaced_by"] is None]
    machine.helper("restore", str(one["id"]))
    machine.git("-c", "http.postBuffer=8388608", "push", cwd=clone)
    assert standin.head("PROJ/app") == commit
    assert failed.returncode != 0
    assert standin.failed_attempts(TOKEN_USERNAME) == attempts


def test_an_older_git_gets_a_password_in_spite_of_the_opt_in(older: Machine) -> None:
    """It does not say that it can take another header, and its large pushes work."""
    machine = configured(older)
    standin = machine.standin
    standin.create_repository("PROJ/app")
    machine.git("config", "--global", f"credential.{machine.site}.authtype", "bearer")
    token = standin.issue_http_token(place="PROJ/app")
    machine.helper("login", "--access-token", "--host", machine.site, "--for", "PROJ/app", stdin=token)
    clone = machine.clone(standin.data_center_url("PROJ/app"))
    commit = machine.commit(clone, content=os.urandom(THREE_MB))
    machine.git("push", cwd=clone)
    assert standin.head("PROJ/app") == commit
    assert {entry.auth for entry in standin.requests("git") if entry.auth} == {"basic"}


def test_what_is_beside_the_context_path_gets_nothing(newer: Machine) -> None:
    machine = configured(newer, "/bitbucket")
    login = ("login", "--access-token", "--no-verify", "--account", "alice", "--host", machine.site)
    machine.helper(*login, stdin=machine.standin.issue_http_token("alice"))
    host = machine.standin.data_center_origin.removeprefix("https://")
    for path in ("bitbucket/scm/PROJ/app.git", "scm/PROJ/app.git", "git/x.git", "bitbucket/../git/x.git"):
        for more in ({}, {"BITBUCKET_TOKEN": machine.standin.issue_http_token(place="PROJ")}):
            asked = f"protocol=https\nhost={host}\npath={path}\n\n"
            is_answered = "password=" in machine.helper("get", stdin=asked, more=more, check=False).stdout
            assert is_answered == path.startswith("bitbucket/scm/")
    machine.told.clear()  # it holds the answers
    assert machine.standin.requests() == []
