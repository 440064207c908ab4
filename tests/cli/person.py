"""Owns a person at a terminal: types verbs into a real pty, answers what is asked, reads what is said."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import pexpect

TIMEOUT_S = 120
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Dialogue:
    """One program in a pty. Its state: the pty, and all that was shown so far."""

    def __init__(self, command: list[str], env: Mapping[str, str], folder: Path, columns: int = 100) -> None:
        self._log = _Log()
        self._spawned = pexpect.spawn(
            command[0],
            command[1:],
            env=dict(env),
            cwd=str(folder),
            timeout=TIMEOUT_S,
            encoding="utf-8",
            dimensions=(40, columns),
        )
        self._spawned.logfile_read = self._log
        self._spawned.delaybeforesend = None

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """Hang up, whatever is still there."""
        self._spawned.close(force=True)

    def reads(self, text: str) -> None:
        """Wait until `text` is shown, wherever its lines are broken between words."""
        try:
            self._spawned.expect(re.escape(text).replace(r"\ ", r"(?: |\r\n *)"))
        except (pexpect.EOF, pexpect.TIMEOUT) as exc:
            raise AssertionError(f"{text!r} was not shown, but: {self.shown[-2000:]}") from exc

    def reads_match(self, pattern: str) -> str:
        """Wait for what fits `pattern`; returns its first group."""
        try:
            self._spawned.expect(pattern)
        except (pexpect.EOF, pexpect.TIMEOUT) as exc:
            raise AssertionError(f"{pattern!r} was not shown, but: {self.shown[-2000:]}") from exc
        match: Any = self._spawned.match
        return str(match[1])

    def types(self, text: str) -> None:
        """Type `text` and Enter."""
        self._spawned.sendline(text)

    def presses(self, letter: str) -> None:
        """Hold Ctrl, press `letter`."""
        self._spawned.sendcontrol(letter)

    def ends(self, code: int = 0) -> str:
        """Wait for the program's end, which must be with `code`; returns all that was shown."""
        try:
            self._spawned.expect(pexpect.EOF)
        except pexpect.TIMEOUT as exc:
            raise AssertionError(f"it does not end: {self.shown[-2000:]}") from exc
        self._spawned.wait()
        assert self._spawned.exitstatus == code, f"{self._spawned.exitstatus}: {self.shown[-2000:]}"
        return self.shown

    def finishes(self) -> None:
        """Wait for the program's end, with whatever code."""
        self._spawned.expect(pexpect.EOF)

    @property
    def shown(self) -> str:
        """All that was shown, without colours."""
        return _CONTROL.sub("", self._log.text).replace("\r\n", "\n")


class Person:
    """Somebody at a keyboard, with the environment and the folder that they have; a class for these."""

    def __init__(self, env: Mapping[str, str], folder: Path) -> None:
        self.env = dict(env)
        self.folder = folder

    def types(self, *words: str | os.PathLike[str], columns: int = 100, **more: str) -> Dialogue:
        """Start a program at the terminal; `more` is set in its environment."""
        return Dialogue([os.fspath(word) for word in words], {**self.env, **more}, self.folder, columns)


class _Log:
    """What pexpect writes down. A class because pexpect wants a file."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> None:
        """Keep it."""
        self.text += text

    def flush(self) -> None:
        """There is nothing to flush."""
