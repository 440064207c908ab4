"""The command line as a whole: its help, its exit codes, and what it says where something is wrong."""

import inspect
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pexpect
import pytest

from git_credential_bitbucket.cli import app
from tests.cli.person import Person
from tests.helpers import socket_of
from tests.running import Runner
from tests.sockets import listener_at

NAME = "git-credential-bitbucket"
ROOT = Path(app.__file__).parents[2]
VERBS = [verb for section in app.SECTIONS.values() for verb in section if app.is_command(verb)]
HEAVY = ("cryptography", "keyring", "requests", "oauthlib", "requests_oauthlib")


def test_help_lists_every_verb_with_one_line(bare_run: Runner) -> None:
    """In the order of the table, none broken over two lines."""
    done = bare_run(NAME, "--help")
    lines = [line.split()[0] for line in done.stdout.split("\n") if line.startswith("  ") and line[2:3].islower()]
    assert [word for word in lines if word in VERBS] == VERBS
    assert bare_run(NAME).stdout == bare_run(NAME, "-h").stdout == done.stdout


def commands(group: click.Group, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every verb and what is below it."""
    context = click.Context(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        assert found is not None
        yield (*words, name), found
        if isinstance(found, click.Group):
            yield from commands(found, (*words, name))


def test_every_help_is_in_even_paragraphs() -> None:
    """An indented line that is left in one is shown as a gap; lists and examples have click's mark."""
    for words, command in commands(app.verbs):
        for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
            assert paragraph.startswith("\b") or "\n " not in f"\n{paragraph}", words


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_s_help_begins_with_its_line(verb: str) -> None:
    """The table and the verb say the same, and each verb is in its own module."""
    with click.Context(app.verbs, info_name=NAME) as parent:
        command = app.verbs.get_command(parent, verb)
        assert command is not None
        text = command.get_help(click.Context(command, parent=parent, info_name=verb))
    assert text.startswith(f"Usage: {NAME} {verb}")
    assert app.summary(verb) in " ".join(text.split())


@pytest.mark.parametrize(
    "words", [["version"], ["--help"], ["configure", "-n"], ["daemon", "status"], ["exec", "--help"]]
)
def test_a_verb_imports_only_what_it_needs(bare_run: Runner, words: list[str]) -> None:
    """No vault and no HTTP where none is used; rich not even for the help."""
    code = f"""
import sys
sys.argv[0] = {str(Path(bare_run.env["PATH"].split(":")[0], NAME))!r}
from git_credential_bitbucket.cli import app
app.main({words!r})
print("loaded:", *(name for name in {HEAVY!r} if name in sys.modules))
"""
    done = bare_run(sys.executable, "-c", code, env={**bare_run.env, "PYTHONPATH": str(ROOT)})
    assert done.stdout.split("\n")[-2] == "loaded:"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--nonsense"], "no such option"),
        (["version", "--nonsense"], "no such option"),
        (["version", "more"], "unexpected extra argument"),
        (["exec"], "missing argument"),
        (["status", "--fail-within"], "requires an argument"),
        (["daemon"], "missing command"),
        (["vault"], "missing command"),
        (["daemon", "dance"], "no such command"),
    ],
)
def test_what_is_not_understood_exits_with_two(bare_run: Runner, words: list[str], said: str) -> None:
    """One line with the cause, one with where to read on, nothing on stdout."""
    done = bare_run(NAME, *words, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    error, hint, end = done.stderr.split("\n")
    assert error.startswith(f"{NAME}: error: ")
    assert said in error
    verb = "" if words[0].startswith("-") else f" {words[0]}"
    assert hint == f"{NAME}: hint: see: {NAME}{verb} --help"
    assert end == ""


def test_an_unknown_verb_is_refused_at_a_terminal_and_passed_over_in_a_pipe(bare_run: Runner) -> None:
    """A person mistyped; git may have an operation that is younger than this program."""
    done = bare_run(NAME, "frobnicate")
    assert (done.stdout, done.stderr) == ("", "")
    child = pexpect.spawn(NAME, ["frobnicate"], env=bare_run.env, timeout=60)
    child.expect("error: no such command")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 2


@pytest.mark.parametrize("words", [["lgoin"], ["-v", "stauts"], ["help", "tokn"]])
def test_a_slip_of_a_verb_is_told_without_a_terminal(bare_run: Runner, words: list[str]) -> None:
    """A script that says nothing and ends well would hide it; no operation of git's is so like a verb."""
    done = bare_run(NAME, *words, check=False)
    meant = {"lgoin": "login", "stauts": "status", "tokn": "token"}[words[-1]]
    assert (done.returncode, done.stdout) == (2, "")
    assert f"no such command '{words[-1]}': did you mean {meant}?\n" in done.stderr


def test_help_is_a_verb(bare_run: Runner) -> None:
    """With another verb, it is that one's help; without, the program's."""
    assert bare_run(NAME, "help").stdout == bare_run(NAME, "--help").stdout
    assert bare_run(NAME, "help", "token").stdout == bare_run(NAME, "token", "--help").stdout


def test_an_error_is_told_with_its_hint_and_exits_with_one(bare_run: Runner) -> None:
    """Both lines on stderr, with our name before them."""
    done = bare_run(NAME, "configure", env={**bare_run.env, "GIT_CONFIG_GLOBAL": "here"}, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert [line.split(": ")[:2] for line in done.stderr.split("\n")[:-1]] == [[NAME, "error"], [NAME, "hint"]]


def test_verbose_tells_what_an_error_came_from(bare_run: Runner, link: Path) -> None:
    """Its kind and the system's words, never a foreign text."""
    git = link.parent / "git"
    git.write_text("no program\n")
    git.chmod(0o755)
    assert "because" not in bare_run(NAME, "configure", check=False).stderr
    done = bare_run(NAME, "-v", "configure", check=False)
    assert f"{NAME}: because: builtins.OSError: Exec format error" in done.stderr


def test_control_characters_do_not_reach_the_terminal(bare_run: Runner) -> None:
    """Whatever is repeated of the command line is made visible."""
    done = bare_run(NAME, "version", "\x1b[31m\u202e", check=False)
    assert "\\x1b[31m\\u202e" in done.stderr
    assert "\x1b" not in done.stderr


def test_ctrl_c_is_quiet(bare_run: Runner, home: Path) -> None:
    """130, as a shell says of a program that SIGINT ended, and no traceback."""
    status = [NAME, "daemon", "status"]
    with (
        listener_at(socket_of(home)) as silent,
        subprocess.Popen(status, env=bare_run.env, stderr=subprocess.PIPE) as process,
    ):
        connection, _ = silent.accept()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        connection.close()
    assert (process.returncode, err.strip()) == (130, b"")


def test_a_reader_that_went_away_is_no_error(bare_run: Runner) -> None:
    """`… | head` ends quietly, with the code of SIGPIPE."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([NAME, "version"], env=bare_run.env, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_full_disk_is_one_line_and_its_hint(bare_run: Runner) -> None:
    """The output could not be written: that is an error, and told once."""
    with open("/dev/full", "wb") as full:
        done = subprocess.run([NAME, "version"], env=bare_run.env, stdout=full, stderr=subprocess.PIPE, check=False)
    told = f"{NAME}: error: system error: no space left on device\n{NAME}: hint: free some space on that disk\n"
    assert (done.returncode, done.stderr) == (1, told.encode())


@pytest.mark.parametrize("verb", ["--help", "status", "version"])
def test_closed_streams_are_nothing_to_stumble_over(bare_run: Runner, verb: str) -> None:
    """Whoever closes them (`>&-`) does not want to read."""
    closing = f"{NAME} {verb} <&- >&- 2>&3"
    done = bare_run("sh", "-c", f"exec 3>&2; {closing}")
    assert (done.stdout, done.stderr) == ("", "")


def test_a_list_of_choices_is_one_line(bare_run: Runner) -> None:
    told = bare_run(NAME, "rekey", check=False).stderr
    assert f"{NAME}: error: missing option '--to'. Choose from: keyring, passphrase, " in told


def test_a_terminal_that_is_not_utf_8_is_told_all_the_same(bare_run: Runner) -> None:
    """What it cannot show is written as people read it."""
    env = {**bare_run.env, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "latin-1"}
    code = "from git_credential_bitbucket.cli import app; app.main(['exec', '--help'])"
    assert "..._FILE" in bare_run(sys.executable, "-c", code, env=env).stdout


SHOWING = """
from git_credential_bitbucket.ui import output
output.say("word " * 60 + "[bold]end\\x1b[0m", style="red")
"""


def test_a_pipe_gets_plain_unbroken_lines(bare_run: Runner) -> None:
    """No colours, no wrapping at 80 columns, nothing taken for markup, control characters visible."""
    env = {**bare_run.env, "PYTHONPATH": str(ROOT), "COLUMNS": "40"}
    done = bare_run(sys.executable, "-c", SHOWING, env=env)
    assert done.stdout == "word " * 60 + "[bold]end\\x1b[0m\n"


@pytest.mark.parametrize(("variables", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_colours_are_for_terminals_that_want_them(bare_run: Runner, variables: dict[str, str], coloured: bool) -> None:
    """NO_COLOR and a dumb terminal are heeded."""
    env = {**bare_run.env, "PYTHONPATH": str(ROOT), "TERM": "xterm", **variables}
    output = pexpect.run(f"{sys.executable} -c '{SHOWING}'", env=env, timeout=60)
    assert isinstance(output, bytes)
    assert (b"\x1b[31m" in output) is coloured


@pytest.mark.parametrize("columns", [60, 80])
def test_what_is_told_at_a_terminal_is_wrapped_between_words(person: Person, columns: int) -> None:
    """Messages, lists and help alike; only a word or a command that is longer itself goes beyond."""
    for words in (["status", "--require"], ["explain"], ["doctor"], ["help", "login"], ["help", "rekey"], ["refresh"]):
        with person.types(NAME, *words, columns=columns) as dialogue:
            dialogue.finishes()
        lines = dialogue.shown.split("\n")
        assert len(lines) > 1
        beyond = [line.strip() for line in lines if len(line) > columns]
        assert [line for line in beyond if " " in line and not line.startswith(("git ", f"{NAME} "))] == [], words


def test_a_dialogue_is_wrapped_as_well(person: Person) -> None:
    columns = 60
    with person.types(NAME, "login", columns=columns) as dialogue:
        dialogue.reads("How do you want to authenticate [2]: ")
        dialogue.types("2")
        dialogue.reads("New passphrase (not shown): ")
        lines = dialogue.shown.split("\n")
    assert [line for line in lines if len(line) > columns and " " in line.strip()] == []
    assert [line for line in lines if line.endswith(" ") and not line.endswith(": ")] == []
