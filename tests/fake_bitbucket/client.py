"""Owns a test's hold on a stand-in: starts the process, speaks its control interface, ends it."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from types import TracebackType
from typing import IO, Any, Self

from tests.fake_bitbucket.journal import Entry

# Starting takes half a second; a machine under load may take longer.
READY_S = 60.0
CONTROL_S = 120.0

# support.atlassian.com, api-token-permissions: what git needs to clone and to push, and /2.0/user to answer.
API_TOKEN_SCOPES = ("read:repository:bitbucket", "write:repository:bitbucket", "read:user:bitbucket")
SCOPES = ("repository", "repository:write")
CONSUMER_SCOPES = ("account", "repository", "repository:write")
CALLBACK = "http://127.0.0.1:34106/"


@dataclass(frozen=True)
class ConsumerKey:
    """What Bitbucket's page shows of an OAuth consumer."""

    key: str
    secret: str = field(repr=False)
    callback: str

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which a job gives it to the helper."""
        return {"BITBUCKET_CLIENT_ID": self.key, "BITBUCKET_CLIENT_SECRET": self.secret}


class StandInError(Exception):
    """The stand-in did not start, or an action was refused."""


class FakeBitbucket:
    """One stand-in process. Its state: the process, and where it listens.

    `url` is the web host (git, LFS, OAuth), `api_url` REST's address up to `/2.0`, `proxy_url` a forward proxy
    under which bitbucket.org and api.bitbucket.org are the stand-in; `ca_file` is the CA of all of them.
    Starts with the people `alice` and `bob`, who reach everything, and no repository.
    """

    def __init__(self, folder: str = "/tmp", **knobs: object) -> None:  # noqa: S108 - only where mkdtemp makes one
        """`folder` is where its directory is made: with a short path, for a Unix socket's has at most 108 bytes."""
        self._folder = folder
        self._knobs = knobs
        self._process: subprocess.Popen[bytes] | None = None
        self._sockets: list[socket.socket] = []
        self.root = self.url = self.api_url = self.data_center_origin = self.proxy_url = self.ca_file = ""
        self.port = self.api_port = 0

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    def start(self) -> None:
        """Start the process and wait until it says that it is ready.

        Its directory is removed by the process itself when its stdin ends: so it is gone even if this one is killed.
        """
        self.root = tempfile.mkdtemp(prefix="gcb-standin-", dir=self._folder)
        command = [sys.executable, "-m", "tests.fake_bitbucket", "--root", self.root, "--until-eof", "--remove-root"]
        checkout = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        self._process = subprocess.Popen(
            command,
            cwd=checkout,
            env={"PATH": os.environ.get("PATH", os.defpath), "HOME": self.root, "LC_ALL": "C.UTF-8"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        ready = self._ready_line()
        self.url, self.port = ready["url"], ready["port"]
        self.api_url, self.api_port = ready["api_url"], ready["api_port"]
        self.data_center_origin = ready["data_center_origin"]
        self.proxy_url, self.ca_file = ready["proxy_url"], ready["ca_file"]
        self.reset()

    def reset(self) -> None:
        """As after the start, in the same process: people, knobs, an empty log."""
        self.control("reset")
        for name in ("alice", "bob"):
            self.create_person(name)
        self.turn(**self._knobs)

    def stop(self) -> None:
        """End the process; returns when it is gone."""
        process, self._process = self._process, None
        for each in self._sockets:
            each.close()
        self._sockets.clear()
        if process is None:
            return
        _close(process.stdin)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        _close(process.stdout)
        shutil.rmtree(self.root, ignore_errors=True)

    @property
    def pid(self) -> int:
        """The process's id."""
        if self._process is None:
            raise StandInError("the stand-in does not run")
        return self._process.pid

    def control(self, action: str, **arguments: object) -> Any:  # noqa: ANN401 - what came over JSON
        """Perform one action of control.Actions; returns its result, raises StandInError with its refusal."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(CONTROL_S)
            connection.connect(os.path.join(self.root, "control"))
            connection.sendall(json.dumps({"action": action, **arguments}).encode() + b"\n")
            with connection.makefile("rb") as replies:
                reply = json.loads(replies.readline())
        if "error" in reply:
            raise StandInError(f"{action}: {reply['error']}")
        return reply["result"]

    def create_person(
        self, username: str, email: str = "", places: list[str] | None = None, *, password: str = ""
    ) -> None:
        """A person; `places` are workspaces or workspace/repository, all by default."""
        self.control("create_person", username=username, email=email, places=places, password=password)

    def create_repository(
        self, place: str, *, project: str = "CORE", public: bool = False, files: dict[str, str] | None = None
    ) -> str:
        """A repository with a first commit on main (none if `files` is empty); returns its https address."""
        self.control("create_repository", place=place, project=project, public=public, files=files)
        return self.clone_url(place)

    def clone_url(self, place: str, username: str = "") -> str:
        """The https address of workspace/slug, with a name in it as the Clone button writes it if given."""
        return f"https://{username}@{self.netloc}/{place}.git" if username else f"{self.url}/{place}.git"

    @property
    def netloc(self) -> str:
        """Host and port of the web host, as git's `host=` says it."""
        return self.url.removeprefix("https://")

    def git_config(self) -> list[tuple[str, str]]:
        """The settings that make this stand-in a Bitbucket host to the helper."""
        prefix = f"credential.{self.url}"
        return [
            (f"{prefix}.provider", "bitbucket"),
            (f"{prefix}.oauthAuthURL", f"{self.url}/site/oauth2/authorize"),
            (f"{prefix}.oauthTokenURL", f"{self.url}/site/oauth2/access_token"),
            (f"{prefix}.oauthRedirectURI", CALLBACK),
            (f"{prefix}.apiURL", self.api_url),
        ]

    def head(self, place: str, ref: str = "refs/heads/main") -> str | None:
        """The commit that the server has there; None if it has none."""
        commit: str | None = self.control("head", place=place, ref=ref)
        return commit

    def issue_api_token(
        self, username: str = "alice", scopes: tuple[str, ...] = API_TOKEN_SCOPES, lifetime: float | None = None
    ) -> str:
        """An API token of that person; lives `lifetime` seconds, for ever by default."""
        return str(self.control("issue_api_token", username=username, scopes=scopes, lifetime=lifetime))

    def issue_access_token(
        self, place: str, *, project: str = "", scopes: tuple[str, ...] = SCOPES, lifetime: float | None = None
    ) -> str:
        """A repository token (workspace/slug), a workspace token, or a project token (with `project`)."""
        return str(self.control("issue_access_token", place=place, project=project, scopes=scopes, lifetime=lifetime))

    def data_center_url(self, place: str = "", username: str = "", context: str = "") -> str:
        """The base URL of the Data Center beside the Cloud, or the clone URL of PROJECT/slug there."""
        origin = self.data_center_origin.replace("://", f"://{username}@") if username else self.data_center_origin
        return f"{origin}{context}/scm/{place}.git" if place else f"{origin}{context}"

    def data_center_config(self, context: str = "") -> list[tuple[str, str]]:
        """The setting that makes it one to the helper."""
        return [(f"credential.{self.data_center_url(context=context)}.provider", "bitbucket-data-center")]

    def issue_http_token(
        self,
        username: str = "",
        *,
        place: str = "",
        permissions: tuple[str, ...] = ("PROJECT_READ", "REPO_WRITE"),
        lifetime: float | None = None,
        name: str = "",
    ) -> str:
        """A Data Center HTTP access token: of a person, or else of the project or repository `place`."""
        wanted = {"username": username, "place": place, "permissions": permissions, "lifetime": lifetime, "name": name}
        return str(self.control("issue_http_token", **wanted))

    def http_tokens(self) -> dict[str, str]:
        """The names of the Data Center's living HTTP access tokens, by their secret."""
        return dict(self.control("http_tokens"))

    def failed_attempts(self, username: str) -> int:
        """How many logins of that name failed at the Data Center since one worked."""
        return int(self.control("failed_attempts", username=username))

    def issue_app_password(self) -> str:
        """A dead app password."""
        return str(self.control("issue_app_password"))

    def add_consumer(
        self,
        *,
        callback: str = CALLBACK,
        private: bool = True,
        workspace: str = "acme",
        scopes: tuple[str, ...] = CONSUMER_SCOPES,
        old_shape: bool = False,
    ) -> ConsumerKey:
        """An OAuth consumer of a workspace."""
        made = self.control(
            "add_consumer", callback=callback, private=private, workspace=workspace, scopes=scopes, old_shape=old_shape
        )
        return ConsumerKey(made["key"], made["secret"], made["callback"])

    def issue_login(self, consumer: ConsumerKey, username: str = "alice") -> tuple[str, str]:
        """Access and refresh token, as from a finished authorization code grant."""
        made = self.control("issue_login", consumer=consumer.key, username=username)
        return made["access_token"], made["refresh_token"]

    def revoke(self, secret: str | None = None, *, kind: str = "oauth2", after: int = 0) -> int:
        """Revoke that token, or all living ones of a kind, after that many more accepted git requests."""
        return int(self.control("revoke", secret=secret, kind=kind, after=after))

    def revoke_logins(self, username: str | None = None) -> int:
        """Take back the consents of one person or all: their refresh tokens die as well."""
        return int(self.control("revoke_logins", username=username))

    def script_fault(self, endpoint: str, kind: str, **more: object) -> None:
        """The next `count=1` requests to `endpoint`, `after=0` others, fail; faults.py has the kinds."""
        self.control("script_fault", endpoint=endpoint, kind=kind, **more)

    def release(self) -> None:
        """Let held requests go on, and forget the faults still to come."""
        self.control("release")

    def turn(self, **knobs: object) -> None:
        """Set knobs (model.Knobs) by name."""
        self.control("turn", **knobs)

    def advance(self, seconds: float) -> None:
        """Let that much time pass at Bitbucket."""
        self.control("advance", seconds=seconds)

    def requests(self, endpoint: str | None = None, *, since: int = 0) -> list[Entry]:
        """The log after entry number `since`, of one endpoint or all."""
        entries = [Entry(**each) for each in self.control("log", since=since)]
        return [each for each in entries if endpoint in {None, each.endpoint}]

    def token_requests(self, *, since: int = 0) -> list[Entry]:
        """The log of the token endpoint."""
        return self.requests("token", since=since)

    def mark(self) -> int:
        """The number of the newest entry, to be given as `since`."""
        return len(self.requests())

    def wait_for(
        self, endpoint: str, count: int = 1, *, since: int = 0, answered: bool = False, timeout: float = 60
    ) -> None:
        """Return when `count` requests have arrived (or been answered); raises after `timeout` seconds."""
        if not self.control("wait", endpoint=endpoint, count=count, since=since, answered=answered, timeout=timeout):
            raise StandInError(f"{count} requests to {endpoint} did not come within {timeout} s")

    def wait_until_quiet(self) -> None:
        """Return when what was sent by clients that are gone has been acted on, or never will be."""
        if not self.control("wait_until_quiet"):
            raise StandInError("somebody is still connected")

    def is_spent(self, refresh_token: str) -> bool:
        """Whether a refresh token has been used: what Bitbucket knows, and no client can ask."""
        return bool(self.control("is_spent", secret=refresh_token))

    def secrets(self) -> list[str]:
        """Every secret that this stand-in has made, for canary searches."""
        return list(self.control("secrets"))

    def _ready_line(self) -> dict[str, Any]:
        process = self._process
        assert process is not None
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            self.stop()
            raise StandInError(f"the stand-in ended with {process.returncode} before it was ready")
        ready: dict[str, Any] = json.loads(line)
        return ready


def _close(stream: IO[bytes] | None) -> None:
    if stream is not None:
        stream.close()
