"""A word to whoever waits: after a while, once, and only while it is true."""

import threading

import pytest

from git_credential_bitbucket.client import wait_notice
from tests.daemon.daemons import eventually


def test_it_is_said_after_a_while_and_once(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """On stderr, with what ends the wait; standard output is git's."""
    monkeypatch.setattr(wait_notice, "NOTICE_AFTER_S", 0.0)
    told: list[str] = []

    def is_said() -> bool:
        told.append(capfd.readouterr().err)
        return "hint" in "".join(told)

    with wait_notice.noticed("it takes long", "wait"):
        eventually(is_said)
    assert capfd.readouterr() == ("", "")
    assert "".join(told) == "git-credential-bitbucket: warning: it takes long\ngit-credential-bitbucket: hint: wait\n"


def test_nothing_is_said_of_what_is_quick_or_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The usual case."""
    with wait_notice.noticed("it takes long"):
        pass
    monkeypatch.setattr(wait_notice, "NOTICE_AFTER_S", 0.0)
    asked = threading.Event()

    def still() -> bool:
        asked.set()
        return False

    with wait_notice.noticed("it takes long", still=still):
        assert asked.wait(30)
    assert capfd.readouterr() == ("", "")
