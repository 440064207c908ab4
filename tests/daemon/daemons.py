"""A daemon started as the launcher does, but as a child of the test, which sees how it ends."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from git_credential_bitbucket import git_protocol, paths
from git_credential_bitbucket.client import daemon_launcher
from tests.fake_bitbucket import tokens
from tests.sockets import connected

TIMEOUT_S = 120.0


class Daemon:
    """A running daemon. Its state: the process, the environment it was told, and where it listens."""

    def __init__(
        self,
        env: Mapping[str, str],
        *arguments: str,
        package: str | None = None,
        pass_fds: Sequence[int] = (),
        stdin: bytes | None = None,
        real_env: Mapping[str, str] | None = None,
        launcher: Sequence[str] = (),
        enter: str | None = None,
        python: str | None = None,
    ) -> None:
        """`package` is a folder with another copy of the package; `launcher` words come before Python's.

        `enter` is Python code to come in by instead of the launcher's; `python` is another interpreter.
        """
        usual, *words = daemon_launcher.command()
        command = [*launcher, python or usual, *words]
        if enter is not None:
            command[command.index("-c") + 1] = enter
        if package is not None:
            command[-1] = package
        self.env = dict(env)
        self.path = paths.socket_path(env)
        self.control, self.guests = paths.control_socket(self.path), paths.guest_socket(self.path)
        self.process = subprocess.Popen(
            [*command, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=dict(real_env or {}),
            pass_fds=pass_fds,
            start_new_session=True,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps({"env": self.env}).encode() if stdin is None else stdin)
            self.process.stdin.close()
        self.told = self.process.stdout.read().decode()
        self.process.stdout.close()
        self.pid = child_of(self.process.pid) or self.process.pid
        """The process that serves: a fork of the one that was started, which waits for its end."""

    def kill(self) -> None:
        """Kill the process that serves, and wait until the one that was started has noticed."""
        os.kill(self.pid, signal.SIGKILL)
        self.process.wait(TIMEOUT_S)

    def ask(self, action: str, body: bytes = b"", path: str | None = None) -> bytes:
        """The whole answer to a request: at git's socket or, for other actions, the control socket if there is one."""
        if path is None and action not in git_protocol.GIT_ACTIONS and os.path.exists(self.control):
            path = self.control
        with self.connect(path) as connection:
            connection.sendall(message(action, body))
            connection.shutdown(socket.SHUT_WR)
            return read_all(connection)

    def told_about(self, action: str, body: bytes = b"") -> dict[str, str]:
        """The answer's lines by key."""
        return dict(git_protocol.parse_pairs(self.ask(action, body)))

    def connect(self, path: str | None = None) -> socket.socket:
        """A connection that nothing was sent on, to git's socket or another."""
        return connected(path or self.path)

    def store(self, path: str, secret: str = "") -> str:
        """Have it keep a secret, or a new access token, for a path on bitbucket.org, which git has just asked for in
        vain. Returns the secret.
        """
        secret = secret or tokens.access_token()
        self.ask("get", cloud(path))
        body = cloud(path) + f"username=alice\npassword={secret}\n".encode()
        assert self.ask("store", body).startswith(b"ok=1\n")  # perhaps with a word on where it is kept
        return secret

    def secret(self, path: str) -> str | None:
        """The secret that it gives for a path on bitbucket.org."""
        return self.told_about("get", cloud(path)).get("password")

    def grant(self, path: str = "acme/app", **fields: object) -> tuple[str, str]:
        """The socket and the id of a new grant for a path on bitbucket.org."""
        more = "".join(f"{name}={value}\n" for name, value in {"expires": 600, **fields}.items())
        told = self.told_about("grant", cloud(path) + more.encode())
        assert told.get("ok") == "1", told
        return told["socket"], told["grant"]

    def grants(self) -> list[dict[str, Any]]:
        """The open grants."""
        return self._objects("grant-list", "grant[]")

    def credentials(self) -> list[dict[str, Any]]:
        """The credentials, without what a use changes."""
        return [{**one, "last_used_at": None} for one in self._objects("status", "credential[]")]

    def _objects(self, action: str, name: str) -> list[dict[str, Any]]:
        return [json.loads(value) for key, value in git_protocol.parse_pairs(self.ask(action)) if key == name]

    def ended(self) -> int:
        """Wait for its end; the exit code."""
        return self.process.wait(TIMEOUT_S)

    def memory_kib(self) -> int:
        """Its resident memory."""
        with open(f"/proc/{self.pid}/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmRSS:"))

    def end(self) -> None:
        """Stop it, whatever it does."""
        self.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        self.process.kill()
        self.process.wait()


def cache_client(env: Mapping[str, str], path: str, operation: str, body: bytes = b"") -> bytes:
    """What `git credential-cache` prints, git's own client, asking at a socket. It complains of nothing."""
    command = ["git", "credential-cache", "--socket", path, operation]
    done = subprocess.run(command, input=body, env=dict(env), cwd="/", capture_output=True, timeout=60, check=True)
    assert done.stderr == b""
    return done.stdout


def child_of(parent: int) -> int | None:
    """A child of the process `parent`, if it has one."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{name}/stat") as file:
            if int(file.read().rpartition(") ")[2].split()[1]) == parent:
                return int(name)
    return None


def cloud(path: str = "") -> bytes:
    """A repository on bitbucket.org in git's words."""
    return b"protocol=https\nhost=bitbucket.org\n" + (f"path={path}\n".encode() if path else b"")


def message(action: str, body: bytes) -> bytes:
    """A request as git's own client sends it."""
    return f"action={action}\ntimeout=35\n".encode() + body


def read_all(connection: socket.socket) -> bytes:
    """What comes up to the end; empty too where the other end resets the connection."""
    answer = b""
    with contextlib.suppress(ConnectionResetError):
        while chunk := connection.recv(65536):
            answer += chunk
    return answer


def eventually(true: Callable[[], bool], seconds: float = TIMEOUT_S) -> None:
    """Wait until something holds that nobody announces; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.02)
