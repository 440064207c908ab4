"""`exec` with real commands: what they see, how they end, and that nothing is left, however it ends."""

import contextlib
import json
import os
import select
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pexpect
import pytest

from tests.fake_bitbucket import tokens
from tests.fake_bitbucket.client import ConsumerKey, FakeBitbucket
from tests.running import Runner

NAME = "git-credential-bitbucket"
AS_A_USER = ("setpriv", "--bounding-set", "-all")
"""Before a command: root without its capabilities, as any user is."""

needs_util_linux = pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv of util-linux is not installed")
ENDING_S = 120.0
ASKING = "printf 'protocol=https\\nhost=bitbucket.org\\n\\n' | git credential fill"


@pytest.fixture
def token() -> str:
    """An access token that no server knows; enough where no server is asked."""
    return tokens.access_token()


@pytest.fixture
def given(bare_run: Runner, token: str) -> dict[str, str]:
    """An environment with that token."""
    return {**bare_run.env, "BITBUCKET_TOKEN": token}


def runtime_dir(run: Runner) -> list[str]:
    """What is in the runtime directory."""
    return os.listdir(os.path.join(run.env["XDG_RUNTIME_DIR"], f"{NAME}-control"))


@dataclass(frozen=True)
class Told:
    """The processes behind an `exec`, by pid, and the private daemon's socket."""

    daemon: int
    socket: str
    command: int


@contextlib.contextmanager
def running(env: dict[str, str], script: str) -> Iterator[tuple["subprocess.Popen[bytes]", Told]]:
    """`exec` of a shell script: it tells the private daemon's pid, its own and its socket, and then does `script`."""
    first = f'{NAME} daemon status --json | tr -d "\\n"; echo; echo $$\n'
    with subprocess.Popen(
        [NAME, "exec", "--", "sh", "-c", first + script], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        daemon = json.loads(process.stdout.readline())
        yield process, Told(daemon["pid"], daemon["socket"], int(process.stdout.readline()))
        if process.poll() is None:
            process.kill()


def end_of(pid: int) -> int:
    """A descriptor that becomes readable when that process has ended."""
    return os.pidfd_open(pid)


def assert_ends(handle: int) -> None:
    """The process behind `handle` ends by itself."""
    try:
        assert select.select([handle], [], [], ENDING_S)[0]
    finally:
        os.close(handle)


def test_a_clone_with_a_token_from_the_environment(run: Runner, bitbucket: FakeBitbucket) -> None:
    """Git gets it from the private daemon; clone and push work, and the command's environment has no token."""
    url = bitbucket.create_repository("acme/app", files={"a": "1"})
    env = {**run.env, "BITBUCKET_ACCESS_TOKEN": bitbucket.issue_access_token("acme/app")}
    script = f"set -e; git clone -q {url} app; cd app; git commit -q --allow-empty -m x; git push -q; env"
    done = run(NAME, "exec", "--", "sh", "-c", script, env=env)
    assert "BITBUCKET_ACCESS_TOKEN" not in done.stdout
    assert bitbucket.head("acme/app") == run("git", "-C", run.folder / "app", "rev-parse", "HEAD").stdout.strip()
    assert runtime_dir(run) == []


def test_client_credentials_are_minted_once(run: Runner, bitbucket: FakeBitbucket, consumer: ConsumerKey) -> None:
    """One token for all of the command's git, and none in its environment."""
    url = bitbucket.create_repository("acme/app", files={"a": "1"})
    env = {**run.env, **consumer.environment}
    run(
        NAME,
        "exec",
        "sh",
        "-ec",
        f"git ls-remote {url}; git ls-remote {url}; test -z $BITBUCKET_CLIENT_SECRET",
        env=env,
    )
    assert len(bitbucket.token_requests()) == 1


def test_a_file_may_hold_the_token(run: Runner, bitbucket: FakeBitbucket) -> None:
    """`…_FILE`, which the command does not see either: its git would read the file."""
    url = bitbucket.create_repository("acme/app", files={"a": "1"})
    file = run.folder / "token"
    file.write_text(bitbucket.issue_api_token() + "\n")
    env = {**run.env, "BITBUCKET_API_TOKEN_FILE": str(file)}
    run(NAME, "exec", "sh", "-ec", f"rm {file}; git ls-remote {url}; test -z $BITBUCKET_API_TOKEN_FILE", env=env)


def test_for_narrows_what_the_command_may_reach(run: Runner, bitbucket: FakeBitbucket) -> None:
    """Another repository gets nothing, though the token would open it."""
    mine = bitbucket.create_repository("acme/app", files={"a": "1"})
    other = bitbucket.create_repository("acme/other", files={"a": "1"})
    env = {**run.env, "BITBUCKET_TOKEN": bitbucket.issue_access_token("acme")}
    run(NAME, "exec", "--for", "acme/app", "git", "ls-remote", mine, env=env)
    done = run(NAME, "exec", "--for", "acme/app", "git", "ls-remote", other, env=env, check=False)
    assert done.returncode == 128
    assert "no credential for" in done.stderr


def test_a_nested_exec_keeps_the_outer_s_tokens_for_the_rest(run: Runner, bitbucket: FakeBitbucket) -> None:
    """Each token opens its own repository only. git and the verbs get the right one, and each stays where it was."""
    urls = {name: bitbucket.create_repository(f"acme/{name}", files={"a": "1"}) for name in "abc"}
    a, b, c = (bitbucket.issue_access_token(f"acme/{name}") for name in urls)
    reads = "".join(f"git ls-remote -q {url} >&2; {NAME} token {url};" for url in urls.values())
    job = f"set -e; {reads} {NAME} explain {urls['c']} >&2; {NAME} status --json"
    inner = f"BITBUCKET_TOKEN={a} exec {NAME} exec --for {urls['a']} -- sh -c {shlex.quote(job)}"
    middle = f"BITBUCKET_TOKEN={b} exec {NAME} exec --for {urls['b']} -- sh -c {shlex.quote(inner)}"
    done = run(NAME, "exec", "--", "sh", "-c", middle, env={**run.env, "BITBUCKET_TOKEN": c})
    *told, document = done.stdout.split("\n", 3)
    assert told == [a, b, c]
    assert [one["url"] for one in json.loads(document)["credentials"]] == [urls["a"].removesuffix(".git")]
    assert runtime_dir(run) == []


def test_a_nested_exec_hands_a_rejection_outwards(bare_run: Runner, given: dict[str, str], token: str) -> None:
    """What git erases is judged by the daemon that gave it, and the inner one's own token is not meant."""
    inner = tokens.access_token()
    rejected = f"printf 'protocol=https\\nhost=bitbucket.org\\npath=beta/x\\npassword={token}\\n\\n'"
    job = f"{rejected} | git credential reject; {NAME} token acme/app; {NAME} token beta/x"
    outer = f"BITBUCKET_TOKEN={inner} {NAME} exec --for acme -- sh -c {shlex.quote(job)}; {NAME} token acme/app"
    done = bare_run(NAME, "exec", "--", "sh", "-c", outer, env=given)
    assert done.stdout.split() == [inner, token]
    assert "is suspended for" in done.stderr


def test_a_login_below_exec_ends_with_it(bare_run: Runner, given: dict[str, str]) -> None:
    words = ("login", "--no-verify", "--access-token", "--for", "acme")
    told = bare_run(NAME, "exec", NAME, *words, env=given, stdin=tokens.access_token()).stdout
    assert "stored in memory only, until the daemon stops" in told


def test_each_token_of_the_tokens_file_is_served_for_its_scope(bare_run: Runner, home: Path) -> None:
    """And no further than `--for` says; the command sees neither file nor variable."""
    app, acme, beta = tokens.access_token(), tokens.api_token(), tokens.access_token()
    (home / "tokens").touch(0o600)
    (home / "tokens").write_text(f"acme={acme}\nacme/app={app}\nbeta={beta}\n")
    env = {**bare_run.env, "BITBUCKET_TOKENS_FILE": str(home / "tokens")}
    verbs = "".join(f"{NAME} token {place};" for place in ("acme/app", "acme/x", "beta/x", "gamma/x"))
    script = f'rm {home}/tokens; test -z "$BITBUCKET_TOKENS_FILE" || exit; {verbs}'
    done = bare_run(NAME, "exec", "--", "sh", "-c", script.replace(f"rm {home}/tokens;", ""), env=env, check=False)
    assert done.stdout.split() == [app, acme, beta]
    done = bare_run(NAME, "exec", "--for", "acme/x", "--", "sh", "-c", script, env=env, check=False)
    assert done.stdout.split() == [acme]


def test_the_command_has_arguments_and_streams_of_its_own(bare_run: Runner, given: dict[str, str]) -> None:
    """Options behind the command are the command's, and so is standard input."""
    done = bare_run(NAME, "exec", "sh", "-c", 'cat; echo "$@" >&2', "sh", "-v", "--for", "x", env=given, stdin="in")
    assert (done.stdout, done.stderr) == ("in", "-v --for x\n")


@pytest.mark.parametrize(
    ("script", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 143), ("kill -KILL $$", 137)]
)
def test_the_command_s_end_is_passed_on(bare_run: Runner, given: dict[str, str], script: str, code: int) -> None:
    """Its exit status, or 128 and the signal; the private daemon is gone in each case."""
    assert bare_run(NAME, "exec", "--", "sh", "-c", script, env=given, check=False).returncode == code
    assert runtime_dir(bare_run) == []


@pytest.mark.parametrize(("mode", "code", "said"), [(None, 127, "no such file"), (0o644, 126, "permission denied")])
def test_a_command_that_cannot_be_run(
    bare_run: Runner, given: dict[str, str], mode: int | None, code: int, said: str
) -> None:
    """As env(1) and shells end; one line, and nothing is left."""
    program = bare_run.folder / "program"
    if mode is not None:
        program.write_text("#!/bin/sh\n")
        program.chmod(mode)
    done = bare_run(NAME, "exec", str(program), env=given, check=False)
    assert done.returncode == code
    assert said in done.stderr
    assert runtime_dir(bare_run) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGUSR1])
def test_signals_are_passed_on(given: dict[str, str], number: signal.Signals) -> None:
    """Who ends `exec` means the command, which may clean up."""
    code = f"""
import os, signal
def caught(*_):
    os.write(1, b"caught")
    os._exit(5)
signal.signal({int(number)}, caught)
os.write(1, b"ready\\n")
while True:
    signal.pause()
"""
    with running(given, f"exec {sys.executable} -c {shlex.quote(code)}") as (process, told):
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        handle = end_of(told.daemon)
        process.send_signal(number)
        out, _ = process.communicate(timeout=ENDING_S)
        assert (out, process.returncode) == (b"caught", 5)
        assert_ends(handle)


def test_ctrl_c_reaches_the_command_once(bare_run: Runner, given: dict[str, str]) -> None:
    """The terminal has sent it to the command already."""
    script = 'n=0; trap "n=\\$((n+1)); echo caught \\$n" INT; echo ready; read a; read b; echo end $n'
    child = pexpect.spawn(
        NAME, ["exec", "--", "sh", "-c", script], env=given, timeout=ENDING_S, cwd=str(bare_run.folder)
    )
    child.expect("ready")
    child.sendintr()
    child.expect("caught 1")
    child.sendline("")
    child.sendline("")
    child.expect("end 1")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


def test_nothing_is_left_when_exec_is_killed(bare_run: Runner, given: dict[str, str]) -> None:
    """The pipe's end tells the daemon; it takes the directory along. The command finds no helper any more."""
    with running(given, f"read line; {ASKING}; {NAME} daemon status; echo status $?; read line") as (process, told):
        handle = end_of(told.daemon)
        process.kill()
        assert_ends(handle)
        assert runtime_dir(bare_run) == []
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
        lines = [process.stdout.readline(), process.stdout.readline()]
        assert lines == [f"no daemon is running at {told.socket}\n".encode(), b"status 3\n"]
        command = end_of(told.command)
        process.stdin.close()
        assert_ends(command)
    assert runtime_dir(bare_run) == []


def test_nothing_is_left_when_the_command_is_killed(bare_run: Runner, given: dict[str, str]) -> None:
    with running(given, "read line") as (process, told):
        handle = end_of(told.daemon)
        os.kill(told.command, signal.SIGKILL)
        assert process.wait(ENDING_S) == 137
        assert_ends(handle)
    assert runtime_dir(bare_run) == []


def test_nothing_is_left_when_the_daemon_is_killed(bare_run: Runner, given: dict[str, str]) -> None:
    """The command goes on without; an ordinary daemon, with the person's own vault, does not take its place."""
    with running(given, f"read line; {ASKING}; {NAME} status") as (process, told):
        handle = end_of(told.daemon)
        os.kill(told.daemon, signal.SIGKILL)
        assert_ends(handle)
        out, _ = process.communicate(b"\n", timeout=ENDING_S)
    assert b"password=" not in out
    assert runtime_dir(bare_run) == []


def test_the_secret_is_in_no_argument_environment_or_file(
    bare_run: Runner, given: dict[str, str], token: str, home: Path
) -> None:
    """Of the command and the daemon; `exec` itself was started with it by whoever set the variable."""
    with running(given, "read line") as (process, told):
        for pid in (told.daemon, told.command):
            for name in ("cmdline", "environ"):
                assert token.encode() not in Path("/proc", str(pid), name).read_bytes()
        files = [path for path in home.rglob("*") if path.is_file() and not path.is_symlink()]
        assert files
        assert not [path for path in files if token.encode() in path.read_bytes()]
        socket = Path(told.socket)
        assert socket.parent.stat().st_mode & 0o777 == 0o700
        assert socket.parents[2] == home / "run" / f"{NAME}-control"
        process.communicate(b"\n", timeout=ENDING_S)
    assert bare_run.folder.exists()


@needs_util_linux
def test_the_command_cannot_look_at_what_exec_was_started_with(bare_run: Runner, given: dict[str, str]) -> None:
    """Its parent's /proc/PID/environ is not its own to read, though the user is the same."""
    done = bare_run(*AS_A_USER, NAME, "exec", "sh", "-c", "cat /proc/$PPID/environ", env=given, check=False)
    assert "Permission denied" in done.stderr


def test_the_command_can_ask_for_the_secret(bare_run: Runner, given: dict[str, str], token: str) -> None:
    """What git can have, it can have: the guide and help say so."""
    done = bare_run(NAME, "exec", "sh", "-c", f"{ASKING}; {NAME} token", env=given)
    assert f"password={token}\n" in done.stdout
    assert done.stdout.split("\n")[-2] == token


@needs_util_linux
@pytest.mark.parametrize(
    ("variable", "shell", "readable"),
    [
        ("BITBUCKET_TOKEN", '"$@"; exit $?', True),
        ("BITBUCKET_TOKEN", 'exec "$@"', False),
        ("BITBUCKET_TOKEN_FILE", '"$@"; exit $?', False),
    ],
    ids=["a shell holds the variable", "exec is the first process", "a file"],
)
def test_which_environments_the_command_can_read(
    bare_run: Runner, token: str, variable: str, shell: str, readable: bool
) -> None:
    """As the guide says: of another process with the variable; as the first process of a job there is none."""
    file = bare_run.folder / "token"
    file.write_text(token)
    env = {**bare_run.env, variable: str(file) if variable.endswith("_FILE") else token}
    job = ["unshare", "--pid", "--fork", "--mount-proc", *AS_A_USER, "sh", "-c", shell, "sh"]
    look = "cat /proc/[0-9]*/environ; echo seen"
    done = bare_run(*job, NAME, "exec", "sh", "-c", look, env=env, check=False)
    if "unshare" in done.stderr:
        pytest.skip("no process namespace may be made here")
    assert "seen" in done.stdout
    assert (token in done.stdout) == readable


def test_nothing_in_the_environment_is_one_clear_error(bare_run: Runner) -> None:
    """With the names of what may be set; the command is not run."""
    done = bare_run(NAME, "exec", "--", "touch", "ran", check=False)
    assert done.returncode == 1
    error, hint, _ = done.stderr.split("\n")
    assert "no credential in the environment" in error
    assert "BITBUCKET_API_TOKEN" in hint
    assert not (bare_run.folder / "ran").exists()


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"BITBUCKET_CLIENT_SECRET": "x" * 32}, "BITBUCKET_CLIENT_SECRET is set, but BITBUCKET_CLIENT_ID is not"),
        ({"BITBUCKET_TOKEN": "two\nlines"}, "more than one line"),
        ({"BITBUCKET_TOKEN_FILE": "/nonexistent"}, "cannot be read"),
        ({"GIT_CREDENTIAL_BITBUCKET_DAEMON": "off", "BITBUCKET_TOKEN": "x" * 40}, "the daemon is switched off"),
        ({"GIT_CONFIG_COUNT": "many", "BITBUCKET_TOKEN": "x" * 40}, "command-line config"),
    ],
)
def test_what_is_unusable_is_told(bare_run: Runner, variables: dict[str, str], said: str) -> None:
    done = bare_run(NAME, "exec", "true", env={**bare_run.env, **variables}, check=False)
    assert done.returncode == 1
    assert said in done.stderr


def test_an_app_password_is_refused(bare_run: Runner) -> None:
    env = {**bare_run.env, "BITBUCKET_TOKEN": tokens.app_password()}
    done = bare_run(NAME, "exec", "true", env=env, check=False)
    assert done.returncode == 1
    assert "app password" in done.stderr


def test_settings_that_came_by_the_environment_stay(bare_run: Runner, given: dict[str, str]) -> None:
    """Ours are added behind them, and win: other helpers are not told of the token."""
    asked = bare_run.folder / "asked"
    env = {
        **given,
        "GIT_CONFIG_COUNT": "2",
        "GIT_CONFIG_KEY_0": "user.name",
        "GIT_CONFIG_VALUE_0": "Bob",
        "GIT_CONFIG_KEY_1": "credential.helper",
        "GIT_CONFIG_VALUE_1": f"!touch {asked};:",
    }
    script = f"git config user.name; {ASKING}"
    done = bare_run(NAME, "exec", "sh", "-c", script, env=env)
    assert done.stdout.startswith("Bob\n")
    assert f"password={given['BITBUCKET_TOKEN']}\n" in done.stdout
    assert not asked.exists()


def test_the_person_s_own_daemon_and_vault_are_not_touched(bare_run: Runner, given: dict[str, str]) -> None:
    """What the command's helper lists is the private daemon's; the person's own is as it was."""
    bare_run(NAME, "daemon", "start")
    own = json.loads(bare_run(NAME, "daemon", "status", "--json").stdout)
    told = bare_run(NAME, "exec", NAME, "status", "--json", env=given).stdout
    assert [one["kind"] for one in json.loads(told)["credentials"]] == ["access-token"]
    assert json.loads(told)["daemon"]["pid"] != str(own["pid"])
    after = json.loads(bare_run(NAME, "daemon", "status", "--json").stdout)
    assert after["pid"] == own["pid"]
    assert json.loads(bare_run(NAME, "status", "--json").stdout)["credentials"] == []
    bare_run(NAME, "daemon", "stop")


def test_a_runtime_directory_too_long_for_a_socket(bare_run: Runner, given: dict[str, str], home: Path) -> None:
    """The socket goes to a directory of its own in /tmp, and is gone afterwards."""
    deep = home / ("d" * 90)
    deep.mkdir(mode=0o700)
    script = f"echo $GIT_CREDENTIAL_BITBUCKET_SOCKET; {ASKING}"
    done = bare_run(NAME, "exec", "sh", "-c", script, env={**given, "XDG_RUNTIME_DIR": str(deep)})
    socket = Path(done.stdout.split("\n")[0])
    assert socket.parents[2] == Path(tempfile.gettempdir())
    assert not socket.parents[1].exists()
    assert f"password={given['BITBUCKET_TOKEN']}\n" in done.stdout
