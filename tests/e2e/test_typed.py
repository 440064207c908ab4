"""A person at a terminal, which is a real one: what is typed at git's prompt is kept, and so is a login in between."""

import io
import os
from collections.abc import Callable, Mapping

import pexpect
import pytest

from tests.e2e.sandbox import Machine, machine_git, newer_git
from tests.fake_bitbucket.client import FakeBitbucket

API_TOKEN_USERNAME = "x-bitbucket-api-token-auth"
TOKEN_USERNAME = "x-token-auth"
TIMEOUT_S = 120

Type = Callable[..., tuple[int | None, str]]


@pytest.fixture
def type_at(machine: Machine) -> Type:
    """Runs this machine's git at a terminal and answers its prompts in turn; its exit code, and all that was shown."""

    def run(
        *arguments: str, answers: list[tuple[str, str]], more: Mapping[str, str] | None = None
    ) -> tuple[int | None, str]:
        env = {name: value for name, value in machine.env.items() if name != "GIT_TERMINAL_PROMPT"}
        shown = io.StringIO()
        child = pexpect.spawn(
            machine.used_git.path,
            list(arguments),
            cwd=str(machine.work),
            env={**env, "TERM": "xterm", **(more or {})},
            dimensions=(50, 200),
            timeout=TIMEOUT_S,
            encoding="utf-8",
        )
        child.logfile_read = shown
        for prompt, answer in answers:
            child.expect(prompt)
            child.sendline(answer)
        child.expect(pexpect.EOF)
        child.close()
        machine.told.append(shown.getvalue())
        return child.exitstatus, shown.getvalue()

    return run


NOBODY = {"CI": "true"}
"""The helper does not ask; git does."""


def test_an_api_token_typed_at_gits_prompt_is_kept_for_the_host(
    machine: Machine, bitbucket: FakeBitbucket, url: str, type_at: Type
) -> None:
    """Typed once under the Bitbucket username; from then on another repository is served, by the token's own name."""
    token = bitbucket.issue_api_token()
    answers = [("Username for", "alice"), ("Password for", token)]
    code, shown = type_at("ls-remote", url, answers=answers, more=NOBODY)
    assert code == 0, shown
    mark = bitbucket.mark()
    machine.git("ls-remote", bitbucket.create_repository("beta/tool"))
    assert {(entry.username, entry.status) for entry in machine.offered(since=mark)} == {(API_TOKEN_USERNAME, 200)}
    assert [(one["kind"], one["scope"]) for one in machine.credentials()] == [("api-token", bitbucket.netloc)]


def test_an_access_token_typed_at_gits_prompt_is_kept_for_its_repository(
    machine: Machine, bitbucket: FakeBitbucket, url: str, type_at: Type
) -> None:
    """The Clone button's name is in the address, so git asks for the password alone, after our word on an address."""
    token = bitbucket.issue_access_token("acme/app")
    answers = [("Username for", TOKEN_USERNAME), ("Password for", token)]
    code, shown = type_at("ls-remote", url, answers=answers, more=NOBODY)
    assert code == 0, shown
    machine.git("ls-remote", bitbucket.clone_url("acme/app", "alice"))
    assert {(entry.username, entry.status) for entry in machine.offered()} == {(TOKEN_USERNAME, 200)}
    assert [one["scope"] for one in machine.credentials()] == [f"{bitbucket.netloc}/acme/app"]


@machine_git
@pytest.mark.parametrize("kind", ["api-token", "access-token"])
def test_a_username_that_cannot_work_is_named(
    machine: Machine, bitbucket: FakeBitbucket, url: str, type_at: Type, kind: str
) -> None:
    """An email with an API token, anything with an access token: git is refused, and the person told what to type."""
    token = bitbucket.issue_api_token() if kind == "api-token" else bitbucket.issue_access_token("acme/app")
    answers = [("Username for", "alice@example.com"), ("Password for", token)]
    code, shown = type_at("ls-remote", url, answers=answers, more=NOBODY)
    assert code == 128
    assert "error: Bitbucket rejects an" in shown
    assert f"hint: run: git-credential-bitbucket login --{kind}" in shown
    assert not machine.credentials()
    username = API_TOKEN_USERNAME if kind == "api-token" else TOKEN_USERNAME
    answers = [("Username for", username), ("Password for", token)]
    assert type_at("ls-remote", url, answers=answers, more=NOBODY)[0] == 0


@machine_git
def test_what_did_not_work_is_not_kept(machine: Machine, bitbucket: FakeBitbucket, url: str, type_at: Type) -> None:
    """A token with a letter too much gets 401: git fails, and asks again the next time."""
    token = bitbucket.issue_api_token()
    for typed, expected in ((token + "x", 128), (token, 0)):
        answers = [("Username for", "alice"), ("Password for", typed)]
        code, shown = type_at("ls-remote", url, answers=answers, more=NOBODY)
        assert code == expected, shown
    assert len(machine.credentials()) == 1


@newer_git
def test_a_person_logs_in_while_git_waits(machine: Machine, bitbucket: FakeBitbucket, url: str, type_at: Type) -> None:
    """Our own questions come first, on the terminal; the typed email is an account, never git's username."""
    token = bitbucket.issue_api_token()
    answers = [
        ("How do you want to authenticate", "2"),
        ("not shown", token),
        ("Email of", "alice@example.com"),
        ("Expiry date", "90d"),
    ]
    code, shown = type_at("clone", "--quiet", url, "clone", answers=answers)
    assert code == 0, shown
    assert "Logged in: API token" in shown
    machine.git("fetch", cwd=machine.work / "clone")
    assert {(entry.username, entry.status) for entry in machine.offered()} == {(API_TOKEN_USERNAME, 200)}
    assert [one["account"] for one in machine.credentials()] == ["alice@example.com"]


@machine_git
def test_a_person_who_would_rather_not_is_asked_by_git(
    machine: Machine, bitbucket: FakeBitbucket, url: str, type_at: Type
) -> None:
    """The last choice leaves it to git, and what is typed there is kept."""
    token = bitbucket.issue_api_token()
    answers = [("How do you want to authenticate", "5"), ("Username for", "alice"), ("Password for", token)]
    code, shown = type_at("ls-remote", url, answers=answers)
    assert code == 0, shown
    assert [one["kind"] for one in machine.credentials()] == ["api-token"]


@machine_git
def test_git_is_answered_in_a_terminal_without_a_word(
    machine: Machine, bitbucket: FakeBitbucket, url: str, type_at: Type
) -> None:
    """Where there is a credential, nobody is asked and nothing is said."""
    machine.approve("", "alice", bitbucket.issue_api_token())
    code, shown = type_at("ls-remote", url, answers=[])
    assert code == 0
    assert [line.split("\t")[-1] for line in shown.split("\r\n")] == ["HEAD", "refs/heads/main", ""]


@machine_git
def test_the_daemon_outlives_the_terminal(machine: Machine, bitbucket: FakeBitbucket, url: str, type_at: Type) -> None:
    """It was started from there, and the terminal has gone; the next one is served by the same process."""
    token = bitbucket.issue_api_token()
    answers = [("Username for", "alice"), ("Password for", token)]
    type_at("ls-remote", url, answers=answers, more=NOBODY)
    pid = machine.daemon_pid()
    assert os.getsid(pid) != os.getsid(0)
    machine.git("ls-remote", url)
    assert machine.daemon_pid() == pid
