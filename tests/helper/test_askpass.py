"""What a miss says where git has an askpass: as Jenkins and editors call git, with standard error in a pipe."""

from pathlib import Path

import pexpect
import pytest

from tests.fake_bitbucket import tokens
from tests.fake_bitbucket.client import FakeBitbucket
from tests.helper.test_fallback import ask
from tests.helpers import request, socket_of
from tests.running import Runner

OURS = "git-credential-bitbucket: "


@pytest.fixture
def jenkins(bitbucket_front: Runner, bitbucket: FakeBitbucket, home: Path) -> Runner:
    """A build step: an askpass that knows a token, nobody at a terminal, all output in pipes."""
    script = home / "askpass"
    token = bitbucket.issue_access_token("acme/app")
    script.write_text(f"#!/bin/sh\ncase $1 in Username*) echo x-token-auth;; *) echo {token};; esac\n")
    script.chmod(0o700)
    bitbucket_front.env["GIT_ASKPASS"] = str(script)
    return bitbucket_front


def test_an_askpass_answers_and_nothing_is_said(jenkins: Runner, url: str) -> None:
    """What stands on standard error is taken for a failure there, and a miss is none: git has an answer."""
    assert jenkins("git", "ls-remote", url).stderr == ""


def test_an_askpass_answers_for_a_vault_that_is_locked(jenkins: Runner, home: Path) -> None:
    """Git is not told to quit: somebody can still answer. What git stores then is refused, and that is told."""
    jenkins("git", "credential", "approve", stdin=request(username="alice", password=tokens.api_token()))
    ask(socket_of(home), "exit")
    del jenkins.env["GIT_CREDENTIAL_BITBUCKET_KEY_FILE"]
    asked = jenkins("git", "credential", "fill", stdin=request(path="acme/other"))
    assert "username=x-token-auth\n" in asked.stdout
    assert asked.stderr == ""


def test_what_is_wrong_with_the_job_s_own_setting_is_told_all_the_same(jenkins: Runner, url: str) -> None:
    """A token that the environment names and does not hold is no miss."""
    jenkins.env["BITBUCKET_ACCESS_TOKEN_FILE"] = "/nowhere"
    assert f"{OURS}error: " in jenkins("git", "ls-remote", url).stderr


@pytest.mark.parametrize("askpass", [None, ""])
def test_without_an_askpass_the_reason_and_its_hint_are_told(jenkins: Runner, url: str, askpass: str | None) -> None:
    """One line each; an empty GIT_ASKPASS is none."""
    del jenkins.env["GIT_ASKPASS"]
    if askpass is not None:
        jenkins.env["GIT_ASKPASS"] = askpass
    told = [line for line in jenkins("git", "ls-remote", url, check=False).stderr.split("\n") if OURS in line]
    assert [line.split(": ")[1] for line in told] == ["error", "hint"]


def test_on_a_terminal_without_a_person_the_reason_is_told_and_the_askpass_answers(jenkins: Runner, url: str) -> None:
    """A build that shows its output as on a terminal."""
    env = {**jenkins.env, "CI": "true"}
    terminal = pexpect.spawn("git", ["ls-remote", url], env=env, cwd=str(jenkins.folder), encoding="utf-8", timeout=60)
    terminal.expect_exact(f"{OURS}error: ")
    terminal.expect_exact(f"{OURS}hint: ")
    terminal.expect_exact("HEAD")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0


def test_a_person_at_the_terminal_is_asked_first(jenkins: Runner, url: str) -> None:
    """An editor's own terminal sets GIT_ASKPASS too: the login dialogue comes before it."""
    del jenkins.env["GIT_TERMINAL_PROMPT"]
    terminal = pexpect.spawn(
        "git", ["ls-remote", url], env=jenkins.env, cwd=str(jenkins.folder), encoding="utf-8", timeout=60
    )
    terminal.expect_exact("How do you want to authenticate")
    terminal.close(force=True)
