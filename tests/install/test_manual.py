"""The manual page and the completions: up to date, without a warning, and found by real shells."""

import re
import shutil
from pathlib import Path

import pytest

from git_credential_bitbucket.cli import app
from install import manual
from tests.cli.person import Dialogue
from tests.installed import NAME, ROOT
from tests.running import Runner

COMPLETIONS = ROOT / "install" / "completions"


def program(name: str) -> str:
    """A program that this machine may lack."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"there is no {name}")
    return path


def test_the_page_is_what_the_program_says_today() -> None:
    """Verbs, options and settings; written by a program, committed for those who build without it."""
    assert manual.PAGE.read_text(encoding="utf-8") == manual.page(), "run: python -m install.manual"


@pytest.mark.parametrize("command", [["mandoc", "-T", "lint", "-W", "warning"], ["man", "--warnings", "-E", "UTF-8"]])
def test_no_formatter_complains(command: list[str], bare_env: dict[str, str], home: Path) -> None:
    page = ["-l", manual.PAGE] if command[0] == "man" else [manual.PAGE]
    done = Runner(bare_env, home)(program(command[0]), *command[1:], *page)
    assert done.stderr == ""
    assert done.stdout == "" or command[0] == "man"


def test_every_verb_is_in_the_page_as_people_read_it(bare_env: dict[str, str], home: Path) -> None:
    shown = Runner({**bare_env, "MANWIDTH": "500"}, home)(program("man"), "-l", manual.PAGE).stdout
    for section in app.SECTIONS.values():
        for verb, summary in section.items():
            assert re.search(rf"^ +{verb}\b", shown, re.MULTILINE)
            assert " ".join(summary.split()) in " ".join(shown.split())


@pytest.fixture
def env(bare_env: dict[str, str], executables: dict[str, Path]) -> dict[str, str]:
    """A person with the program in PATH."""
    folder = executables["portable"].parent
    return {**bare_env, "PATH": f"{folder}:{bare_env['PATH']}", "TERM": "xterm"}


def test_bash_completes_verbs_and_options(env: dict[str, str], home: Path) -> None:
    """The function that readline calls, called as readline does."""
    script = (
        f"source {COMPLETIONS / NAME}.bash; complete -p {NAME} >/dev/null || exit 1\n"
        f'try() {{ COMP_WORDS=({NAME} "$@"); COMP_CWORD=$#; COMPREPLY=();'
        f' _git_credential_bitbucket_completion {NAME}; echo "${{COMPREPLY[*]}}"; }}\n'
        "try unc; try login --acc; try rekey --to key\n"
    )
    done = Runner(env, home)(program("bash"), "--norc", "-c", script)
    assert done.stdout.splitlines() == ["unconfigure", "--access-token --account", "keyring key-file"]
    assert done.stderr == ""


def test_fish_completes_verbs_and_options(env: dict[str, str], home: Path) -> None:
    """From where fish looks for what packages bring."""
    script = f"source {COMPLETIONS / NAME}.fish; complete -C '{NAME} unc'; complete -C '{NAME} login --acc'"
    done = Runner(env, home)(program("fish"), "--no-config", "-c", script)
    found = [line.partition("\t")[0] for line in done.stdout.splitlines()]
    assert found == ["unconfigure", "--access-token", "--account"]


def test_zsh_completes_verbs(env: dict[str, str], home: Path) -> None:
    """By the Tab key, from a folder in fpath."""
    start = f"PS1='> '; fpath=({COMPLETIONS} $fpath); autoload -Uz compinit; compinit -u -D; echo loaded"
    with Dialogue([program("zsh"), "-f"], env, home, columns=120) as dialogue:
        dialogue.types(start)
        dialogue.reads("\nloaded")
        dialogue.types(f"echo {NAME} >/dev/null; {NAME} unc\t --help")
        dialogue.reads("Usage: git-credential-bitbucket unconfigure")
