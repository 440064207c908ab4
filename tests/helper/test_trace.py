"""GIT_CREDENTIAL_BITBUCKET_TRACE and `-v`: each decision is told, and never a secret."""

import os
import subprocess
from pathlib import Path

import pytest

from git_credential_bitbucket.client import ipc
from tests.fake_bitbucket import tokens
from tests.helpers import request, socket_of
from tests.running import Runner

PREFIX = "git-credential-bitbucket: trace: "


def filled(front: Runner, wanted: str, **more: str) -> tuple[dict[str, str], str]:
    """What git gets with the trace set to `wanted`, and what is said."""
    env = {**front.env, ipc.TRACE: wanted}
    done = front("git", "credential", "fill", stdin=request(**more), env=env, check=False)
    return dict(line.partition("=")[::2] for line in done.stdout.split("\n")), done.stderr


def kept(front: Runner) -> str:
    """A token that git has had stored, with the trace on; it is not in what was said."""
    secret = tokens.api_token()
    env = {**front.env, ipc.TRACE: "1"}
    text = request(username="alice", password=secret)
    said = front("git", "credential", "approve", stdin=text, env=env).stderr
    assert "store: https://bitbucket.org/acme/app.git: a Bitbucket host" in said
    assert secret not in said
    return secret


def test_a_trace_tells_who_was_asked_and_which_credential_answers(front: Runner) -> None:
    """On standard error, in the order of the decisions; git gets its answer as ever."""
    secret = kept(front)
    got, said = filled(front, "1")
    assert got["password"] == secret
    assert secret not in said
    lines = [line.removeprefix(PREFIX).partition(": ")[2] for line in said.split("\n") if line.startswith(PREFIX)]
    assert lines[0] == "get: https://bitbucket.org/acme/app.git: a Bitbucket host"
    assert lines[1] == "the environment: no token and no consumer"
    assert any("for bitbucket.org: answers, because it is the only candidate" in line for line in lines)
    assert any(line.startswith("get: the daemon at ") and line.endswith(": answered") for line in lines)
    assert lines[-1] == f"answer: username={got['username']}"


def test_a_trace_names_what_stands_in_the_way(front: Runner) -> None:
    """Nothing kept, nobody to ask: both are decisions, and the message is as without it."""
    _, said = filled(front, "true")
    assert "no credential: none\n" in said
    assert "non-interactive: GIT_TERMINAL_PROMPT is off\n" in said
    assert "git-credential-bitbucket: error: no credential for bitbucket.org/acme/app\n" in said


def test_a_trace_is_silent_of_what_is_in_the_environment(front: Runner) -> None:
    secret = tokens.access_token()
    front.env["BITBUCKET_ACCESS_TOKEN"] = secret
    got, said = filled(front, "1")
    assert got["password"] == secret
    assert "the environment: BITBUCKET_ACCESS_TOKEN takes precedence over stored credentials\n" in said
    assert "answer: username=x-token-auth\n" in said
    assert secret not in said


def test_a_trace_hides_a_token_that_stands_where_a_name_belongs(front: Runner) -> None:
    """As in https://TOKEN@bitbucket.org: a username is shown, a secret is none."""
    secret = tokens.access_token()
    text = request(username=secret, password="of no known kind")
    front("git", "credential", "approve", stdin=text, env={**front.env, ipc.TRACE: "1"})
    got, said = filled(front, "1", username=secret)
    assert got["username"] == secret
    assert "answer: username=(a secret)\n" in said
    assert secret not in said


def test_a_trace_goes_to_the_end_of_a_file_that_only_we_can_read(front: Runner, home: Path) -> None:
    """As git's own GIT_TRACE; with the errors, so that the file tells all."""
    trace = home / "trace"
    for _ in range(2):
        _, said = filled(front, str(trace))
        assert PREFIX not in said
    assert trace.stat().st_mode & 0o777 == 0o600
    assert trace.read_text().count(": get: https://bitbucket.org/acme/app.git: a Bitbucket host\n") == 2
    assert trace.read_text().count("git-credential-bitbucket: error: no credential for bitbucket.org/acme/app\n") == 2


def test_a_file_that_cannot_be_written_holds_nobody_up(front: Runner, home: Path) -> None:
    """A pipe that nobody reads, a directory that is not there: it is told on standard error instead."""
    os.mkfifo(home / "pipe")
    for place in (home / "pipe", home / "nowhere" / "trace"):
        assert PREFIX in filled(front, str(place))[1]


def test_the_trace_file_follows_no_link(front: Runner, home: Path) -> None:
    """In a directory that others write to it may lead to a file of the user's: it is told on standard error instead.

    So may another name of that file.
    """
    target = home / "target"
    target.write_text("precious\n")
    os.link(target, home / "another name")
    assert PREFIX in filled(front, str(home / "another name"))[1]
    for name in (target, home / "not there yet"):
        link = home / "link"
        link.symlink_to(name)
        assert PREFIX in filled(front, str(link))[1]
        link.unlink()
    assert target.read_text() == "precious\n"
    assert not (home / "not there yet").exists()


@pytest.mark.parametrize("word", ["0", "false", "off", "no", ""])
def test_no_trace_unless_it_is_wanted(front: Runner, word: str) -> None:
    assert PREFIX not in filled(front, word)[1]


@pytest.mark.parametrize("option", ["-v", "--verbose"])
def test_verbose_traces_one_command_and_gits_own(front: Runner, helper: Path, option: str) -> None:
    """Before a verb, and in the helper's line in git's configuration: git puts the operation behind it."""
    secret = kept(front)
    assert "status: the daemon at " in front(helper, option, "status").stderr
    done = front(helper, option, "get", stdin=request())
    assert f"password={secret}\n" in done.stdout
    assert f"{PREFIX}" in done.stderr
    assert secret not in done.stderr


def test_the_daemon_does_not_trace(front: Runner, helper: Path, home: Path) -> None:
    """What it is started with outlives the command that wanted the trace."""
    trace = home / "trace"
    subprocess.run(
        [helper, "get"], env={**front.env, ipc.TRACE: str(trace)}, input=request().encode(), check=True, timeout=60
    )
    assert socket_of(home).exists()
    written = trace.read_text()
    front("git", "credential", "fill", stdin=request(), check=False)
    assert trace.read_text() == written
