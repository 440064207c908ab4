"""Lines on a terminal: broken between words, commands whole."""

import pytest

from git_credential_bitbucket.text_wrapping import wrapped

HINT = "hint: make a new one, and put it in its place: git-credential-bitbucket rotate 0123456789ab; or do without it"


@pytest.mark.parametrize("columns", [60, 80])
def test_words_and_commands_stay_whole(columns: int) -> None:
    """A command that is broken cannot be copied."""
    lines = wrapped(HINT, columns, 2).split("\n")
    assert all(len(line) <= columns for line in lines)
    assert any("git-credential-bitbucket rotate 0123456789ab" in line for line in lines)
    assert all(line.startswith("  ") for line in lines[1:])
    assert " ".join(line.strip() for line in lines) == HINT


def test_a_word_that_is_too_long_is_left_to_the_terminal() -> None:
    """An address that is broken cannot be clicked."""
    address = "https://bitbucket.org/" + "x" * 100
    assert wrapped(f"open {address} now", 60, 2).split("\n") == ["open", f"  {address}", "  now"]


@pytest.mark.parametrize(
    "command",
    [
        "git-credential-bitbucket login --access-token --for acme --project WEB",
        "git-credential-bitbucket explain https://bitbucket.org",
        "git config --global credential.https://bitbucket.org.useHttpPath true",
    ],
)
def test_a_command_with_its_values_is_not_broken(command: str) -> None:
    """It is typed exactly as it stands there."""
    assert command in wrapped(f"the token is not for this repository; to log in, run: {command}", 60, 2).split("\n  ")
    assert command in wrapped(f"one sentence, and the next: {command}; then try once more", 60, 2)


def test_a_path_to_the_program_is_no_command() -> None:
    """What follows it is prose."""
    lines = wrapped("git asks /usr/local/bin/git-credential-bitbucket about https://bitbucket.org, as it should", 60, 2)
    assert all(len(line) <= 60 for line in lines.split("\n"))


@pytest.mark.parametrize("columns", [0, 5, 200])
def test_where_there_is_no_terminal_or_room_enough_nothing_is_wrapped(columns: int) -> None:
    """A program that reads a line wants it whole."""
    assert wrapped(HINT, columns, 2) == HINT
