"""`grant` as it is typed: what it prints, the command that it runs, and that nothing is left of it."""

import json
from pathlib import Path

import pytest

from git_credential_bitbucket import access_log
from tests.cli.schemas import validated
from tests.daemon.daemons import eventually
from tests.fake_bitbucket import tokens
from tests.running import Runner

NAME = "git-credential-bitbucket"
ASK = "printf 'protocol=https\\nhost=bitbucket.org\\npath=%s\\n\\n' {} | GIT_TERMINAL_PROMPT=0 git credential fill"


@pytest.fixture
def token(keyed: Runner) -> str:
    """An access token that is stored for a workspace."""
    token = tokens.access_token()
    keyed.env[access_log.SETTING] = "on"
    keyed(NAME, "configure")
    keyed(NAME, "login", "--access-token", "--no-verify", "--for", "acme", stdin=token)
    return token


def opened(run: Runner) -> list[dict[str, object]]:
    """What `grant list` tells."""
    listed: list[dict[str, object]] = validated("grant-list", run(NAME, "grant", "list", "--json").stdout)
    return listed


def test_it_prints_the_path_and_the_id_and_takes_the_socket_back(keyed: Runner, token: str) -> None:
    socket, name = keyed(NAME, "grant", "--for", "acme/app", "--uses", "3", "--expires", "12h").stdout.splitlines()
    [one] = opened(keyed)
    assert (one["id"], one["socket"], one["scope"]) == (name, socket, "https://bitbucket.org/acme/app")
    assert 43190 < float(str(one["expires_at"])) - float(str(one["created_at"])) <= 43200
    helper = f"credential.helper=cache --socket {socket}"
    git = ("git", "-c", "credential.https://bitbucket.org.helper=", "-c", helper, "-c", "credential.useHttpPath=true")
    asked = keyed(*git, "credential", "fill", stdin="protocol=https\nhost=bitbucket.org\npath=acme/app\n\n")
    assert f"password={token}\n" in asked.stdout
    eventually(lambda: f"(grant {name})\n" in keyed(NAME, "log", "--operation", "get", check=False).stdout)
    assert "1 of 3" in keyed(NAME, "grant", "list").stdout
    assert keyed(NAME, "grant", "revoke", name).stdout == f"revoked: {name}\n"
    assert (opened(keyed), Path(socket).parent.exists()) == ([], False)
    assert keyed(NAME, "grant", "list").stdout == "no grant is open\n"
    again = keyed(NAME, "grant", "revoke", name, check=False)
    assert (again.returncode, "there is no such grant" in again.stderr) == (1, True)


def test_a_command_has_the_scope_alone_and_the_socket_ends_with_it(keyed: Runner, token: str) -> None:
    """What it prints and how it ends is its own; a word that is also a verb of the group is the command's."""
    script = f"{ASK.format('acme/app')}; {ASK.format('acme/lib')}; {NAME} grant list --json >&2; exit 7"
    done = keyed(NAME, "grant", "--for", "acme/app", "--", "sh", "-c", script, check=False)
    assert done.returncode == 7
    assert done.stdout.count(f"password={token}\n") == 1
    assert "this socket answers for bitbucket.org/acme/app only" in done.stderr
    assert opened(keyed) == []
    assert done.stderr.count("the grant has nothing to give yet") == 0
    told = keyed(NAME, "grant", "--for", "acme/app", "list", check=False).stderr
    assert "list cannot be run" in told
    assert "exec --help" not in told
    assert opened(keyed) == []


def test_a_grant_that_gives_nothing_yet_says_so(keyed: Runner, token: str) -> None:
    """A mistyped name, say; the socket is open all the same, and standard output has what it always has."""
    del token
    done = keyed(NAME, "grant", "--for", "acmee/app")
    assert "the grant has nothing to give yet: no credential for bitbucket.org/acmee/app" in done.stderr
    assert len(done.stdout.splitlines()) == 2
    assert keyed(NAME, "grant", "--for", "acme").stderr == ""


REFUSED: tuple[tuple[tuple[str, ...], int, str], ...] = (
    ((), 2, "a grant needs a scope: --for WORKSPACE/REPOSITORY"),
    (("--for", "acme/app", "--uses", "0"), 2, "0 is not in the range"),
    (("--for", "acme/app", "--expires", "90d"), 1, "a grant lasts from 1 second to 30 days"),
    (("--for", "https://git.acme.com/scm"), 1, "https://git.acme.com is not configured as Bitbucket"),
    (("--for", "acme/app/src/main"), 1, "a grant is for a host, a workspace or a repository"),
    (("revok", "x"), 2, "No such command"),
)


def test_what_cannot_be_granted_is_said_in_a_line(keyed: Runner) -> None:
    """With a hint, and nothing on standard output."""
    for words, code, said in REFUSED:
        done = keyed(NAME, "grant", *words, check=False)
        assert (done.returncode, done.stdout) == (code, "")
        assert said.lower() in done.stderr.lower()
        assert done.stderr.count("\n") == 2
    assert json.loads(keyed(NAME, "grant", "list", "--json").stdout) == []
