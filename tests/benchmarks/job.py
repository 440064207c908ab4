"""(j) A CI job's first clone with the one-file program: copied, configured, a token in the environment."""

import os
import shutil
import sys

from install import wheels
from tests.benchmarks.bench import Bench
from tests.benchmarks.figures import Table, less, ratio
from tests.benchmarks.processes import Command, in_turn
from tests.benchmarks.sandbox import seat
from tests.benchmarks.traffic import git
from tests.fake_bitbucket.client import FakeBitbucket

PYTHON = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable
"""As a job has it: without packages where there is such a one."""


def measure(bench: Bench) -> Table:
    """The whole job and a clone with the token in its URL, in turn; what it takes more is counted in bare Pythons."""
    table = Table("j", "a CI job's first clone over HTTPS by the one-file program")
    with FakeBitbucket() as bitbucket, seat() as user:
        url, user.token = bitbucket.create_repository("acme/app"), bitbucket.issue_access_token("acme")
        user.env |= {"GIT_SSL_CAINFO": bitbucket.ca_file, "BITBUCKET_ACCESS_TOKEN": user.token}
        for name, value in bitbucket.git_config():
            git(bench, user, ["config", "--global", name, value])
        work = user.home / "work"
        built, clone = wheels.pyz(work), work / "clone"
        copied = work / "job" / built.name
        copied.parent.mkdir()
        steps = f"cp {built} {copied} && {PYTHON} {copied} configure --host {bitbucket.url} && "
        with_secret = url.replace("https://", f"https://x-token-auth:{user.token}@")

        def job(name: str, steps: str, url: str) -> Command:
            words = ["/bin/sh", "-c", f"{steps}{bench.git} clone --quiet {url} {clone}"]
            return Command(name, words, user.env, before=lambda: shutil.rmtree(clone, ignore_errors=True))

        ours, plain = job("copy, configure, clone", steps, url), job("clone, token in the URL", "", with_secret)
        bare = Command("bare python -I -S -c pass", [PYTHON, "-I", "-S", "-c", "pass"], user.env)
        times = in_turn([ours, plain, bare], bench.rounds(15))
    for name, samples in times.items():
        table.add(name, samples)
    more = less(times[ours.name], times[plain.name])
    table.add("what it takes more", more)
    table.hold("what it takes more / bare python", ratio(more, times[bare.name]), 250)
    return table
