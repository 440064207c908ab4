"""Who can answer instead of us: a real terminal, and what is run on it."""

import sys
from pathlib import Path

import pexpect
import pytest

from tests.helpers import CHECKOUT
from tests.running import Runner

URL = "https://bitbucket.org/acme/app.git"
ASKING = (
    f"import os, sys; sys.path.append({str(CHECKOUT)!r})\n"
    "from git_credential_bitbucket.client import interactivity\n"
    f"print(interactivity.available_prompt(os.environ, {URL!r}))\n"
)


FOREGROUND, BACKGROUND, ELSEWHERE = '"$@"', 'set -m; "$@" & wait', 'setsid -w "$@"'
"""How a shell runs a program: as git in a command line, as `git fetch &`, and as a service or an editor does."""


def found(front: Runner, home: Path, shell: str = FOREGROUND, errors: str = "&1", **env: str) -> str:
    """What a program finds that a shell runs on a terminal of its own; its output goes to a file, as to git's pipe.

    So do its errors, unless `errors` leaves them elsewhere.
    """
    answer = home / "answer"
    terminal = pexpect.spawn(
        "/bin/bash",
        ["-c", f"({shell}) >{answer} 2>{errors}", "bash", sys.executable, "-c", ASKING],
        env={**front.env, "GIT_TERMINAL_PROMPT": "1", **env},
        timeout=60,
        cwd=str(home / "work"),
    )
    terminal.expect(pexpect.EOF)
    terminal.close()
    return answer.read_text().split("\n")[0]  # what follows is bash's word on its jobs


def test_person_at_the_terminal_is_present(front: Runner, home: Path) -> None:
    """Also where input and output are redirected, as git has its helpers'."""
    assert found(front, home) == "person"


@pytest.mark.parametrize("shell", [BACKGROUND, ELSEWHERE], ids=["background", "no terminal"])
def test_what_does_not_have_the_terminal_is_non_interactive(front: Runner, home: Path, shell: str) -> None:
    """A job in the background would be stopped for reading from it; a service has none."""
    assert found(front, home, shell) == "nobody"


@pytest.mark.parametrize(
    ("variable", "value", "answer"),
    [
        ("CI", "true", "nobody"),
        ("CI", "1", "nobody"),
        ("CI", "woodpecker", "nobody"),
        ("CI", "", "person"),
        ("CI", "0", "person"),
        ("CI", "False", "person"),
        ("GIT_TERMINAL_PROMPT", "0", "nobody"),
        ("GIT_TERMINAL_PROMPT", "false", "nobody"),
        ("GIT_TERMINAL_PROMPT", "1", "person"),
    ],
)
def test_environment_may_say_that_it_is_non_interactive(
    front: Runner, home: Path, variable: str, value: str, answer: str
) -> None:
    """CI systems give their jobs a terminal too."""
    assert found(front, home, **{variable: value}) == answer


@pytest.mark.parametrize(
    ("key", "value", "answer"),
    [
        ("credential.interactive", "false", "nobody"),
        ("credential.interactive", "never", "nobody"),
        ("credential.interactive", "true", "person"),
        ("credential.interactive", "auto", "person"),
        ("credential.https://bitbucket.org.interactive", "no", "nobody"),
        ("credential.https://git.example.interactive", "no", "person"),
    ],
)
def test_configuration_may_say_that_nobody_is_asked(
    front: Runner, home: Path, key: str, value: str, answer: str
) -> None:
    """`credential.interactive`, for all hosts or for one."""
    front("git", "config", "--global", key, value)
    assert found(front, home) == answer


@pytest.mark.parametrize(
    ("env", "config", "answer"),
    [
        ({"GIT_ASKPASS": "/a"}, {}, "askpass"),
        ({"SSH_ASKPASS": "/a"}, {}, "askpass"),
        ({}, {"core.askPass": "/a"}, "askpass"),
        ({"GIT_ASKPASS": "", "SSH_ASKPASS": "/a"}, {"core.askPass": "/a"}, "nobody"),
        ({"SSH_ASKPASS": "/a"}, {"core.askPass": ""}, "nobody"),
        ({"SSH_ASKPASS": ""}, {}, "nobody"),
        ({"GIT_ASKPASS": "/a"}, {"core.askPass": ""}, "askpass"),
        ({"GIT_ASKPASS": "/a"}, {"credential.interactive": "false"}, "nobody"),
        ({"GIT_ASKPASS": "/a"}, {"credential.interactive": "never"}, "askpass"),
        ({"GIT_CONFIG_PARAMETERS": "'core.askpass=/a'"}, {}, "askpass"),
    ],
)
def test_an_askpass_counts_where_git_would_run_it(
    front: Runner, home: Path, env: dict[str, str], config: dict[str, str], answer: str
) -> None:
    """In git's order; the first that is set decides, and an empty one turns it off. A person goes before it."""
    for key, value in config.items():
        front("git", "config", "--global", key, value)
    assert found(front, home, ELSEWHERE, **env) == answer
    if "credential.interactive" not in config:
        assert found(front, home, **env) == "person"


def test_an_askpass_is_not_all_that_shows_an_error(front: Runner, home: Path) -> None:
    """Where standard error is a terminal, the reason is told there, whoever is asked next."""
    assert found(front, home, BACKGROUND, GIT_ASKPASS="/a") == "askpass"
    assert found(front, home, BACKGROUND, "/dev/tty", GIT_ASKPASS="/a") == "nobody"


def test_a_repository_does_not_silence_us(front: Runner, home: Path) -> None:
    """Git runs the askpass that its own configuration names; whether a reason is shown it does not decide."""
    front("git", "init", "-q", ".")
    front("git", "config", "core.askPass", "/a")
    assert found(front, home, ELSEWHERE) == "nobody"
    front("git", "config", "--global", "core.askPass", "/b")
    assert found(front, home, ELSEWHERE) == "askpass"
