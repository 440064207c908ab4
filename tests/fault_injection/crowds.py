"""Crowds of real gits on one expired token, over one daemon, two, and none: Bitbucket is asked once.

The stand-in rotates without grace and locks out whoever uses a refresh token again, so a second use would be seen.
Its answer is held until every git of the crowd runs: all of them have to wait for one and the same renewal.
"""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.fault_injection.sandbox import Machine

PATIENCE_S = 240.0


@dataclass(frozen=True)
class Outcome:
    """What a crowd saw: the different secrets that it was given, how many got none, and the requests that it cost."""

    secrets: frozenset[str]
    without: int
    requests: int
    said: str

    @property
    def good(self) -> bool:
        """One new token for everybody, for one request, and not a word."""
        return (len(self.secrets), self.without, self.requests, self.said) == (1, 0, 1, "")


def expired(machine: Machine) -> None:
    """Leave an expired login in the vault, and nobody who runs."""
    daemon = machine.daemon()
    machine.log_in(daemon, expires_in=0)
    daemon.end()


def crowd(machine: Machine, git: str, helper: Path, ways: Sequence[dict[str, str]], each: int) -> Outcome:
    """`each` gits in every one of `ways` (more environment), all at once."""
    config = machine.home / ".gitconfig"
    config.write_text(config.read_text() + f"[credential]\n\thelper = {helper}\n")
    asked = machine.home / "asked"
    asked.write_bytes(machine.request("acme/app.git"))
    bitbucket = machine.standin
    since = bitbucket.mark()
    bitbucket.script_fault("token", "hold")
    running = []
    for nth in range(each * len(ways)):
        with asked.open("rb") as stdin:
            running.append(
                subprocess.Popen(
                    [git, "credential", "fill"],
                    env={**machine.env, "GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "true", **ways[nth % len(ways)]},
                    cwd=machine.home,
                    stdin=stdin,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
    bitbucket.wait_for("token", since=since, timeout=PATIENCE_S)
    bitbucket.release()
    answers, said = [], []
    for process in running:
        out, err = process.communicate(timeout=PATIENCE_S)
        answers.append(dict(line.partition("=")[::2] for line in out.split("\n")).get("password"))
        said.append(err)
    found = [answer for answer in answers if answer]
    return Outcome(
        frozenset(found), len(answers) - len(found), len(bitbucket.token_requests(since=since)), "".join(said)[:2000]
    )


def one_daemon(machine: Machine, git: str, helper: Path, size: int) -> Outcome:
    """Nobody listens when the crowd comes: one of it starts the daemon."""
    expired(machine)
    return crowd(machine, git, helper, [{}], size)


def two_daemons(machine: Machine, git: str, helper: Path, size: int) -> Outcome:
    """Two sockets on one vault: two daemons, started at once."""
    expired(machine)
    ways = [{"GIT_CREDENTIAL_BITBUCKET_SOCKET": str(machine.home / name / "socket")} for name in ("one", "two")]
    return crowd(machine, git, helper, ways, size // 2)


def daemon_and_none(machine: Machine, git: str, helper: Path, size: int) -> Outcome:
    """A daemon, and as many who may not use one: each of these is an agent of its own on the same vault."""
    expired(machine)
    return crowd(machine, git, helper, [{}, {"GIT_CREDENTIAL_BITBUCKET_DAEMON": "off"}], size // 2)


WAYS = {"one daemon": (one_daemon, 100), "two daemons": (two_daemons, 100), "daemon and none": (daemon_and_none, 24)}
"""Each crowd with its size in the suite; an agent in each git's own process costs half a second of processor."""
