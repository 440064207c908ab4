"""Messages: one line, one hint, nothing that a terminal would obey."""

import os

import pytest

from git_credential_bitbucket.client import messages
from git_credential_bitbucket.errors import Error


def test_error_and_hint_have_a_line_each(capfd: pytest.CaptureFixture[str]) -> None:
    """And standard output has nothing."""
    messages.failure(Error("it is broken", hint="mend it"))
    messages.failure(Error("it is broken"))
    out, err = capfd.readouterr()
    assert out == ""
    assert err == (
        "git-credential-bitbucket: error: it is broken\n"
        "git-credential-bitbucket: hint: mend it\n"
        "git-credential-bitbucket: error: it is broken\n"
    )


@pytest.mark.parametrize("text", ["a\x1b[2Jb", "a\nb", "a\rb", "a\u202eb", "a\u2028b", "a\x9bb", "a\udcffb"])
def test_control_characters_are_shown_and_not_obeyed(capfd: pytest.CaptureFixture[str], text: str) -> None:
    """Escapes, line breaks, bidi overrides, bytes that are no text: what came from outside stays in its line."""
    messages.error(text)
    _, err = capfd.readouterr()
    assert err.count("\n") == 1
    assert err[:-1].isprintable()


def test_endless_message_is_cut(capfd: pytest.CaptureFixture[str]) -> None:
    """A daemon's answer is not trusted to be short."""
    messages.error("x" * 100_000)
    assert len(capfd.readouterr()[1]) < 2000


def test_closed_standard_error_is_not_an_error() -> None:
    """There is nobody to tell."""
    kept = os.dup(2)
    os.close(2)
    try:
        messages.error("nobody hears this")
    finally:
        os.dup2(kept, 2)
        os.close(kept)
