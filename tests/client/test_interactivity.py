"""When a person is there: a real terminal, and what is run on it."""

import sys
from pathlib import Path

import pexpect
import pytest

from tests.fronts import CHECKOUT
from tests.running import Runner

URL = "https://bitbucket.org/acme/app.git"
ASKING = (
    f"import os, sys; sys.path.append({str(CHECKOUT)!r})\n"
    "from git_credential_bitbucket.client import person\n"
    f"print('present' if interactivity.is_present(os.environ, {URL!r}) else 'absent')\n"
)


FOREGROUND, BACKGROUND, ELSEWHERE = '"$@"', 'set -m; "$@" & wait', 'setsid -w "$@"'
"""How a shell runs a program: as git in a command line, as `git fetch &`, and as a service or an editor does."""


def found(front: Runner, home: Path, shell: str = FOREGROUND, **env: str) -> str:
    """What a program finds that a shell runs on a terminal of its own; its output goes to a file, as to git's pipe."""
    answer = home / "answer"
    terminal = pexpect.spawn(
        "/bin/bash",
        ["-c", f"({shell}) >{answer} 2>&1", "bash", sys.executable, "-c", ASKING],
        env={**front.env, "GIT_TERMINAL_PROMPT": "1", **env},
        timeout=30,
        cwd=str(home / "work"),
    )
    terminal.expect(pexpect.EOF)
    terminal.close()
    return answer.read_text().split("\n")[0]  # what follows is bash's word on its jobs


def test_person_at_the_terminal_is_present(front: Runner, home: Path) -> None:
    """Also where input and output are redirected, as git has its helpers'."""
    assert found(front, home) == "present"


@pytest.mark.parametrize("shell", [BACKGROUND, ELSEWHERE], ids=["background", "no terminal"])
def test_nobody_is_there_for_what_does_not_have_the_terminal(front: Runner, home: Path, shell: str) -> None:
    """A job in the background would be stopped for reading from it; a service has none."""
    assert found(front, home, shell) == "absent"


@pytest.mark.parametrize(
    ("variable", "value", "answer"),
    [
        ("CI", "true", "absent"),
        ("CI", "1", "absent"),
        ("CI", "woodpecker", "absent"),
        ("CI", "", "present"),
        ("CI", "0", "present"),
        ("CI", "False", "present"),
        ("GIT_TERMINAL_PROMPT", "0", "absent"),
        ("GIT_TERMINAL_PROMPT", "false", "absent"),
        ("GIT_TERMINAL_PROMPT", "1", "present"),
    ],
)
def test_environment_may_say_that_nobody_is_there(
    front: Runner, home: Path, variable: str, value: str, answer: str
) -> None:
    """CI systems give their jobs a terminal too."""
    assert found(front, home, **{variable: value}) == answer


@pytest.mark.parametrize(
    ("key", "value", "answer"),
    [
        ("credential.interactive", "false", "absent"),
        ("credential.interactive", "never", "absent"),
        ("credential.interactive", "true", "present"),
        ("credential.interactive", "auto", "present"),
        ("credential.https://bitbucket.org.interactive", "no", "absent"),
        ("credential.https://git.example.interactive", "no", "present"),
    ],
)
def test_configuration_may_say_that_nobody_is_asked(
    front: Runner, home: Path, key: str, value: str, answer: str
) -> None:
    """`credential.interactive`, for all hosts or for one."""
    front("git", "config", "--global", key, value)
    assert found(front, home) == answer
