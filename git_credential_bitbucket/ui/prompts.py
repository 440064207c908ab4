"""Asks a person: at the terminal itself, or line by line on standard input where that is no terminal.

The dialogue is on /dev/tty alone, never on standard output (git reads that) nor on standard error. Imports no other
room; termios and rich where they are needed.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from git_credential_bitbucket.errors import Error
from git_credential_bitbucket.ui import ascii_fallback

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console

MAX_TYPED_BYTES = 65536
"""One answer; the longest tokens seen are OAuth's with 2,600 characters."""
TRIES = 3

_ENTER, _ERASE, _ERASE_ALL, _END = b"\r\n", b"\x08\x7f", b"\x15", b"\x04"


class Terminal:
    """The person's terminal. A class for its descriptor. Ctrl-C, and Ctrl-D at a prompt, is `KeyboardInterrupt`."""

    def __init__(self, descriptor: int) -> None:
        """`descriptor` is open for reading and writing, and closed by `close`."""
        self._descriptor = descriptor

    def close(self) -> None:
        """Let go of it."""
        os.close(self._descriptor)

    def say(self, text: str = "", *, style: str | None = None) -> None:
        """One paragraph, wrapped to the terminal's width; what came from outside is made printable by the caller."""
        self.console().print(text, style=style)

    def show(self, address: str) -> None:
        """An address on a line of its own, never broken: it is there to be copied or clicked."""
        self.console().print(f"    {address}", style="bold", soft_wrap=True)

    def draw(self, text: str) -> None:
        """Lines as they are, with control sequences of ours; they must fit."""
        self._write(f"{text}\n")

    def size(self) -> tuple[int, int]:
        """Columns and lines."""
        found = os.get_terminal_size(self._descriptor)
        return found.columns, found.lines

    @property
    def is_utf8(self) -> bool:
        """Whether more than ASCII can be shown for certain."""
        return _encoding().lower().replace("-", "") == "utf8"

    def console(self) -> Console:
        """By rich, on the terminal itself; colours, width and NO_COLOR are its business."""
        from rich.console import Console  # lazy: 40 ms, and a piped secret needs none

        file = open(self._descriptor, "w", encoding=_encoding(), errors=ascii_fallback.ERRORS, closefd=False)  # noqa: SIM115 - rich's
        return Console(file=file, markup=False, highlight=False, emoji=False, width=self.size()[0] or None)

    def line(self, prompt: str) -> str:
        """What the person types, visibly; without blanks around it."""
        self._write(prompt)
        typed = b""
        while not typed.endswith(b"\n"):
            chunk = os.read(self._descriptor, 4096)
            if not chunk:
                self._write("\n")
                raise KeyboardInterrupt
            typed += chunk
        return typed.decode("utf-8", "surrogateescape").strip()

    def secret(self, prompt: str) -> str:
        """What the person types or pastes, unseen.

        Read character by character: the terminal's own line editing cuts a line at 4096 bytes (1024 on macOS), and a
        token may be longer. What a paste brought behind its first line is thrown away, for a shell would run it.
        """
        import termios  # lazy: verbs that ask nothing do without

        before = termios.tcgetattr(self._descriptor)
        silent = termios.tcgetattr(self._descriptor)
        silent[3] &= ~(termios.ECHO | termios.ICANON)  # ISIG stays: Ctrl-C is Ctrl-C
        silent[6][termios.VMIN], silent[6][termios.VTIME] = 1, 0
        try:
            termios.tcsetattr(self._descriptor, termios.TCSAFLUSH, silent)
            self._write(prompt)  # not before the echo is off: whoever answers at once would be seen
            return self._unseen().decode("utf-8", "surrogateescape")
        finally:
            termios.tcsetattr(self._descriptor, termios.TCSAFLUSH, before)
            self._write("\n")

    def choose(self, prompt: str, options: Sequence[str], *, default: int | None = None) -> int:
        """The index of one of `options`, asked for by its number."""
        for number, option in enumerate(options, 1):
            self._write(f"  {number}  {option}\n")
        suggestion = "" if default is None else f" [{default + 1}]"
        while True:
            typed = self.line(f"{prompt}{suggestion}: ")
            if not typed and default is not None:
                return default
            if typed.isascii() and typed.isdigit() and 1 <= int(typed[:9]) <= len(options):
                return int(typed) - 1
            self._write(f"Type a number from 1 to {len(options)}.\n")

    def confirm(self, question: str) -> bool:
        """Whether the person says yes; no answer is a no."""
        return self.line(f"{question} [y/N] ").lower() in ("y", "yes")

    def _unseen(self) -> bytes:
        typed = bytearray()
        while len(typed) <= MAX_TYPED_BYTES:
            chunk = os.read(self._descriptor, 4096)
            if not chunk:  # the terminal is gone
                raise KeyboardInterrupt
            for byte in chunk:
                if byte in _ENTER:
                    return _without_marks(typed)
                if byte in _ERASE:
                    del typed[_last_character(typed) :]
                elif byte in _ERASE_ALL:
                    typed.clear()
                elif byte in _END:
                    if not typed:
                        raise KeyboardInterrupt
                else:
                    typed.append(byte)
        raise Error("this is longer than any Bitbucket token", hint="copy the token only")

    def _write(self, text: str) -> None:
        data = text.encode(_encoding(), ascii_fallback.ERRORS)
        while data:
            data = data[os.write(self._descriptor, data) :]


class Answers:
    """Where a verb's answers come from: a terminal, else standard input. A class for the lines that are yet unread."""

    def __init__(self, terminal: Terminal | None, read: Callable[[], list[str]] = list) -> None:
        """Without a terminal, the lines that `read` returns are the answers; it is called when the first is needed."""
        self.terminal = terminal
        self._read = read
        self._lines: list[str] | None = None

    def secret(self, what: str) -> str:
        """A secret. Raises `Error` where standard input holds no further line."""
        if self.terminal is not None:
            return self.terminal.secret(f"{what} (not shown): ")
        return self._required(what)

    def line(self, what: str) -> str:
        """What is no secret, but needed. Raises `Error` as `secret` does."""
        if self.terminal is not None:
            return self.terminal.line(f"{what}: ")
        return self._required(what)

    def optional(self, prompt: str) -> str:
        """An answer that may be left out: empty where it is."""
        if self.terminal is not None:
            return self.terminal.line(prompt)
        return self._next().strip()

    def lines_left(self) -> int:
        """How many lines of standard input are unread; none at a terminal."""
        return sum(map(bool, self._unread())) if self.terminal is None else 0

    def check_all_read(self) -> None:
        """Raise `Error` where standard input holds a line that nobody asks for."""
        if self.lines_left():
            raise Error(
                "standard input has more lines than this command reads",
                hint=f"see which lines are read: {_running()} --help",
            )

    def say(self, text: str = "", *, style: str | None = None) -> None:
        """Tell a person at a terminal, and nobody else."""
        if self.terminal is not None:
            self.terminal.say(text, style=style)

    def _required(self, what: str) -> str:
        found = self._next()
        if not found:
            raise Error(
                f"no terminal to ask at, and standard input has no line for: {what}",
                hint=f"see which lines are read: {_running()} --help",
            )
        return found

    def _next(self) -> str:
        lines = self._unread()
        return lines.pop(0) if lines else ""

    def _unread(self) -> list[str]:
        if self._lines is None:
            self._lines = self._read()
        return self._lines


def answers() -> Answers:
    """Where a verb gets its answers. Raises `Error` where standard input is a terminal that cannot be opened."""
    if not _is_terminal(0):
        return Answers(None, piped)
    terminal = open_terminal()
    if terminal is None:
        raise Error(
            "this process has no terminal to ask at",
            hint="give the secret on standard input: … < FILE",
        )
    return Answers(terminal)


def open_terminal() -> Terminal | None:
    """The controlling terminal; None where there is none."""
    try:
        return Terminal(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return None


def piped() -> list[str]:
    """The lines of standard input. Split at LF only: what else Python takes for a line's end may stand in a secret."""
    try:
        data = b""
        while len(data) <= MAX_TYPED_BYTES and (chunk := os.read(0, MAX_TYPED_BYTES)):
            data += chunk
    except OSError:  # there is no standard input
        return []
    if len(data) > MAX_TYPED_BYTES:
        raise Error("standard input has more than 64 KiB", hint="give one secret per line, and nothing else")
    return [line.removesuffix("\r") for line in data.decode("utf-8", "surrogateescape").split("\n")]


def _running() -> str:
    """The command that asks, as it was typed."""
    import click  # lazy: a dialogue in the middle of a `get` does without

    running = click.get_current_context(silent=True)
    return "git-credential-bitbucket" if running is None else running.command_path


def _without_marks(typed: bytearray) -> bytes:
    """Without what a terminal sets around a paste, where a program before us left it in that mode (xterm's 2004)."""
    return bytes(typed).replace(b"\x1b[200~", b"").replace(b"\x1b[201~", b"")


def _last_character(typed: bytearray) -> int:
    """Where the last character of UTF-8 begins."""
    start = max(len(typed) - 1, 0)
    while start > 0 and typed[start] & 0xC0 == 0x80:  # noqa: PLR2004 - a continuation byte (RFC 3629)
        start -= 1
    return start


def _is_terminal(descriptor: int) -> bool:
    try:
        return os.isatty(descriptor)
    except OSError:
        return False


def _encoding() -> str:
    import locale  # lazy: only what is shown needs it

    return locale.getencoding()


def choosing() -> Terminal | None:
    """The terminal at which one of several may be chosen; None where nobody is to be asked."""
    return open_terminal() if _is_terminal(0) else None
