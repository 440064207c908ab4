"""How a daemon lives and leaves: readiness, signals, the terminal, idleness, a pipe's end, sockets handed to it."""

import json
import os
import pty
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from git_credential_bitbucket import config, paths
from tests.daemon.conftest import A_MOMENT_S, Clock, Start
from tests.daemon.daemons import Daemon, cache_client, cloud, eventually, message, read_all
from tests.fake_bitbucket import tokens
from tests.sockets import listener_at, listener_of


def test_ready_is_said_once_it_listens_and_the_pipe_ends(daemon: Daemon) -> None:
    """The starter reads to the end of the pipe: nothing of it is left open, and a question is answered at once."""
    assert daemon.told == "ready\n"
    assert daemon.told_about("ping")["pid"] == str(daemon.pid)


@pytest.mark.parametrize(
    ("name", "value"), [("GIT_CREDENTIAL_BITBUCKET_IDLE_EXIT", "soon"), ("GIT_CREDENTIAL_BITBUCKET_PEERS", "alice")]
)
def test_an_unusable_setting_is_told_instead_of_ready(
    start: Start, keyed_env: dict[str, str], name: str, value: str
) -> None:
    """Cause and cure come by the readiness pipe, and no socket is left behind."""
    daemon = start(env={**keyed_env, name: value})
    assert daemon.told.startswith(f"error={config.describe(name)} is not ")
    assert "\nhint=" in daemon.told
    assert daemon.ended() == 1
    assert not os.path.exists(daemon.path)


def test_an_unreadable_document_is_told_instead_of_ready(start: Start) -> None:
    """Standard input that is no JSON document of ours."""
    assert start(stdin=b"{nonsense").told.startswith("error=the document on the daemon's standard input")


def test_sigterm_makes_it_unlink_its_socket_and_stop(daemon: Daemon) -> None:
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.ended() == 0
    assert not os.path.exists(daemon.path)


def test_exit_is_answered_once_it_is_done(daemon: Daemon) -> None:
    """`git credential-cache exit`: when the client has its answer, the socket is gone."""
    cache_client(daemon.env, daemon.control, "exit")
    assert not os.path.exists(daemon.path)
    assert daemon.ended() == 0


def test_who_connected_before_it_left_is_served(daemon: Daemon) -> None:
    """A question that is under way when the daemon is told to leave gets its answer; `store` is kept."""
    token = tokens.access_token()
    with daemon.connect() as slow, daemon.connect(daemon.control) as leaver:
        slow.sendall(b"action=store\ntimeout=35\n" + cloud("acme/app"))
        leaver.sendall(message("exit", b""))
        leaver.shutdown(socket.SHUT_WR)
        eventually(lambda: not os.path.exists(daemon.path))
        slow.sendall(f"username=u\npassword={token}\n".encode())
        slow.shutdown(socket.SHUT_WR)
        assert read_all(slow).startswith(b"ok=1\n")
        assert read_all(leaver) == b"ok=1\n"
    assert daemon.ended() == 0


def test_what_was_stored_is_there_for_the_next_daemon(start: Start) -> None:
    """`ok=1` means on disk."""
    first = start()
    token = first.store("acme/app")
    first.kill()
    assert start().secret("acme/app") == token


def test_sighup_is_survived(daemon: Daemon) -> None:
    """Terminals close; others still work."""
    daemon.process.send_signal(signal.SIGHUP)
    assert daemon.told_about("ping")["pid"] == str(daemon.pid)


def test_the_terminal_that_it_was_started_in_may_go(keyed_env: dict[str, str]) -> None:
    """Started by the launcher in a terminal's session; the session's leader dies, the terminal hangs up."""
    pid, terminal = pty.fork()
    if pid == 0:  # pragma: no branch
        code = (
            "import json, os, sys; sys.path[0:0] = [sys.argv[1]]\n"
            "from git_credential_bitbucket.client import daemon_launcher\n"
            "daemon_launcher.start(json.loads(sys.argv[2])); print('started', flush=True); sys.stdin.read()"
        )
        root = str(Path(__file__).parents[2])
        os.execv(sys.executable, [sys.executable, "-c", code, root, json.dumps(keyed_env)])  # noqa: S606 - no shell is wanted
    seen = b""
    while b"started" not in seen:
        seen += os.read(terminal, 4096)
    path = f"{keyed_env['XDG_RUNTIME_DIR']}/git-credential-bitbucket/socket"
    daemon = listener_of(path)
    os.close(terminal)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert listener_of(path) == daemon
    assert os.getsid(daemon) != pid
    assert Path(f"/proc/{daemon}/stat").read_text().rpartition(")")[2].split()[4] == "0", "it has a terminal"


def test_git_does_not_wait_for_a_daemon_that_was_started_under_it(keyed_env: dict[str, str]) -> None:
    """All pipes end when the starter does: nothing of them is inherited, whatever their numbers."""
    code = (
        "import json, os, sys; sys.path[0:0] = [sys.argv[1]]\n"
        "from git_credential_bitbucket.client import daemon_launcher\n"
        "os.dup2(1, 17); os.set_inheritable(17, True); daemon_launcher.start(json.loads(sys.argv[2]))"
    )
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", code, root, json.dumps(keyed_env)], capture_output=True, timeout=60, check=True
    )
    assert done.stderr == b""
    assert listener_of(paths.socket_path(keyed_env)) > 0


def test_an_idle_daemon_stops(start: Start, keyed_env: dict[str, str], clock: Clock) -> None:
    daemon = start(env={**keyed_env, "GIT_CREDENTIAL_BITBUCKET_IDLE_EXIT": "3600"}, enter=clock.enter)
    daemon.store("acme/app")
    clock.turn_on(daemon, 2400)
    with pytest.raises(subprocess.TimeoutExpired):
        daemon.process.wait(A_MOMENT_S)
    clock.turn_on(daemon, 1200)
    assert daemon.ended() == 0
    assert not os.path.exists(daemon.path)


def test_a_daemon_that_holds_something_in_memory_only_stays(
    start: Start, bare_env: dict[str, str], clock: Clock
) -> None:
    """No key, so a typed secret is in memory: leaving would lose it."""
    env = {**bare_env, "GIT_CREDENTIAL_BITBUCKET_IDLE_EXIT": "3600", "GIT_CREDENTIAL_BITBUCKET_KEYRING": "off"}
    daemon = start(env=env, enter=clock.enter)
    daemon.store("acme/app")
    clock.turn_on(daemon, 3600)
    with pytest.raises(subprocess.TimeoutExpired):
        daemon.process.wait(A_MOMENT_S)
    assert daemon.secret("acme/app") is not None


def test_who_asks_it_to_go_is_told_what_is_in_memory_only(start: Start, bare_env: dict[str, str]) -> None:
    """It stays, unless told that this may be lost: a token is shown only once."""
    daemon = start(env={**bare_env, "GIT_CREDENTIAL_BITBUCKET_KEYRING": "off"})
    daemon.store("acme/app", token := tokens.access_token())
    refused = daemon.ask("exit").decode()
    assert refused.startswith("error=the daemon did not stop: its memory alone holds the access token for ")
    assert "daemon stop --force" in refused
    assert daemon.secret("acme/app") == token
    daemon.ask("exit", b"force=1\n")
    assert daemon.ended() == 0


def test_a_token_in_memory_keeps_nobody_once_the_vault_has_it(start: Start, keyed_env: dict[str, str]) -> None:
    """Nothing is lost with the process then."""
    daemon = start(env=keyed_env)
    record = {"kind": "access-token", "place": "https://bitbucket.org/acme", "secret": tokens.access_token()}
    body = f"record={json.dumps(record)}\n".encode()
    assert daemon.ask("add", b"memory=1\n" + body).startswith(b"ok=1\n")
    assert daemon.ask("exit").startswith(b"error=")
    assert daemon.ask("add", body).startswith(b"ok=1\n")
    assert daemon.ask("exit") == b"ok=1\n"
    assert daemon.ended() == 0


def test_the_end_of_a_pipe_ends_it(start: Start) -> None:
    """`exec` holds the other end: when it goes, however it goes, the daemon does."""
    ours, theirs = os.pipe()
    daemon = start("--memory", "--until-eof", str(ours), pass_fds=[ours])
    os.close(ours)
    token = daemon.store("acme/app")
    assert daemon.secret("acme/app") == token
    os.close(theirs)
    assert daemon.ended() == 0
    assert not os.path.exists(daemon.path)


def test_a_vault_in_memory_leaves_nothing_on_disk(start: Start, home: Path) -> None:
    """`--memory`: neither a vault nor a lock."""
    daemon = start("--memory")
    daemon.store("acme/app")
    daemon.process.send_signal(signal.SIGTERM)
    daemon.ended()
    files = [path for path in home.rglob("*") if path.is_file() and path.name != "key"]
    assert [path.name for path in files] == ["socket.lock"]


def test_a_socket_of_systemds_is_served_and_left_to_it(start: Start, keyed_env: dict[str, str], home: Path) -> None:
    """Socket activation (sd_listen_fds(3)): descriptor 3 by LISTEN_FDS and LISTEN_PID, environment from the unit."""
    path = home / "run" / "git-credential-bitbucket" / "socket"
    with listener_at(path) as listener:
        # LISTEN_PID must name the process that is executed: a shell that becomes it knows.
        script = f'exec 3<&{listener.fileno()}; export LISTEN_PID=$$ LISTEN_FDS=1; exec "$@"'
        daemon = start(
            stdin=b"", real_env=keyed_env, pass_fds=[listener.fileno()], launcher=["/bin/bash", "-c", script, "bash"]
        )
    assert daemon.told == "ready\n"
    assert daemon.told_about("ping")["pid"] == str(daemon.pid)
    daemon.store("acme/app")
    assert daemon.ask("status", path=daemon.control)
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.ended() == 0
    assert path.exists()
    assert not os.path.exists(daemon.control)  # which it made itself


def test_a_descriptor_that_is_no_listening_socket_is_refused(start: Start) -> None:
    """A unit that is written wrongly is told so."""
    with socket.socket(socket.AF_UNIX) as unbound:
        number = unbound.fileno()
        assert start("--listen-fd", str(number), pass_fds=[number]).told.startswith("error=descriptor ")


def test_a_crowd_of_gets_while_it_stops_sees_no_broken_connection(daemon: Daemon) -> None:
    """Each of them is answered, or finds nobody there: none is cut off in the middle."""
    daemon.store("acme/app")
    outcomes: list[bytes] = []

    def ask() -> None:
        while True:
            try:
                outcomes.append(daemon.ask("get", cloud("acme/app")))
            except (FileNotFoundError, ConnectionRefusedError):
                return

    with ThreadPoolExecutor(8) as pool:
        asking = [pool.submit(ask) for _ in range(8)]
        eventually(lambda: len(outcomes) > 200)
        daemon.process.send_signal(signal.SIGTERM)
        for one in asking:
            one.result()
    assert daemon.ended() == 0
    assert {len(one) > 100 for one in outcomes} == {True}
