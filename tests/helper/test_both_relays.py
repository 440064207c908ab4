"""One suite for all front ends: the native relay, the portable one, and git's own client of the same socket.

Asked by real git, answered by a real daemon.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests import installed
from tests.fake_bitbucket import tokens
from tests.helpers import socket_of
from tests.running import Runner
from tests.sandbox import key_settings, write_git_config

CACHE = "git's own client"
DESCRIPTION = "protocol=https\nhost=bitbucket.org\npath=acme/app.git\n"


@pytest.fixture(params=[*installed.KINDS, CACHE])
def ask(request: pytest.FixtureRequest, executables: dict[str, Path], home: Path, bare_env: dict[str, str]) -> Runner:
    """Runs git with the front end as its helper, and a daemon that has a key and no keyring."""
    kind = "portable" if request.param == CACHE else request.param
    if kind not in executables:
        pytest.skip("there is no C compiler")
    helper = str(executables[kind])
    if request.param == CACHE:
        # As it is configured in a container; it would start git's own daemon where ours does not listen.
        helper = f"!git credential-cache --socket {socket_of(home)}"
    settings = [("credential.helper", ""), ("credential.helper", helper), ("credential.useHttpPath", "true")]
    write_git_config(home / ".gitconfig", settings)
    run = Runner({**bare_env, **key_settings(home)}, home / "work")
    run(executables[kind], "get", stdin=DESCRIPTION)  # starts the daemon, for git's own client cannot
    return run


def filled(ask: Runner, description: str = DESCRIPTION) -> dict[str, str]:
    """What git has after it asked its helpers."""
    answer = ask("git", "credential", "fill", stdin=description, check=False)
    return dict(line.split("=", 1) for line in answer.stdout.splitlines())


def approved(ask: Runner, token: str) -> None:
    """A secret that worked, handed to the helpers by git."""
    ask("git", "credential", "approve", stdin=f"{DESCRIPTION}username=alice\npassword={token}\n")


def test_gives_what_was_stored(ask: Runner) -> None:
    """Stored by one git command, answered to the next, under the username that its kind needs."""
    token = tokens.access_token()
    approved(ask, token)
    found = filled(ask)
    assert (found["username"], found["password"] == token) == ("x-token-auth", True)


def test_gives_nothing_to_another_host(ask: Runner) -> None:
    approved(ask, tokens.access_token())
    for host in ("bitbucket.org.example.com", "example.com", "bitbucket.org:444"):
        assert "password" not in filled(ask, f"protocol=https\nhost={host}\npath=acme/app.git\n")


def test_does_not_offer_at_once_what_was_rejected(ask: Runner) -> None:
    """After git's `erase`, the next `get` is not answered with the same secret."""
    token = tokens.access_token()
    approved(ask, token)
    assert filled(ask)["password"] == token
    ask("git", "credential", "reject", stdin=f"{DESCRIPTION}username=x-token-auth\npassword={token}\n")
    assert "password" not in filled(ask)


def test_long_secrets_pass(ask: Runner) -> None:
    """A secret of 30,000 characters, ten times what OAuth tokens have, comes back as it was."""
    token = tokens.oauth_token(30_000)
    approved(ask, token)
    found = filled(ask, DESCRIPTION.replace("host", "username=alice\nhost"))
    assert found["password"] == token


def test_many_at_once_are_all_answered(ask: Runner) -> None:
    """As an editor or a tree of submodules asks."""
    token = tokens.access_token()
    approved(ask, token)
    with ThreadPoolExecutor(16) as many:
        answers = list(many.map(lambda _: filled(ask).get("password"), range(48)))
    assert answers == [token] * 48
