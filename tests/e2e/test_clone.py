"""The main job with real git: clone, fetch, push, submodules; every kind of credential with its own username."""

from collections.abc import Callable

import pytest

from tests.e2e.sandbox import Machine, either_way, machine_git, newer_git
from tests.fake_bitbucket.client import FakeBitbucket
from tests.fake_bitbucket.tokens import digest

THREE_MB = 3 << 20

API_TOKEN_USERNAME = "x-bitbucket-api-token-auth"
TOKEN_USERNAME = "x-token-auth"


def api_token(machine: Machine) -> None:
    """Typed at git's prompt with the email, as people do."""
    machine.approve("", "alice@example.com", machine.standin.issue_api_token())


def repository_token(machine: Machine) -> None:
    """Typed for the one repository."""
    machine.approve("acme/app", "alice", machine.standin.issue_access_token("acme/app"))


def project_token(machine: Machine) -> None:
    """Typed for a repository of the project."""
    machine.approve("acme/app", "x-token-auth", machine.standin.issue_access_token("acme", project="CORE"))


def workspace_token(machine: Machine) -> None:
    """Kept for the whole workspace."""
    machine.keep("acme", kind="access-token", secret=machine.standin.issue_access_token("acme"))


def login(machine: Machine) -> None:
    """An OAuth login for everything on the host."""
    machine.log_in(machine.standin.add_consumer())


def consumer(machine: Machine) -> None:
    """An OAuth consumer that mints its own tokens."""
    machine.add_consumer(machine.standin.add_consumer())


KINDS = [
    (api_token, API_TOKEN_USERNAME),
    (repository_token, TOKEN_USERNAME),
    (project_token, TOKEN_USERNAME),
    (workspace_token, TOKEN_USERNAME),
    (login, TOKEN_USERNAME),
    (consumer, TOKEN_USERNAME),
]


@machine_git
@pytest.mark.parametrize(("give", "username"), KINDS, ids=[give.__name__ for give, _ in KINDS])
def test_each_kind_of_credential_works_with_its_own_username(
    machine: Machine, bitbucket: FakeBitbucket, url: str, give: Callable[[Machine], None], username: str
) -> None:
    """Clone by the Clone button's address, whose name is not what the token needs; fetch without a name; push."""
    give(machine)
    clone = machine.clone(bitbucket.clone_url("acme/app", "alice"))
    machine.git("fetch", url, cwd=clone)
    commit = machine.commit(clone)
    machine.git("push", cwd=clone)
    assert bitbucket.head("acme/app") == commit
    assert {(entry.username, entry.status) for entry in machine.offered()} == {(username, 200)}


@either_way
@newer_git
@pytest.mark.parametrize("give", [repository_token, login], ids=["static", "oauth"])
def test_clone_fetch_and_a_large_push(
    machine: Machine, bitbucket: FakeBitbucket, url: str, give: Callable[[Machine], None]
) -> None:
    """The whole job with the daemon and without; more than 1 MiB goes in chunks, after a probe of its own."""
    give(machine)
    mine, theirs = machine.clone(url), machine.clone(url)
    commit = machine.commit(mine, "large", bytes(range(256)) * (THREE_MB // 256))
    machine.git("-c", "pack.compression=0", "-c", "core.compression=0", "push", cwd=mine)
    machine.git("fetch", cwd=theirs)
    assert bitbucket.head("acme/app") == commit
    assert machine.git("rev-parse", "origin/main", cwd=theirs).stdout.strip() == commit
    assert max(entry.body_length for entry in bitbucket.requests("git")) > THREE_MB - (1 << 20)
    assert {entry.status for entry in machine.offered()} == {200}
    assert not bitbucket.token_requests()


@newer_git
def test_submodules_are_cloned_side_by_side_each_with_its_own_token(machine: Machine, bitbucket: FakeBitbucket) -> None:
    """Three workspaces, three gits at once; one is named by a relative address."""
    url = bitbucket.create_repository("acme/app")
    bitbucket.create_repository("acme/lib")
    own = {
        "acme/app": machine.log_in(bitbucket.add_consumer()),
        "acme/lib": bitbucket.issue_access_token("acme/lib"),
        "beta/tool": bitbucket.issue_access_token("beta"),
    }
    machine.keep("acme/lib", kind="access-token", secret=own["acme/lib"])
    machine.keep("beta", kind="access-token", secret=own["beta/tool"])
    app = machine.clone(url)
    machine.git("submodule", "add", "../lib.git", cwd=app)
    machine.git("submodule", "add", bitbucket.create_repository("beta/tool"), cwd=app)
    machine.git("commit", "--quiet", "--message", "submodules", cwd=app)
    machine.git("push", cwd=app)

    mark = bitbucket.mark()
    clone = machine.clone(url, "--recurse-submodules", "--jobs", "3")
    assert (clone / "lib" / "README.md").exists()
    assert (clone / "tool" / "README.md").exists()
    used = {
        (entry.path.split(".git/")[0].strip("/"), entry.secret, entry.status) for entry in machine.offered(since=mark)
    }
    assert used == {(place, digest(token), 200) for place, token in own.items()}


@machine_git
def test_a_hostile_work_tree_is_not_executed(machine: Machine, bitbucket: FakeBitbucket) -> None:
    """Modules, programs and configuration lying in the repository are content: the helper starts and asks as ever."""
    names = ("os", "json", "site", "sitecustomize", "_socket", "requests_oauthlib", "git_credential_bitbucket")
    taken = machine.home / "taken-over"
    python = f"open({str(taken)!r}, 'w').close()\n"
    shell = f"#!/bin/sh\n: >{taken}\n"
    files = {f"{name}.py": python for name in names}
    files |= dict.fromkeys(("git", "sh", "python3", "git-credential-bitbucket", ".gitconfig"), shell)
    files |= {
        "pyvenv.cfg": "home = .\n",
        "setup.cfg": "[x]\n",
        "lib/python3/site-packages/x.pth": f"import os; {python}",
    }
    url = bitbucket.create_repository("acme/app", files=files)
    machine.keep("acme/app", kind="access-token", secret=bitbucket.issue_access_token("acme/app"))
    clone = machine.clone(url)
    (clone / "git").chmod(0o755)
    hostile = {"PYTHONPATH": str(clone), "PYTHONHOME": str(clone), "PYTHONSTARTUP": str(clone / "os.py")}
    for off in ("", "off"):
        machine.end_daemon()
        machine.git("fetch", cwd=clone, more={**hostile, "GIT_CREDENTIAL_BITBUCKET_DAEMON": off})
    assert not taken.exists()
