"""(b) What a helper adds to a whole `git ls-remote` and `git fetch` over HTTPS, against the stand-in."""

import json
import subprocess
from pathlib import Path

from tests.benchmarks.bench import Bench
from tests.benchmarks.figures import Table, ratio
from tests.benchmarks.processes import Command, Failed, in_turn
from tests.benchmarks.sandbox import Seat, seat
from tests.fake_bitbucket.client import FakeBitbucket

OURS, CACHE = "ours", "credential-cache"
ANONYMOUS, WITHOUT = "public repository, no authentication", "secret in the address, no helper"


def measure(bench: Bench) -> Table:
    """Each helper and none, in turn; the helpers' part by git's own trace of the processes that it starts."""
    table = Table("b", "whole git commands over HTTPS, and what of that git spends on its helper")
    with FakeBitbucket() as bitbucket, seat() as user:
        private, public = bitbucket.create_repository("acme/app"), bitbucket.create_repository("acme/open", public=True)
        user.token = bitbucket.issue_access_token("acme")
        configure(user, bitbucket, bench)
        with_secret = private.replace("https://", f"https://x-token-auth:{user.token}@")
        host = bitbucket.netloc
        store = f"protocol=https\nhost={host}\npath=acme/app.git\nusername=x-token-auth\npassword={user.token}\n"
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
            helpers = {name: helper_times(user, name, skip=1) for name in (OURS, CACHE)}
            for name, samples in helpers.items():
                table.add(f"git {verb}: get and store by {name}", samples)
            bar = 0.78 if verb == "ls-remote" else 0.8
            table.hold(f"git {verb}: get and store, ours / credential-cache", ratio(helpers[OURS], helpers[CACHE]), bar)
    return table


def helper_times(user: Seat, name: str, skip: int) -> list[float]:
    """Milliseconds that each git command but the first `skip` has spent on its helper, as git's own trace has it.

    Not the difference of whole commands: after a 401 git asks the server anew by other means than curl does for a
    secret in the address, and that costs more than any helper.
    """
    spent = []
    for trace in sorted(trace_folder(user, name).iterdir(), key=lambda path: path.stat().st_mtime_ns):
        events = [json.loads(line) for line in trace.read_text().splitlines()]
        asked = {
            event["child_id"]
            for event in events
            if event["event"] == "child_start" and event["argv"][-1].rpartition(" ")[2] in {"get", "store"}
        }
        took = [e["t_rel"] for e in events if e["event"] == "child_exit" and e["child_id"] in asked]
        if took:  # else it is the trace of another of the command's processes
            spent.append(sum(took) * 1000)
        trace.unlink()
    return spent[skip:]


def trace_folder(user: Seat, name: str) -> Path:
    """Where git's processes leave their traces, a file each."""
    folder = user.home / "work" / f"trace-{name}"
    folder.mkdir(exist_ok=True)
    return folder


def configure(user: Seat, bitbucket: FakeBitbucket, bench: Bench) -> None:
    """The user's git configuration: the stand-in is a Bitbucket; the CA."""
    user.env["GIT_SSL_CAINFO"] = bitbucket.ca_file
    for name, value in [*bitbucket.git_config(), (f"credential.{bitbucket.url}.useHttpPath", "true")]:
        git(bench, user, ["config", "--global", name, value])


def helper(bench: Bench, name: str) -> str:
    """The helper as git's configuration names it."""
    return str(bench.main) if name == OURS else "cache"


def command(bench: Bench, user: Seat, name: str, words: list[str]) -> Command:
    """A git command to be timed."""
    traced = {"GIT_TRACE2_EVENT": str(trace_folder(user, name))} if name in {OURS, CACHE} else {}
    return Command(name, [bench.git, *words], {**user.env, **traced})


def git(bench: Bench, user: Seat, words: list[str], stdin: str = "") -> None:
    """Run git, which has to succeed; its words are not told, for a secret may be among them."""
    done = subprocess.run([bench.git, *words], env=user.env, input=stdin.encode(), cwd=user.home / "work", check=False)
    if done.returncode != 0:
        raise Failed(f"git ended with {done.returncode}")
