"""A Data Center with real git: a person's, a project's and a repository's token, context paths, rejections."""

import os

import pytest

from tests.e2e.sandbox import Machine

THREE_MB = 3 << 20
TOKEN_USERNAME = "x-token-auth"


@pytest.fixture
def data_center(machine: Machine) -> Machine:
    """A machine whose git is configured for the Data Center, at a context path."""
    return configured(machine, "/bitbucket")


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
        ("alice", "", ("--for", "PROJ"), "/proj"),
        ("", "PROJ", ("--for", "PROJ"), "/proj"),
        ("", "PROJ/app", ("--for", "PROJ/app"), "/proj/app"),
    ],
    ids=["person", "person in project", "project", "repository"],
)
def test_a_token_clones_and_pushes_with_the_username_of_its_owner(
    data_center: Machine, username: str, place: str, options: tuple[str, ...], scope: str
) -> None:
    """The server says whose the token is; git's requests name that, and no attempt fails."""
    standin = data_center.standin
    standin.create_repository("PROJ/app")
    token = standin.issue_http_token(username, place=place)
    said = data_center.helper("login", "--access-token", "--host", data_center.site, *options, stdin=token + "\n")
    assert "error" not in said.stderr
    clone = data_center.clone(standin.data_center_url("PROJ/app", context="/bitbucket"))
    commit = data_center.commit(clone, content=os.urandom(THREE_MB))
    data_center.git("push", cwd=clone)
    assert standin.head("PROJ/app") == commit
    username = username or TOKEN_USERNAME
    offered = [entry for entry in standin.requests("git") if entry.auth == "basic"]
    assert {(entry.username, entry.status) for entry in offered} == {(username, 200)}
    assert standin.failed_attempts(username) == 0
    (one,) = data_center.credentials()
    assert str(one["url"]).endswith(scope or data_center.site.removesuffix("/bitbucket"))
