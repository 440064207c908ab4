"""What is not git's own request."""

from pathlib import Path

import pexpect
import pytest

from tests.running import Runner


@pytest.mark.parametrize("operation", ["capabilities", "renew", "gett", "x\x1b[2J", "get store"])
def test_operation_of_a_later_git_is_passed_over_in_silence(front: Runner, helper: Path, operation: str) -> None:
    """gitcredentials(7) asks helpers for it; git is always a pipe away, never at a terminal."""
    done = front(helper, operation, stdin="protocol=https\nhost=bitbucket.org\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_person_who_mistypes_a_verb_is_told(front: Runner, helper: Path) -> None:
    """At a terminal, silence would leave them guessing."""
    terminal = pexpect.spawn(str(helper), ["statsu"], env=front.env, timeout=60, encoding="utf-8")
    terminal.expect("statsu")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 2


def test_wrong_use_by_a_script_is_told(front: Runner, helper: Path) -> None:
    """Git gives one word; more of them are a person's."""
    done = front(helper, "get", "--nonsense", check=False)
    assert done.returncode == 2
    assert done.stderr


def test_version_is_a_verb(front: Runner, helper: Path) -> None:
    """The command line is reached with its third-party packages, although Python was started without them."""
    assert front(helper, "--version").stdout.startswith("git-credential-bitbucket ")
