"""The native relay, compiled with sanitizers: each way a daemon can answer, or not, and what is left to Python.

Beside it lies, in place of the Python front end, a script that tells how it was started. The time-out is a second.
"""

import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from git_credential_bitbucket import paths
from git_credential_bitbucket.client import daemon_launcher, ipc
from git_credential_bitbucket.helper import relay
from tests import installed
from tests.daemon.daemons import read_all
from tests.helper.peers import Serve, answering, hung_up, listening
from tests.sockets import listener_at
from tests.test_paths import SOCKET_NAMES

SOURCE = installed.ROOT / "git_credential_bitbucket" / "helper" / "relay.c"
WARNINGS = ["-Wall", "-Wextra", "-Werror", "-Wpedantic", "-Wconversion", "-Wsign-conversion", "-Wshadow", "-Wvla"]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"]
TIMEOUT_S, PATIENCE_S = 1, 120
HASTY = {"HASTY": "1"}
"""An environment in which a daemon's answer is not waited for any longer than a second."""
VAULT = "GIT_CREDENTIAL_BITBUCKET_VAULT"
REQUEST = b"protocol=https\nhost=bitbucket.org\npath=acme/app.git\n"
GIVEN = b"username=x-token-auth\npassword=%b\n" % os.urandom(96).hex().encode()
ANSWER = GIVEN + b"\n"
PROBE = """\
#!{python}
import json, os, sys
request = b""
while chunk := os.read(0, 65536):
    request += chunk
_, *pipes = os.environ.get("{spawned}", "").split(" ")
daemon = None
if pipes:
    os.write(int(pipes[0]), b"document")
    os.close(int(pipes[0]))
    daemon = json.load(open(int(pipes[1])))
print(json.dumps({{
    "arguments": sys.argv[1:], "request": request.hex(), "relayed": os.environ.get("{relayed}"),
    "isolated": sys.flags.isolated and sys.flags.no_site,
    "variables": list(os.environ), "daemon": daemon, "leads": os.getsid(0) == os.getpid(), "session": os.getsid(0),
}}))
"""
SPAWNED_ELSEWHERE = {daemon_launcher.SPAWNED: "1 2 3"}

pytestmark = pytest.mark.skipif(not installed.has_compiler(), reason="there is no C compiler")


@dataclass(frozen=True)
class Done:
    """How the relay ended: what it wrote, or how the Python front end was started in its place."""

    stdout: bytes
    stderr: bytes
    status: int
    seconds: float

    @property
    def handed_on(self) -> tuple[list[str], bytes, str | None]:
        """What the Python front end was given: arguments, request, and what the relay told of it."""
        probe = json.loads(self.stdout)
        assert probe["isolated"]
        return probe["arguments"], bytes.fromhex(probe["request"]), probe["relayed"]

    @property
    def spawned(self) -> dict[str, Any] | None:
        """How a daemon's Python was started meanwhile; None where none was."""
        probe = json.loads(self.stdout)
        daemon: dict[str, Any] | None = probe["daemon"]
        assert daemon is None or (daemon["isolated"] and daemon["session"] != probe["session"])
        return daemon


@dataclass(frozen=True)
class Relay:
    """The compiled relay, and a home for it."""

    path: Path
    home: Path

    @property
    def socket(self) -> Path:
        """Where the daemon listens, if one does."""
        return self.home / "run" / paths.NAME / "socket"

    def env(self, env: Mapping[str, str] | None = None) -> dict[str, str]:
        """The environment to start it in."""
        # Leaks are looked for by ptrace, which the relay forbids.
        base = {"HOME": str(self.home), "XDG_RUNTIME_DIR": str(self.home / "run"), "ASAN_OPTIONS": "detect_leaks=0"}
        return {**base, **(env or {})}

    def __call__(self, *arguments: str, request: bytes = REQUEST, env: Mapping[str, str] | None = None) -> Done:
        """Start it and wait for its end."""
        began = time.monotonic()
        done = subprocess.run(
            [self.path, *arguments],
            input=request,
            env=self.env(env),
            capture_output=True,
            check=False,
            timeout=PATIENCE_S,
        )
        return Done(done.stdout, done.stderr, done.returncode, time.monotonic() - began)


def compile_relay(target: Path, *flags: str, compiler: str = "cc") -> None:
    """Compile relay.c, or fail with what the compiler says."""
    installed.run([compiler, *flags, "-o", target, SOURCE], {"PATH": os.environ["PATH"]})


@pytest.fixture(scope="session")
def binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The relay with sanitizers, a time-out of the test's choice, and the script that tells how it was started."""
    target = tmp_path_factory.mktemp("relay") / paths.NAME
    timeout = f'-DRELAY_TIMEOUT_S=(getenv("HASTY")?{TIMEOUT_S}:{PATIENCE_S})'
    compile_relay(target, "-O1", "-g", *WARNINGS, *SANITIZERS, timeout)
    script = Path(f"{target}.py")
    script.write_text(PROBE.format(python=sys.executable, relayed=relay.RELAYED, spawned=daemon_launcher.SPAWNED))
    return target


@pytest.fixture
def native(binary: Path, home: Path) -> Relay:
    """The relay, with a private directory for the socket."""
    found = Relay(binary, home)
    found.socket.parent.mkdir(mode=0o700)
    return found


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("optimised", ["-O0", "-O2", "-O3"])
def test_compiles_without_a_warning(tmp_path: Path, compiler: str, optimised: str) -> None:
    """Each compiler's warnings are errors, at each level of optimisation."""
    if not shutil.which(compiler):
        pytest.skip(f"there is no {compiler}")
    compile_relay(tmp_path / "relay", optimised, *WARNINGS, "-std=c11", compiler=compiler)


def test_copies_the_answer_to_get(native: Relay) -> None:
    """What the daemon answers is what git reads, and the daemon has seen the action and git's own lines."""
    with listening(native.socket, answering(ANSWER)) as received:
        done = native("get")
    assert (done.stdout, done.stderr, done.status) == (GIVEN, b"", 0)
    assert received == [b"action=get\ntimeout=35\n" + REQUEST]


@pytest.mark.parametrize("operation", ["store", "erase"])
def test_an_acknowledged_store_is_silent(native: Relay, operation: str) -> None:
    """`ok=1` is for the relay; git gets nothing."""
    with listening(native.socket, answering(ipc.ACKNOWLEDGED)) as received:
        done = native(operation)
    assert (done.stdout, done.stderr, done.status) == (b"", b"", 0)
    assert received == [b"action=%b\ntimeout=35\n" % operation.encode() + REQUEST]


@pytest.mark.parametrize("operation", ["store", "erase"])
@pytest.mark.parametrize("reply", [b"", b"ok=1", b"ok=1\n\n", b"ok=0\n", b"error=locked\nhint=unlock it\n", b"o"])
def test_an_unacknowledged_store_is_handed_on(native: Relay, operation: str, reply: bytes) -> None:
    """Anything but the acknowledgement may mean that nothing was kept."""
    with listening(native.socket, answering(reply)):
        done = native(operation)
    assert done.handed_on == ([operation], REQUEST, ipc.UNACKNOWLEDGED)


def test_an_answer_without_its_end_is_handed_on(native: Relay) -> None:
    """So git's own cache daemon ends it, as a daemon of 0.1.0 does, or it was cut between two lines."""
    with listening(native.socket, answering(GIVEN)):
        assert native("get").handed_on == (["get"], REQUEST, ipc.UNACKNOWLEDGED)


@pytest.mark.parametrize("reply", [b"", b"password=cut", b"username=a\npassword=cut"])
def test_an_empty_or_cut_answer_is_handed_on(native: Relay, reply: bytes) -> None:
    """Git would use a password without its newline; the relay does not give it one."""
    with listening(native.socket, answering(reply)):
        assert native("get").handed_on == (["get"], REQUEST, ipc.EMPTY)


def test_an_answer_without_end_is_handed_on(native: Relay) -> None:
    """More than an answer can be is not written to git."""
    with listening(native.socket, answering(b"x" * 79 + b"\n" * (2 << 20))):
        assert native("get").handed_on == (["get"], REQUEST, ipc.EMPTY)


def unread(_: socket.socket) -> bytes:
    """Take the connection, and read nothing from it."""
    return b""


def test_a_peer_that_hangs_up_unread_is_handed_on(native: Relay) -> None:
    """Closing with unread input resets the connection; the request, longer than the socket's buffer, is intact."""
    request = REQUEST + b"path=%b\n" % (b"x" * 600_000)
    with listening(native.socket, unread):
        assert native("get", request=request).handed_on == (["get"], request, ipc.EMPTY)


@pytest.mark.parametrize("left_over", [True, False])
def test_no_daemon_is_handed_on(native: Relay, left_over: bool) -> None:
    """No socket, or one that nobody listens on any more."""
    if left_over:
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(native.socket))
    assert native("get").handed_on == (["get"], REQUEST, ipc.ABSENT)


@pytest.mark.parametrize("missing", [False, True])
def test_python_of_the_daemon_starts_beside_the_front_end(native: Relay, missing: bool) -> None:
    """In a session that it does not lead, with none of the caller's variables; what it is told comes by the pipe.

    Also where there is no directory for the socket yet: after a boot, for one.
    """
    if missing:
        native.socket.parent.rmdir()
    done = native("get", env={"LD_LIBRARY_PATH": "/made/up", "LD_BIND_NOW": "", relay.RELAYED: "", **SPAWNED_ELSEWHERE})
    assert done.handed_on == (["get"], REQUEST, ipc.ABSENT)
    daemon = done.spawned
    assert daemon is not None
    assert daemon["arguments"] == [relay.DAEMON_PROCESS, "--detached"]
    assert bytes.fromhex(daemon["request"]) == b"document"
    assert set(daemon["variables"]) - {"LC_CTYPE"} == {"LD_LIBRARY_PATH"}  # Python sets LC_CTYPE itself (PEP 538)
    assert not daemon["leads"]


@pytest.mark.parametrize(
    ("operation", "request_"),
    [
        ("store", REQUEST + GIVEN),
        ("erase", REQUEST + GIVEN),
        ("get", REQUEST.replace(b"bitbucket.org", b"github.com")),
        ("get", REQUEST.replace(b"https", b"http")),
        ("get", REQUEST + b"unknown=key\n"),
        ("get", REQUEST + GIVEN),
    ],
)
def test_no_daemon_is_started_before_python_has_decided(native: Relay, operation: str, request_: bytes) -> None:
    """Only a plain `get` for bitbucket.org needs one for certain."""
    done = native(operation, request=request_, env=SPAWNED_ELSEWHERE)
    assert done.handed_on == ([operation], request_, ipc.ABSENT)
    assert done.spawned is None


def silent(connection: socket.socket) -> bytes:
    """Say nothing until the other side gives up."""
    request = read_all(connection)
    hung_up(connection)
    return request


def deaf(connection: socket.socket) -> bytes:
    """Do not even read."""
    hung_up(connection)
    return b""


def dripping(connection: socket.socket) -> bytes:
    """A byte now and then, for ever."""
    read_all(connection)
    while True:
        connection.sendall(b"x")
        time.sleep(TIMEOUT_S / 10)  # the behaviour under test, not a wait for something to be ready


@pytest.mark.parametrize("serve", [silent, dripping])
@pytest.mark.parametrize("operation", ["get", "store"])
def test_a_hung_daemon_does_not_hang_git(native: Relay, serve: Serve, operation: str) -> None:
    """The time-out is one for the whole exchange, however the time is spent."""
    with listening(native.socket, serve):
        done = native(operation, env=HASTY)
    assert done.handed_on == ([operation], REQUEST, ipc.TIMEOUT)
    assert TIMEOUT_S <= done.seconds < PATIENCE_S


def test_a_daemon_that_does_not_read_does_not_hang_git(native: Relay) -> None:
    """A request longer than the socket's buffer, and nobody who takes it."""
    request = REQUEST + b"path=%b\n" % (b"x" * 900_000)
    with listening(native.socket, deaf):
        assert native("get", request=request, env=HASTY).handed_on == (["get"], request, ipc.TIMEOUT)


def test_a_daemon_that_does_not_accept_does_not_hang_git(native: Relay) -> None:
    """The queue of connections is full."""
    with listener_at(native.socket, 0):
        waiting = []
        for _ in range(2):
            waiting.append(socket.socket(socket.AF_UNIX))
            waiting[-1].setblocking(False)
            waiting[-1].connect_ex(str(native.socket))
        assert native("get", env=HASTY).handed_on == (["get"], REQUEST, ipc.TIMEOUT)
        for connection in waiting:
            connection.close()


def test_being_stopped_and_continued_is_nothing(native: Relay) -> None:
    """Ctrl-Z and fg while it waits: poll(2) is interrupted, and waits on."""

    def slow(connection: socket.socket) -> bytes:
        request = read_all(connection)
        (pid,) = struct.unpack("i8x", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        for _ in range(3):
            os.kill(pid, signal.SIGSTOP)
            os.kill(pid, signal.SIGCONT)
        connection.sendall(ANSWER)
        return request

    with listening(native.socket, slow):
        assert native("get").stdout == GIVEN


@pytest.mark.parametrize("size", [0, 1, 4096, 65536, 65537, (1 << 20) - len(REQUEST) - 6, 1 << 20, (1 << 20) + 1])
def test_the_request_is_handed_on_whole(native: Relay, size: int) -> None:
    """Whatever its length, Python reads what git wrote; beyond the limit, enough to see that it is too much."""
    request = REQUEST + b"path=%b\n" % (b"y" * size)
    arguments, received, relayed = native("get", request=request).handed_on
    assert (arguments, relayed) == (["get"], ipc.ABSENT)
    assert request.startswith(received)
    assert len(received) >= min(len(request), relay.MAX_REQUEST_BYTES + 1)


def test_a_blank_line_ends_the_request(native: Relay) -> None:
    """A program that keeps the pipe open after a blank line gets its answer."""
    with listening(native.socket, answering(ANSWER)) as received:
        command = subprocess.Popen(
            [native.path, "get"], env=native.env(), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        with command as process:
            assert process.stdin is not None
            assert process.stdout is not None
            os.write(process.stdin.fileno(), REQUEST)
            os.write(process.stdin.fileno(), b"\n")
            assert process.stdout.read() == GIVEN
    assert received == [b"action=get\ntimeout=35\n" + REQUEST + b"\n"]


@pytest.mark.parametrize(
    "name",
    [
        *(ipc.DAEMON, ipc.TRACE, ipc.TOKENS_FILE),
        *(name + ending for name in ipc.SECRET_VARIABLES for ending in ("", "_FILE")),
    ],
)
def test_what_the_environment_holds_comes_first(native: Relay, name: str) -> None:
    """A credential there, or a word against the daemon, and the daemon is not asked; an empty variable is none."""
    with listening(native.socket, answering(ANSWER)) as received:
        arguments, request, relayed = native("get", env={name: "$x"}).handed_on
        assert (arguments, request, relayed in (None, ipc.UNASKED)) == (["get"], REQUEST, True)
        assert received == []
        assert native("get", env={name: ""}).stdout == GIVEN


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["capability"],
        ["status", "--json"],
        ["get", "x"],
        ["GET"],
        ["gets"],
        ["", ""],
        ["exec", "--", "a b", "'\"$x\\"],
    ],
)
def test_other_verbs_are_handed_on_untouched(native: Relay, arguments: list[str]) -> None:
    """Arguments as they were given, standard input unread."""
    with listening(native.socket, answering(ANSWER)) as received:
        assert native(*arguments).handed_on == (arguments, REQUEST, None)
    assert received == []


def test_nobody_outside_says_what_became_of_a_request(native: Relay) -> None:
    """The variable that tells the Python front end is the relay's alone."""
    assert native("get", env={relay.RELAYED: ipc.EMPTY}).handed_on[2] == ipc.ABSENT
    assert native("x", env={relay.RELAYED: ipc.EMPTY}).handed_on[2] is None


def loose(directory: Path) -> None:
    """Let the group in."""
    directory.chmod(0o750)


def linked(directory: Path) -> None:
    """Put a link in its place."""
    moved = directory.rename(directory.with_name("elsewhere"))
    directory.symlink_to(moved)


def foreign(directory: Path) -> None:
    """Give it to somebody else."""
    if os.getuid():
        pytest.skip("only root can give a directory away")
    os.chown(directory, 65534, -1)


@pytest.mark.parametrize("spoil", [loose, linked, foreign])
def test_a_directory_that_is_not_private_is_left_to_python(native: Relay, spoil: Callable[[Path], None]) -> None:
    """Somebody else may have put the socket there: nothing is sent to it, and Python says why."""
    with listening(native.socket, answering(ANSWER)) as received:
        spoil(native.socket.parent)
        assert native("get").handed_on == (["get"], REQUEST, None)
        assert native("get", env={"GIT_CREDENTIAL_BITBUCKET_SOCKET": str(native.socket)}).handed_on[2] is None
    assert received == []


def test_a_link_with_a_slash_is_still_a_link(native: Relay) -> None:
    """lstat(2) follows a link that is written with slashes at its end."""
    (native.home / "link").symlink_to(native.socket.parent)
    with listening(native.socket, answering(ANSWER)):
        for slashes in ("/", "//"):
            path = f"{native.home}/link{slashes}socket"
            assert native("get", env={"GIT_CREDENTIAL_BITBUCKET_SOCKET": path}).handed_on[2] is None
            path = f"{native.socket.parent}{slashes}socket"
            assert native("get", env={"GIT_CREDENTIAL_BITBUCKET_SOCKET": path}).stdout == GIVEN


@pytest.mark.parametrize(
    "places",
    [
        {"GIT_CREDENTIAL_BITBUCKET_SOCKET": "{home}/own/socket"},
        {"XDG_RUNTIME_DIR": "{home}/run"},
        {"XDG_RUNTIME_DIR": "{home}/run/", "XDG_CACHE_HOME": "{home}/cache"},
        {"XDG_RUNTIME_DIR": "relative", "XDG_CACHE_HOME": "{home}/cache"},
        {"XDG_RUNTIME_DIR": "", "XDG_CACHE_HOME": "relative"},
        {"XDG_RUNTIME_DIR": "", "XDG_CACHE_HOME": "", "HOME": "{home}//"},
        {"GIT_CREDENTIAL_BITBUCKET_SOCKET": "", "XDG_RUNTIME_DIR": "{home}/run"},
        {"XDG_RUNTIME_DIR": "{home}/run", VAULT: "{home}/.local/share/git-credential-bitbucket/vault"},
        {
            "XDG_RUNTIME_DIR": "{home}/run",
            VAULT: "{home}/data/git-credential-bitbucket/vault",
            "XDG_DATA_HOME": "{home}/data//",
        },
        {"XDG_RUNTIME_DIR": "{home}/run", VAULT: "{home}/.local/share/git-credential-bitbucket/vault/"},
        *({"XDG_RUNTIME_DIR": "{home}/run", VAULT: vector["vault"]} for vector in SOCKET_NAMES),
    ],
)
def test_the_socket_is_where_paths_says(binary: Path, home: Path, places: dict[str, str]) -> None:
    """Relay and daemon agree on the place, for every variable that has a say in it."""
    env = {"HOME": str(home)} | {name: value.format(home=home) for name, value in places.items()}
    place = Path(paths.socket_path(env))
    if home not in place.parents:
        pytest.skip("this machine has a runtime directory for the user, which comes before")
    place.parent.mkdir(parents=True, mode=0o700)
    place.parent.chmod(0o700)
    with listening(place, answering(ANSWER)):
        assert Relay(binary, home)("get", env={"XDG_RUNTIME_DIR": "", **env}).stdout == GIVEN


def test_the_vault_is_told_to_a_named_socket(native: Relay) -> None:
    """In a line of the header, which a daemon that has another vault refuses and an older one passes over."""
    with listening(native.socket, answering(ANSWER)) as received:
        native("get", env={"GIT_CREDENTIAL_BITBUCKET_SOCKET": str(native.socket), VAULT: "a"})
    assert received == [ipc.format_request("get", REQUEST, "af63dc4c8601ec8c")]


def test_a_named_vaults_daemon_may_be_the_default_one(native: Relay) -> None:
    """Where none listens at its own socket, the default's is told the vault; where one does, nobody else is asked."""
    env = {"XDG_RUNTIME_DIR": str(native.home / "run"), "HOME": "", VAULT: "/srv/vault"}
    own, default = map(Path, paths.socket_candidates(env))
    assert default.parent == native.socket.parent
    named = ipc.format_request("get", REQUEST, paths.named_vault_id(env))
    with listening(default, answering(ANSWER)) as received:
        assert native("get", env=env).stdout == GIVEN
        with listening(own, answering(b"")) as received_too:
            assert native("get", env=env).handed_on == (["get"], REQUEST, ipc.EMPTY)
    assert (received, received_too) == ([named], [named])


@pytest.mark.parametrize(
    ("env", "is_ours"),
    [
        ({"GIT_CONFIG_PARAMETERS": "'a.b'='c' 'credentialBitbucket.vault'='/v'"}, True),
        ({"GIT_CONFIG_PARAMETERS": "'credentialbitbucket.VAULT=/v'"}, True),
        ({"GIT_CONFIG_COUNT": "2", "GIT_CONFIG_KEY_1": "CREDENTIALBITBUCKET.vault"}, True),
        ({"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "credential.helper"}, False),
        ({"GIT_CONFIG_KEY_0": "credentialBitbucket.vault"}, False),
        ({"GIT_CONFIG_PARAMETERS": "'credential.helper'='x'"}, False),
    ],
)
def test_settings_for_one_command_are_left_to_python(native: Relay, env: dict[str, str], is_ours: bool) -> None:
    """`git -c` may name another vault; every other configuration by variables costs nothing. Both relays agree."""
    assert ipc.needs_fallback(env) is is_ours
    env["GIT_CREDENTIAL_BITBUCKET_SOCKET"] = str(native.socket)
    with listening(native.socket, answering(ANSWER)) as received:
        done = native("get", env=env)
    if is_ours:
        assert done.handed_on == (["get"], REQUEST, None)
    assert (done.stdout == GIVEN) is bool(received) is not is_ours


@pytest.mark.parametrize("env", [{"GIT_CREDENTIAL_BITBUCKET_SOCKET": "socket"}, {"XDG_RUNTIME_DIR": "/" + "x" * 200}])
def test_a_path_that_cannot_be_is_left_to_python(native: Relay, env: dict[str, str]) -> None:
    """A path too long for a socket is not cut, one without a directory not looked for."""
    assert native("get", env=env).handed_on == (["get"], REQUEST, None)


@pytest.mark.parametrize("length", [paths.SOCKET_PATH_BYTES, paths.SOCKET_PATH_BYTES + 1])
def test_the_longest_path_is_the_daemons(native: Relay, length: int) -> None:
    """To the byte: what `paths` takes is asked, one more is not."""
    path = str(native.socket) + "x" * (length - len(str(native.socket)))
    with listening(Path(path), answering(ANSWER)) as received:
        native("get", env={"GIT_CREDENTIAL_BITBUCKET_SOCKET": path})
    assert len(received) == (length == paths.SOCKET_PATH_BYTES)


def test_no_core_is_dumped(native: Relay) -> None:
    """A crash while it holds a secret leaves none on disk, whatever the shell allows."""
    (native.home / "cores").mkdir()

    def crash(connection: socket.socket) -> bytes:
        request = read_all(connection)
        (pid,) = struct.unpack("i8x", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        limits = Path(f"/proc/{pid}/limits").read_text()
        assert "Max core file size        0" in limits
        os.kill(pid, signal.SIGQUIT)
        return request

    with listening(native.socket, crash) as received:
        shell: list[str | Path] = ["/bin/sh", "-c", 'ulimit -c unlimited 2>/dev/null; cd cores; "$0" get', native.path]
        done = subprocess.run(shell, input=REQUEST, env=native.env(), cwd=native.home, check=False, timeout=60)
    assert len(received) == 1
    assert done.returncode != 0
    assert list((native.home / "cores").iterdir()) == []


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_do_not_harm(native: Relay, closed: str) -> None:
    """A caller that closed them gets no answer there, and neither a crash nor a hang."""
    with listening(native.socket, answering(ANSWER)) as received:
        done = subprocess.run(
            ["/bin/sh", "-c", f'exec "$0" get {closed}', native.path],
            input=REQUEST, env=native.env(), capture_output=True, check=False, timeout=60,
        )  # fmt: skip
    assert done.returncode == 0
    assert len(received) == 1
    assert done.stdout == (b"" if ">&-" in closed.replace("2>&-", "") else GIVEN)


def test_a_reader_that_went_away_is_nothing(native: Relay) -> None:
    """Git was interrupted: no signal, no message."""
    reader, writer = os.pipe()
    os.close(reader)
    with listening(native.socket, answering(ANSWER)):
        done = subprocess.run(
            [native.path, "get"], input=REQUEST, env=native.env(), stdout=writer, stderr=subprocess.PIPE, check=False
        )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


def test_says_so_when_the_script_is_gone(native: Relay, tmp_path: Path) -> None:
    """An executable copied away from its script: one line and a hint."""
    alone = Relay(Path(shutil.copy(native.path, tmp_path / paths.NAME)), native.home)
    done = alone("get")
    assert (done.stdout, done.status) == (b"", 1)
    assert [line.split(b": ")[1] for line in done.stderr.splitlines()] == [b"error", b"hint"]


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="only Linux has files without a name")
@pytest.mark.parametrize("is_bare", [True, False])
def test_a_script_of_the_work_tree_s_is_not_run(native: Relay, tmp_path: Path, *, is_bare: bool) -> None:
    """Where the executable's path is not known (no /proc, or replaced meanwhile), a shell's bare name leads there."""
    for name in (native.path.name, f"{native.path.name}.py"):
        (tmp_path / name).write_text("#!/bin/echo\n\n")
    command = [native.path.name if is_bare else native.path, "get"]
    with os.fdopen(os.memfd_create("relay"), "wb") as file:
        file.write(native.path.read_bytes())
        file.flush()
        number = file.fileno()
        done = subprocess.run(
            command,
            executable=f"/proc/self/fd/{number}",
            pass_fds=[number],
            cwd=tmp_path,
            input=REQUEST,
            env=native.env(),
            stdout=subprocess.PIPE,
            check=False,
        )
    assert (done.returncode, done.stdout == b"") == (is_bare, is_bare)


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(
    operation=st.sampled_from(["get", "store", "erase"]),
    part=st.binary(max_size=100),
    times=st.sampled_from([1, 2, 1000]),
    replies=st.lists(st.sampled_from([b"ok=1\n", b"\n", b"\0", ANSWER]) | st.binary(max_size=200), max_size=5),
)
def test_does_what_the_python_relay_does(
    native: Relay, operation: str, part: bytes, times: int, replies: list[bytes]
) -> None:
    """Whatever is asked and whatever answers: both relays come to the same end, and the request stays whole."""

    def in_pieces(connection: socket.socket) -> bytes:
        request = read_all(connection)
        for piece in replies:
            connection.sendall(piece)
        return request

    request = REQUEST + part.replace(b"\n", b"") * times
    with listening(native.socket, in_pieces) as received:
        done = native(operation, request=request)
        outcome, reply = ipc.send_request(str(native.socket), ipc.format_request(operation, request))
    assert received[0] == received[1]
    assert done.status == 0
    if operation != "get" and reply != ipc.ACKNOWLEDGED:
        outcome = ipc.UNACKNOWLEDGED
    if operation == "get" and outcome == ipc.ANSWERED and not reply.endswith(ipc.END_OF_ANSWER):
        outcome = ipc.UNACKNOWLEDGED
    if outcome == ipc.ANSWERED:
        assert done.stdout == (reply[:-1] if operation == "get" else b"")
    else:
        assert done.handed_on == ([operation], request, outcome)
