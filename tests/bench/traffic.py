"""(b) What a helper adds to a whole `git ls-remote` and `git fetch` over HTTPS, against the stand-in."""

import subprocess

from tests.bench.bench import Bench
from tests.bench.figures import Table, less, ratio
from tests.bench.processes import Command, Failed, in_turn
from tests.bench.seats import Seat, seat
from tests.standin.client import StandIn

OURS, CACHE = "ours", "credential-cache"
ANONYMOUS, WITHOUT = "public repository, no authentication", "secret in the address, no helper"


def measure(bench: Bench) -> Table:
    """The same requests with each helper and with none, so that the difference is the helpers' alone.

    A public repository needs one request less; the secret in the address has curl send what a helper's answer would
    have it send, so the server's part is the same.
    """
    table = Table("b", "whole git commands over HTTPS; added = with a helper less with the secret in the address")
    with StandIn() as standin, seat() as user:
        private, public = standin.create_repository("acme/app"), standin.create_repository("acme/open", public=True)
        user.token = standin.issue_access_token("acme")
        configure(user, standin, bench)
        with_secret = private.replace("https://", f"https://x-token-auth:{user.token}@")
        store = (
            f"protocol=https\nhost={standin.netloc}\npath=acme/app.git\nusername=x-token-auth\npassword={user.token}\n"
        )
        for name in (OURS, CACHE):
            git(bench, user, ["-c", f"credential.helper={helper(bench, name)}", "credential", "approve"], store)
        clone = user.home / "work" / "clone"
        git(bench, user, ["clone", "--quiet", with_secret, str(clone)])
        for verb, place in (("ls-remote", []), ("fetch", ["-C", str(clone)])):
            commands = [
                command(bench, user, name, [*place, "-c", "credential.helper=", *extra, verb, url])
                for name, extra, url in (
                    (ANONYMOUS, [], public),
                    (WITHOUT, [], with_secret),
                    (OURS, ["-c", f"credential.helper={helper(bench, OURS)}"], private),
                    (CACHE, ["-c", f"credential.helper={helper(bench, CACHE)}"], private),
                )
            ]
            times = in_turn(commands, bench.rounds(60))
            for name, samples in times.items():
                table.add(f"git {verb}: {name}", samples)
            added = {name: less(times[name], times[WITHOUT]) for name in (OURS, CACHE)}
            for name, samples in added.items():
                table.add(f"git {verb}: added by {name}", samples)
            table.hold(f"git {verb}: added by ours / by credential-cache", added_ratio(added), 0.8)
    return table


def added_ratio(added: dict[str, list[float]]) -> float:
    """The ratio of the medians: a round's own difference is mostly the server's noise."""
    return ratio([middle(added[OURS])], [middle(added[CACHE])])


def middle(samples: list[float]) -> float:
    """The mean of the middle half: steadier than the median where a small difference is looked for in large times."""
    ordered = sorted(samples)
    quarter = len(ordered) // 4
    half = ordered[quarter : len(ordered) - quarter]
    return sum(half) / len(half)


def configure(user: Seat, standin: StandIn, bench: Bench) -> None:
    """The user's git configuration: the stand-in is a Bitbucket; the CA."""
    user.env["GIT_SSL_CAINFO"] = standin.ca_file
    for name, value in [*standin.git_config(), (f"credential.{standin.url}.useHttpPath", "true")]:
        git(bench, user, ["config", "--global", name, value])


def helper(bench: Bench, name: str) -> str:
    """The helper as git's configuration names it."""
    return str(bench.main) if name == OURS else "cache"


def command(bench: Bench, user: Seat, name: str, words: list[str]) -> Command:
    """A git command to be timed."""
    return Command(name, [bench.git, *words], user.env)


def git(bench: Bench, user: Seat, words: list[str], stdin: str = "") -> None:
    """Run git, which has to succeed; its words are not told, for a secret may be among them."""
    done = subprocess.run([bench.git, *words], env=user.env, input=stdin.encode(), cwd=user.home / "work", check=False)
    if done.returncode != 0:
        raise Failed(f"git ended with {done.returncode}")
