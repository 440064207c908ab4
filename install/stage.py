"""Where the demonstration takes place: homes made for it, programs run and shown in them, and what is found told."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import requests
from rich.console import Console
from rich.text import Text

from tests.fake_bitbucket.client import FakeBitbucket
from tests.fake_bitbucket.journal import Entry

COMMAND_TIMEOUT_S = 60
WAIT_S = 30.0
INDENT = " " * 4


class Failed(Exception):
    """A step did not do what it says."""


class Stage:
    """Where the demonstration takes place. Its state: the folder, the stand-in, what was said so far, and the steps."""

    def __init__(self, folder: Path, bitbucket: FakeBitbucket) -> None:
        """A home with nothing in it but a name for commits, and the way to the stand-in: a proxy and its CA."""
        self.folder = folder
        self.standin = bitbucket
        self.console = Console(highlight=False, soft_wrap=True)
        self.said: list[str] = []
        self.steps = 0
        self.git = shutil.which("git") or "git"
        self.home = self.new_home("home")
        self.env = self.environment(self.home)

    def environment(self, home: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """What programs get to see: made from nothing, so that no setting and no token of yours takes part."""
        return {
            "HOME": str(home),
            "PATH": os.pathsep.join([os.path.dirname(sys.executable), os.path.dirname(self.git), "/usr/bin", "/bin"]),
            "XDG_RUNTIME_DIR": str(home / "run"),
            "TMPDIR": str(self.folder / "tmp"),
            "LC_ALL": "C.UTF-8",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            **(more or {}),
        }

    def new_home(self, name: str) -> Path:
        """A user's home: bitbucket.org is the stand-in there, for git and for whoever reads git's configuration."""
        home = self.folder / name
        for folder in (home, home / "run", home / "work"):
            folder.mkdir(mode=0o700)
        for key, value in {
            "user.name": "Alice",
            "user.email": "alice@example.com",
            "init.defaultBranch": "main",
            "http.proxy": self.standin.proxy_url,
            "http.sslCAInfo": self.standin.ca_file,
        }.items():
            command = [self.git, "config", "--file", str(home / ".gitconfig"), key, value]
            subprocess.run(command, env=self.environment(home), check=True, timeout=COMMAND_TIMEOUT_S)
        return home

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """One step of the demonstration; its time is told when it is done."""
        self.steps += 1
        self.console.print(f"\n[bold]{self.steps:2}  {title}[/bold]")
        began = time.monotonic()
        yield
        self.console.print(f"{INDENT}[dim]{time.monotonic() - began:.2f} s[/dim]")

    def found(self, what: str, proof: object) -> None:
        """Tell what was found, if it was. Raises `Failed` if not."""
        if not proof:
            raise Failed(what)
        self.console.print(Text(f"{INDENT}✓ {what}", style="green"))

    def run(
        self,
        *command: str,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: str = "",
        quiet: bool = False,
    ) -> str:
        """Run a command that has to succeed, and show it and what it says; returns its output."""
        if not quiet:
            self.console.print(Text(f"{INDENT}$ {shlex.join(command)}", style="bold"))
        done = subprocess.run(
            command,
            cwd=cwd or self.home / "work",
            env=dict(env or self.env),
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=COMMAND_TIMEOUT_S,
            text=True,
            check=False,
        )
        self.said += [] if quiet else [done.stdout]
        if not quiet or done.returncode:
            for line in done.stdout.splitlines():
                self.console.print(Text(f"{INDENT}  {line}", style="dim"))
        if done.returncode:
            raise Failed(f"{shlex.join(command)} ended with {done.returncode}")
        return done.stdout

    def commit(self, clone: Path, text: str) -> str:
        """A commit in `clone`; returns its id."""
        (clone / "notes.txt").write_text(text + "\n")
        self.run("git", "add", "notes.txt", cwd=clone, quiet=True)
        self.run("git", "commit", "--quiet", "--message", text, cwd=clone)
        return self.run("git", "rev-parse", "HEAD", cwd=clone, quiet=True).strip()

    def refuses(self, place: str, token: str) -> bool:
        """Wait until Bitbucket does not take `token` any more; False if that does not come."""
        url = f"{self.standin.url}/{place}.git/info/refs?service=git-upload-pack"
        deadline = time.monotonic() + WAIT_S
        with requests.Session() as session:
            session.trust_env = False
            while time.monotonic() < deadline:
                if session.get(url, auth=("x-token-auth", token), verify=self.standin.ca_file, timeout=WAIT_S).ok:
                    time.sleep(0.2)
                else:
                    return True
        return False

    def git_is_at_least(self, *wanted: int) -> bool:
        """Whether the git that runs here has that version."""
        said = self.run("git", "--version", quiet=True)
        return tuple(int(part) for part in re.findall(r"\d+", said)[:2]) >= wanted

    def offered(self, place: str, since: int) -> list[Entry]:
        """The requests for a repository that came with a credential and were let in."""
        entries = self.standin.requests("git", since=since)
        return [e for e in entries if e.path.startswith(f"/{place}") and e.auth and e.status == requests.codes.ok]

    def grants(self, since: int = 0) -> list[str]:
        """The kinds of grant that the token endpoint gave."""
        return [e.form["grant_type"] for e in self.standin.token_requests(since=since) if e.status == requests.codes.ok]
