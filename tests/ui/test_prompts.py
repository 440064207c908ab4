"""prompts.py on a real pty: what is typed unseen, and what standard input may hold."""

import os
import pty
import threading
from collections.abc import Iterator

import pytest

from git_credential_bitbucket.errors import Error
from git_credential_bitbucket.ui import prompts
from git_credential_bitbucket.ui.prompts import Prompter, Terminal
from tests.fake_bitbucket import tokens


class Keyboard:
    """The other side of a terminal. Its state: both descriptors, and what was shown."""

    def __init__(self) -> None:
        self._master, slave = pty.openpty()
        self.terminal = Terminal(slave)
        self.shown = b""

    def prompter(self, keys: bytes) -> str:
        """What `secret` returns when `keys` come once it has asked."""
        typist = threading.Thread(target=self._type, args=(keys,))
        typist.start()
        try:
            return self.terminal.secret("Secret: ")
        finally:
            typist.join()

    def read(self) -> bytes:
        """What is shown next."""
        self.shown += os.read(self._master, 4096)
        return self.shown

    def close(self) -> None:
        """Hang up."""
        self.terminal.close()
        os.close(self._master)

    def _type(self, keys: bytes) -> None:
        while not self.shown.endswith(b"Secret: "):
            self.read()
        for start in range(0, len(keys), 1000):
            os.write(self._master, keys[start : start + 1000])


@pytest.fixture
def keyboard() -> Iterator[Keyboard]:
    """A terminal with somebody at it."""
    keyboard = Keyboard()
    yield keyboard
    keyboard.close()


@pytest.mark.parametrize(
    ("keys", "typed"),
    [
        (b"abc\r", "abc"),
        (b"abx\x7fc\r", "abc"),
        ("aé\x08bc\r".encode(), "abc"),
        (b"wrong\x15abc\n", "abc"),
        (b"\x7f\x08abc\r", "abc"),
        (b"abc\x04\r", "abc"),
        (b"\x1b[200~abc\x1b[201~\r", "abc"),
        (b"\r", ""),
        (b"\xff\r", "\udcff"),
    ],
)
def test_typing_with_corrections(keyboard: Keyboard, keys: bytes, typed: str) -> None:
    """Backspace takes a whole character, Ctrl-U all of it; marks of a paste are no part of it."""
    assert keyboard.prompter(keys) == typed


def test_a_token_longer_than_the_terminals_own_line(keyboard: Keyboard) -> None:
    """The kernel's line editing would cut it at 4096 bytes."""
    token = tokens.oauth_token(9000)
    assert keyboard.prompter(token.encode() + b"\r") == token


def test_nothing_typed_is_shown_and_what_follows_the_line_is_thrown_away(keyboard: Keyboard) -> None:
    """A shell would run the rest of a paste, and keep it in its history."""
    token = tokens.api_token()
    assert keyboard.prompter(f"{token}\rrm -rf important\r".encode()) == token
    assert token.encode() not in keyboard.shown
    os.set_blocking(keyboard.terminal._descriptor, False)
    with pytest.raises(BlockingIOError):
        os.read(keyboard.terminal._descriptor, 100)


def test_ctrl_d_gives_up(keyboard: Keyboard) -> None:
    with pytest.raises(KeyboardInterrupt):
        keyboard.prompter(b"\x04")


def test_a_terminal_that_knows_ascii_only_is_written_to_in_ascii(
    keyboard: Keyboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Quotes and dots as people read them, not as escapes; a name from outside is escaped."""
    monkeypatch.setattr(prompts, "_encoding", lambda: "ANSI_X3.4-1968")
    keyboard.terminal.draw("“Create” – it’s … caf\u00e9")  # noqa: RUF001 - these are what it is about
    assert keyboard.read() == b'"Create" - it\'s ... caf\\xe9\r\n'
    keyboard.shown = b""
    keyboard.terminal.say("“Create”")
    assert keyboard.read().strip() == b'"Create"'


def test_a_choice_is_one_of_the_numbers_shown(keyboard: Keyboard) -> None:
    """Whatever else is typed, however long, is asked about again."""
    os.write(keyboard._master, b"0\n0000000013\n\xc2\xb2\n2\n")
    assert keyboard.terminal.choose("Which one", ["a", "b"]) == 1


def test_more_than_any_secret_is_an_error(keyboard: Keyboard) -> None:
    """A file dropped on the terminal, say."""
    with pytest.raises(Error, match="longer than any Bitbucket token"):
        keyboard.prompter(b"x" * 70000)


def test_the_lines_of_standard_input_are_the_answers_and_read_only_when_needed() -> None:
    """A login that asks nothing must not wait for a pipe that nobody closes."""

    def hang() -> list[str]:
        raise AssertionError("nobody asked anything")

    Prompter(None, hang).say("nothing")
    prompter = Prompter(None, lambda: ["first", " second "])
    assert (prompter.secret("a"), prompter.optional("b"), prompter.optional("c")) == ("first", "second", "")
    with pytest.raises(Error, match="no line on standard input for: d"):
        prompter.line("d")
