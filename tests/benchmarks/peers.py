"""The helpers that this one is compared with, each as its users have it; one that is not installed is named absent."""

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

from tests.benchmarks.processes import Command
from tests.benchmarks.sandbox import REQUEST, Seat

GITHUB = b"protocol=https\nhost=github.com\n"
ELSEWHERE = b"protocol=https\nhost=git.example\n"
GITLAB = b"protocol=https\nhost=gitlab.com\n"


@dataclass(frozen=True)
class Peer:
    """One helper: its command line, how a secret gets into it, and for which host it answers."""

    name: str
    words: tuple[str, ...]
    prepare: Callable[[Seat, "Peer"], None]
    request: bytes = REQUEST
    answers: bool = True

    @property
    def present(self) -> bool:
        """Whether it is installed."""
        return shutil.which(self.words[0]) is not None

    def command(self, seat: Seat, operation: str) -> Command:
        """The helper as git's `operation` runs it."""
        stdin = self.request + b"username=x-token-auth\n" + seat.answered if operation == "store" else self.request
        expected = seat.answered if operation == "get" and self.answers else b""
        words = [shutil.which(self.words[0]) or self.words[0], *self.words[1:], operation]
        return Command(self.name, words, seat.env, stdin, expected)


def known(git: str) -> list[Peer]:
    """All of them; git's own are part of every git."""
    return [
        cache(git),
        Peer("git credential-store", (git, "credential-store"), stored),
        # It keeps nothing: this is its silence for a host that it does not know.
        Peer("git-credential-oauth (host not its own)", ("git-credential-oauth",), nothing, ELSEWHERE, answers=False),
        Peer("gh auth git-credential", ("gh", "auth", "git-credential"), gh, GITHUB),
        Peer("glab auth git-credential", ("glab", "auth", "git-credential"), glab, GITLAB),
    ]


def cache(git: str) -> Peer:
    """The client and the daemon that come with git."""
    return Peer("git credential-cache", (git, "credential-cache"), stored)


def stored(seat: Seat, peer: Peer) -> None:
    """Have it keep the secret as git does."""
    command = peer.command(seat, "store")
    subprocess.run(command.words, env=dict(seat.env), input=command.stdin, check=True)


def nothing(_seat: Seat, _peer: Peer) -> None:
    """It needs nothing."""


def gh(seat: Seat, _peer: Peer) -> None:
    """A login in its configuration, as `gh auth login --insecure-storage` leaves it."""
    _write(
        seat, "gh/hosts.yml", f"github.com:\n    user: alice\n    oauth_token: {seat.token}\n    git_protocol: https\n"
    )


def glab(seat: Seat, _peer: Peer) -> None:
    """A login in its configuration."""
    hosts = f"hosts:\n    gitlab.com:\n        token: {seat.token}\n        user: alice\n        api_host: gitlab.com\n"
    _write(seat, "glab-cli/config.yml", hosts)


def _write(seat: Seat, name: str, text: str) -> None:
    path = seat.home / ".config" / name
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.touch(0o600)
    path.write_text(text)
