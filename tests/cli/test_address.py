"""address.py: the QR code of the address to open, where there is room for it and the extra is installed."""

import shutil
import subprocess
import sys

import pytest

from git_credential_bitbucket.login import address_prompt
from git_credential_bitbucket.ui import prompts

URL = "https://bitbucket.org/site/oauth2/authorize?response_type=code&state=" + "x" * 250


def test_it_fits_a_terminal_of_eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dark on light, whatever the terminal's colours are; without colours, as the terminal has it."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    code = address_prompt.qr_code(URL, 80, 40)
    assert isinstance(code, str)
    rows = code.split("\n")
    assert len(rows) <= 40
    assert all(row.startswith("\x1b[97;40m") and row.endswith("\x1b[0m") for row in rows)
    monkeypatch.setenv("NO_COLOR", "1")
    plain = address_prompt.qr_code(URL, 80, 40)
    assert isinstance(plain, str)
    assert "\x1b" not in plain
    assert {len(row) for row in plain.split("\n")} == {len(plain.split("\n")[0])}


@pytest.mark.parametrize(("columns", "lines"), [(60, 60), (200, 24), (0, 0)])
def test_where_it_does_not_fit_its_size_is_told(columns: int, lines: int) -> None:
    assert address_prompt.qr_code(URL, columns, lines) == (65, 33)


def test_a_window_that_is_too_small_is_said_to_be() -> None:
    """Below the address, which does; on a terminal of 24 lines."""
    shown: list[str] = []

    class Window(prompts.Terminal):
        """A terminal of that size."""

        def size(self) -> tuple[int, int]:
            """Too few lines."""
            return 80, 24

        def show(self, address: str) -> None:
            """Noted."""
            shown.append(address)

        def say(self, text: str = "", *, style: str | None = None) -> None:
            """Noted, too."""
            del style
            shown.append(text)

        is_utf8 = True

    address_prompt.show_address(Window(-1), URL)
    assert shown == [URL, "The window is too small for a QR code, which needs 65 columns and 39 lines."]


def test_without_the_extra_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "segno", None)
    assert address_prompt.qr_code(URL, 200, 100) is None


@pytest.mark.skipif(shutil.which("zbarimg") is None, reason="needs a reader: apt-get install zbar-tools")
def test_it_can_be_read(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    """What a camera would see of the half blocks, drawn as an image, is the address again."""
    monkeypatch.setenv("NO_COLOR", "1")
    code = address_prompt.qr_code(URL, 80, 40)
    assert isinstance(code, str)
    halves = {"█": "00", "▀": "01", "▄": "10", " ": "11"}  # of each character, the upper and the lower: 1 is dark
    rows = [[halves[c][i] for c in row] for row in code.split("\n") for i in (0, 1)]
    dots = [[dot for dot in row for _ in range(4)] for row in rows for _ in range(4)]
    image = f"{tmp_path}/code.pbm"
    with open(image, "w", encoding="ascii") as file:
        file.write(f"P1\n{len(dots[0])} {len(dots)}\n" + "\n".join(" ".join(row) for row in dots) + "\n")
    done = subprocess.run(["zbarimg", "-q", "--raw", image], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == URL
