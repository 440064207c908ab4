"""A machine as somebody works on it: a git, the installed helper configured once, a directory to work in."""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from git_credential_bitbucket import git_config, git_protocol
from git_credential_bitbucket.bitbucket import providers
from git_credential_bitbucket.client import ipc
from tests.fake_bitbucket.client import ConsumerKey, FakeBitbucket
from tests.fake_bitbucket.journal import Entry
from tests.fake_bitbucket.tokens import digest
from tests.git_versions import Git
from tests.running import Runner, told
from tests.sandbox import Sandbox, ask_daemon

machine_git = pytest.mark.parametrize("git", ["machine"], indirect=True)
"""For a test that every git passes in the same way: the one that this machine has."""
newer_git = pytest.mark.parametrize("git", ["newer"], indirect=True)
"""For a test that every git passes in the same way, and the newer one tells the helper more in it."""
either_way = pytest.mark.parametrize("daemon", ["", "off"], ids=["daemon", "in process"], indirect=True)
"""For a test that passes in the same way where the daemon answers and where none may run."""

crosswise = pytest.mark.parametrize(
    ("git", "daemon"), [("machine", "off"), ("newer", "")], ids=["machine, in process", "newer, daemon"], indirect=True
)
"""For a test in which neither what git knows nor who answers it matters to the other: each of both once."""

_ASK = (
    "import json, sys\n"
    "from git_credential_bitbucket.errors import Error\n"
    "from git_credential_bitbucket.client.agent_client import ask\n"
    "action, fields, request = json.load(sys.stdin)\n"
    "try:\n"
    "    print(json.dumps(ask(action, fields.items(), request.encode())))\n"
    "except Error as exc:\n"
    "    sys.exit(f'{exc.cause}: {exc.hint}')\n"
)


class Machine(Sandbox):
    """One machine. Its state: the environment of everything that runs there, and what the programs have told so far."""

    def __init__(self, home: Path, env: Mapping[str, str], git: Git, program: Path, bitbucket: FakeBitbucket) -> None:
        """`env` is all that programs get to see; `site` is the host that credentials are for."""
        super().__init__(home, {**env, "PATH": f"{os.path.dirname(git.path)}:{env['PATH']}"})
        self.work = home / "work"
        self.used_git = git
        self.program = program
        self.standin = bitbucket
        self.site = bitbucket.url
        self.told: list[str] = []

    def run(
        self,
        *command: str | os.PathLike[str],
        cwd: Path | None = None,
        more: Mapping[str, str] | None = None,
        stdin: str | bytes = b"",
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program, with `more` in its environment; what it says is kept in `told`."""
        answer = Runner(self.env, self.work)(
            *command, env={**self.env, **(more or {})}, cwd=cwd, stdin=stdin, check=False
        )
        self.told += [answer.stdout, answer.stderr]
        if check and answer.returncode != 0:
            raise AssertionError(told(answer))
        return answer

    def git(
        self,
        *arguments: str | os.PathLike[str],
        cwd: Path | None = None,
        more: Mapping[str, str] | None = None,
        stdin: str | bytes = b"",
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Run this machine's git."""
        return self.run(self.used_git.path, *arguments, cwd=cwd, more=more, stdin=stdin, check=check)

    def helper(
        self, *arguments: str, more: Mapping[str, str] | None = None, stdin: str = "", check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run the helper as a person does."""
        return self.run(self.program, *arguments, more=more, stdin=stdin, check=check)

    def clone(self, url: str, *options: str, more: Mapping[str, str] | None = None) -> Path:
        """Clone; returns the work tree."""
        folder = self.work / f"clone-{len(list(self.work.iterdir()))}"
        self.git("clone", *options, url, folder, more=more)
        return folder

    def commit(self, clone: Path, name: str = "change", content: bytes = b"change\n") -> str:
        """Commit a file; returns the commit."""
        (clone / name).write_bytes(content)
        self.git("add", name, cwd=clone)
        self.git("commit", "--quiet", "--message", name, cwd=clone)
        return self.git("rev-parse", "HEAD", cwd=clone).stdout.strip()

    def approve(self, place: str, username: str, secret: str) -> None:
        """What git does once a secret that was typed at its prompt has worked; without `place`, for the host."""
        request = self.request(place, username=username, password=secret)
        self.git("credential", "approve", stdin=request)

    def request(self, place: str, **more: str) -> str:
        """A request as git writes it."""
        fields = {
            "protocol": "https",
            "host": self.site.removeprefix("https://"),
            **({"path": f"{place}.git"} if place else {}),
            **more,
        }
        return "".join(f"{key}={value}\n" for key, value in fields.items())

    def ask(self, action: str, fields: Mapping[str, str] | None = None, request: str = "") -> list[tuple[str, str]]:
        """Ask the daemon, or where none listens, the installed program's client."""
        if self.env.get(ipc.DAEMON) != "off":
            found = ask_daemon(self.env, action, git_protocol.emit([*(fields or {}).items()]) + request.encode())
            if found is not None:
                return found
        answer = Runner(self.env, self.work)(
            self.program.parent / "python", "-I", "-c", _ASK, stdin=json.dumps([action, fields or {}, request])
        )
        return [(key, value) for key, value in json.loads(answer.stdout)]

    def credentials(self) -> list[dict[str, object]]:
        """What `status` tells of each credential."""
        return [json.loads(value) for key, value in self.ask("status") if key == "credential[]"]

    def end_daemon(self) -> None:
        """Stop the daemon, if one runs; returns when it has ended."""
        if self.socket.exists():
            self.ask("exit")

    def daemon_pid(self) -> int:
        """The daemon's process."""
        return int(dict(self.ask("status"))["pid"])

    def keep(self, place: str, **record: object) -> None:
        """Keep a credential for `place` (the host if empty), as `login` hands it over."""
        self.ask("add", {"record": json.dumps({**record, "place": f"{self.site}/{place}".rstrip("/")})})

    def log_in(self, consumer: ConsumerKey, place: str = "", *, expires_in: float = 7200) -> str:
        """Keep an OAuth login of alice's, as after the authorization code grant; returns its access token."""
        access, refresh = self.standin.issue_login(consumer)
        record = {"kind": "oauth", "secret": access, "refresh_token": refresh, "expires_in": expires_in}
        self.keep(place, **record, **self.renewed_by(consumer))
        return access

    def add_consumer(self, consumer: ConsumerKey) -> None:
        """Keep an OAuth consumer for the client credentials grant; its first token is yet to be minted."""
        self.keep("", kind="client-credentials", secret="", expires_in=0, **self.renewed_by(consumer))

    def renewed_by(self, consumer: ConsumerKey) -> dict[str, object]:
        """What renewal needs: the consumer, and the endpoint that git's configuration names."""
        provider = providers.find(git_config.read(self.env), "https", self.site.removeprefix("https://"), self.env)
        assert provider is not None
        endpoint = provider.endpoint.to_record()
        return {"client_id": consumer.key, "client_secret": consumer.secret, "endpoint": endpoint}

    def offered(self, *, since: int = 0, endpoint: str = "git") -> list[Entry]:
        """The requests that came with a secret; curl sends a name that is in the address without one at first."""
        return [e for e in self.standin.requests(endpoint, since=since) if e.auth and e.secret != digest("")]


def only_line(text: str, *, hint: bool = True) -> str:
    """The one error that the helper told in `text`, which must have a hint right behind it."""
    said = [line for line in text.split("\n") if line.startswith("git-credential-bitbucket: ")]
    kinds = [line.split(": ")[1] for line in said]
    assert kinds == (["error", "hint"] if hint else ["error"]), said
    return said[0].removeprefix("git-credential-bitbucket: error: ")
