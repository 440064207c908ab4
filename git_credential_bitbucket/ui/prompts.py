"""Prompts: at the terminal, or answered line by line by standard input if that is not a terminal.

The dialogue is on /dev/tty only, never on stdout (which git reads) or stderr.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from git_credential_bitbucket import text_wrapping
from git_credential_bitbucket.client import interactivity
from git_credential_bitbucket.errors import Error
from git_credential_bitbucket.ui import ascii_fallback

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console

MAX_TYPED_BYTES = 65536
"""Of one answer; the longest tokens seen are OAuth's with 2,600 characters."""
TRIES = 3

_ENTER, _ERASE, _ERASE_ALL, _END = b"\r\n", b"\x08\x7f", b"\x15", b"\x04"


class Terminal:
    """The user's terminal. Ctrl-C, and Ctrl-D at a prompt, raise `KeyboardInterrupt`."""

    def __init__(self, descriptor: int) -> None:
        """`descriptor` is open for reading and writing, and closed by `close`."""
        self._descriptor = descriptor

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._descriptor)

    def say(self, text: str = "", *, style: str | None = None) -> None:
        """Print a paragraph, wrapped to the terminal's width; the caller makes foreign text printable."""
        self.console().print(self._wrapped(text), style=style, soft_wrap=True)

    def show(self, address: str) -> None:
        """Print a URL on its own line, not wrapped, to be copied or clicked."""
        self.console().print(f"    {address}", style="bold", soft_wrap=True)

    def draw(self, text: str) -> None:
        """Print lines unchanged, control sequences included; they must fit."""
        self._write(f"{text}\n")

    def size(self) -> tuple[int, int]:
        """Columns and lines."""
        found = os.get_terminal_size(self._descriptor)
        return found.columns, found.lines

    @property
    def is_utf8(self) -> bool:
        """Whether the terminal shows UTF-8."""
        return _encoding().lower().replace("-", "") == "utf8"

    def console(self) -> Console:
        """A rich console on the terminal."""
        from rich.console import Console  # lazy: rich costs 40 ms

        file = open(self._descriptor, "w", encoding=_encoding(), errors=ascii_fallback.ERRORS, closefd=False)  # noqa: SIM115 - rich's
        return Console(file=file, markup=False, highlight=False, emoji=False, width=self.size()[0] or None)

    def line(self, prompt: str) -> str:
        """A line that the user types, visibly, stripped."""
        self._write(self._wrapped(prompt))
        typed = b""
        while not typed.endswith(b"\n"):
            chunk = os.read(self._descriptor, 4096)
            if not chunk:
                self._write("\n")
                raise KeyboardInterrupt
            typed += chunk
        return typed.decode("utf-8", "surrogateescape").strip()

    def secret(self, prompt: str) -> str:
        """A line that the user types or pastes, without echo.

        Read byte by byte: the terminal's line editing cuts a line at 4096 bytes (1024 on macOS), and a token may be
        longer. Pasted text after the first line is discarded, because the shell would run it.
        """
        import termios  # lazy: only hidden input needs it

        before = termios.tcgetattr(self._descriptor)
        silent = termios.tcgetattr(self._descriptor)
        silent[3] &= ~(termios.ECHO | termios.ICANON)  # ISIG stays: Ctrl-C is Ctrl-C
        silent[6][termios.VMIN], silent[6][termios.VTIME] = 1, 0
        try:
            termios.tcsetattr(self._descriptor, termios.TCSAFLUSH, silent)
            self._write(self._wrapped(prompt))  # after the echo is off: an early answer would be shown
            return self._read_hidden().decode("utf-8", "surrogateescape")
        finally:
            termios.tcsetattr(self._descriptor, termios.TCSAFLUSH, before)
            self._write("\n")

    def choose(self, prompt: str, options: Sequence[str], *, default: int | None = None) -> int:
        """The index of the option whose number the user types."""
        numbers = [str(number) for number in range(1, len(options) + 1)]
        for number, option in zip(numbers, options, strict=True):
            self._write(self._wrapped(f"  {number}  {option}\n", 5))
        suggestion = "" if default is None else f" [{default + 1}]"
        while True:
            typed = self.line(f"{prompt}{suggestion}: ")
            if not typed and default is not None:
                return default
            if typed in numbers:
                return numbers.index(typed)
            self._write(f"Type a number from 1 to {len(options)}.\n")

    def confirm(self, question: str) -> bool:
        """Whether the user answers yes; an empty answer is no."""
        return self.line(f"{question} [y/N] ").lower() in ("y", "yes")

    def _read_hidden(self) -> bytes:
        typed = bytearray()
        while len(typed) <= MAX_TYPED_BYTES:
            chunk = os.read(self._descriptor, 4096)
            if not chunk:  # the terminal is gone
                raise KeyboardInterrupt
            for byte in chunk:
                if byte in _ENTER:
                    return _without_paste_markers(typed)
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

    def _wrapped(self, text: str, indent: int = 0) -> str:
        bare = text.rstrip()
        return text_wrapping.wrapped(bare, self.size()[0], indent) + text[len(bare) :]

    def _write(self, text: str) -> None:
        data = text.encode(_encoding(), ascii_fallback.ERRORS)
        while data:
            data = data[os.write(self._descriptor, data) :]


class Prompter:
    """Asks for what a command needs: at a terminal, else from the unread lines of standard input."""

    def __init__(self, terminal: Terminal | None, read: Callable[[], list[str]] = list) -> None:
        """Without a terminal the answers are the lines that `read` returns, called for the first one."""
        self.terminal = terminal
        self._read = read
        self._lines: list[str] | None = None

    def secret(self, what: str) -> str:
        """A secret. Raises `Error` if standard input has no further line."""
        return self._required(what) if self.terminal is None else self.terminal.secret(f"{what} (not shown): ")

    def line(self, what: str) -> str:
        """A required answer that is not secret. Raises `Error` as `secret` does."""
        return self._required(what) if self.terminal is None else self.terminal.line(f"{what}: ")

    def optional(self, prompt: str) -> str:
        """An optional answer; empty if it is left out."""
        return self._next().strip() if self.terminal is None else self.terminal.line(prompt)

    def lines_left(self) -> int:
        """The number of unread lines of standard input; 0 at a terminal."""
        return sum(map(bool, self._unread())) if self.terminal is None else 0

    def check_all_read(self) -> None:
        """Raise `Error` if standard input has unread lines."""
        if self.lines_left():
            raise Error("standard input has more lines than this command reads", hint=f"see: {_command_path()} --help")

    def say(self, text: str = "", *, style: str | None = None) -> None:
        """Print a paragraph if there is a terminal."""
        if self.terminal is not None:
            self.terminal.say(text, style=style)

    def _required(self, what: str) -> str:
        found = self._next()
        if not found:
            hint = f"see: {_command_path()} --help"
            raise Error(f"no terminal, and no line on standard input for: {what}", hint=hint)
        return found

    def _next(self) -> str:
        lines = self._unread()
        return lines.pop(0) if lines else ""

    def _unread(self) -> list[str]:
        if self._lines is None:
            self._lines = self._read()
        return self._lines


def prompter() -> Prompter:
    """The `Prompter` of this process. Raises `Error` if standard input is a terminal that cannot be opened."""
    if not interactivity.is_terminal(0):
        return Prompter(None, stdin_lines)
    terminal = open_terminal()
    if terminal is None:
        raise Error("this process has no terminal", hint="give the secret on standard input: … < FILE")
    return Prompter(terminal)


def open_terminal() -> Terminal | None:
    """The controlling terminal; None where there is none."""
    descriptor = interactivity.open_terminal()
    return None if descriptor is None else Terminal(descriptor)


def stdin_lines() -> list[str]:
    """The lines of standard input, split at LF only: a secret may contain other line separators. Raises `Error`."""
    try:
        data = b""
        while len(data) <= MAX_TYPED_BYTES and (chunk := os.read(0, MAX_TYPED_BYTES)):
            data += chunk
    except OSError:  # there is no standard input
        return []
    if len(data) > MAX_TYPED_BYTES:
        raise Error("standard input has more than 64 KiB", hint="give one secret per line, and nothing else")
    return [line.removesuffix("\r") for line in data.decode("utf-8", "surrogateescape").split("\n")]


def _command_path() -> str:
    """The running command as typed, for hints."""
    import click  # lazy: a `get` does not load it

    running = click.get_current_context(silent=True)
    return "git-credential-bitbucket" if running is None else running.command_path


def _without_paste_markers(typed: bytearray) -> bytes:
    """`typed` without the markers of bracketed paste (xterm's mode 2004), if an earlier program left it on."""
    return bytes(typed).replace(b"\x1b[200~", b"").replace(b"\x1b[201~", b"")


def _last_character(typed: bytearray) -> int:
    """The index at which the last UTF-8 character begins."""
    start = max(len(typed) - 1, 0)
    while start > 0 and typed[start] & 0xC0 == 0x80:  # noqa: PLR2004 - a continuation byte (RFC 3629)
        start -= 1
    return start


def _encoding() -> str:
    import locale  # lazy: only output needs it

    return locale.getencoding()


def interactive_terminal() -> Terminal | None:
    """The terminal to ask at; None if the command is non-interactive."""
    return open_terminal() if interactivity.is_terminal(0) else None
