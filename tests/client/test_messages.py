"""Messages: one line, one hint, nothing that a terminal would obey."""

import os
import threading

import pytest

from git_credential_bitbucket.client import messages
from git_credential_bitbucket.errors import Error
from tests.daemon.daemons import eventually


def test_error_and_hint_have_a_line_each(capfd: pytest.CaptureFixture[str]) -> None:
    messages.failure(Error("it is broken", hint="fix it"))
    messages.failure(Error("it is broken"))
    out, err = capfd.readouterr()
    assert out == ""
    assert err == (
        "git-credential-bitbucket: error: it is broken\n"
        "git-credential-bitbucket: hint: fix it\n"
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
    kept = os.dup(2)
    os.close(2)
    try:
        messages.error("not seen")
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def test_wait_notice_is_printed_once_after_a_while(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """On stderr, with what ends the wait; standard output is git's."""
    monkeypatch.setattr(messages, "NOTICE_AFTER_S", 0.0)
    told: list[str] = []

    def is_printed() -> bool:
        told.append(capfd.readouterr().err)
        return "hint" in "".join(told)

    with messages.WaitNotice("it takes long", "wait"):
        eventually(is_printed)
    assert capfd.readouterr() == ("", "")
    assert "".join(told) == "git-credential-bitbucket: warning: it takes long\ngit-credential-bitbucket: hint: wait\n"


def test_nothing_is_printed_of_what_is_quick_or_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with messages.WaitNotice("it takes long"):
        pass
    monkeypatch.setattr(messages, "NOTICE_AFTER_S", 0.01)
    asked = threading.Semaphore(0)

    def waited() -> float:
        asked.release()
        return 0.0

    with messages.WaitNotice("it takes long", waited=waited):
        for _ in range(3):  # whenever it is asked: it begins late on a busy machine
            assert asked.acquire(timeout=60)
    assert capfd.readouterr() == ("", "")
