"""What else serves a git: git's own cache client at our socket, and a daemon that is upgraded meanwhile."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.e2e.sandbox import Machine
from tests.fake_bitbucket.client import FakeBitbucket


def by_gits_own_client(machine: Machine) -> None:
    """Configure as a container is that has nothing of ours but the socket. Never `store`: without a daemon it would
    start git's own on our path.
    """
    client = f"exec git credential-cache --socket {machine.socket} $1"
    key = f"credential.{machine.standin.url}.helper"
    machine.git("config", "--global", "--replace-all", key, "")
    machine.git("config", "--global", "--add", key, f"!f() {{ case $1 in get|erase) {client};; esac; }}; f")


def test_the_second_try_works_through_gits_own_client(newer: Machine, bitbucket: FakeBitbucket, url: str) -> None:
    """It passes `state` and `continue` on as it passes everything."""
    token = newer.log_in(bitbucket.add_consumer())
    by_gits_own_client(newer)
    clone = newer.clone(url)
    newer.commit(clone)
    bitbucket.revoke(token)
    newer.git("push", cwd=clone)
    assert len(bitbucket.token_requests()) == 1


def test_an_upgrade_under_running_gits(newer: Machine, bitbucket: FakeBitbucket, url: str) -> None:
    """The package is replaced while gits come and go: nobody is refused, and what was in memory only is still there.

    The installed program is copied first, for other tests run from it at the same time.
    """
    installation = newer.home / "venv"
    shutil.copytree(newer.program.parent.parent, installation, symlinks=True)
    newer.program = installation / "bin" / newer.program.name
    newer.helper("configure", "--host", bitbucket.url)
    newer.keep("acme/app", kind="access-token", secret=bitbucket.issue_access_token("acme/app"))
    consumer = bitbucket.add_consumer()
    from_environment = consumer.environment
    newer.git("ls-remote", url, more=from_environment)
    before = dict(newer.ask("status"))

    package = next(installation.glob("lib/python*/site-packages/git_credential_bitbucket"))
    replace(package)
    with ThreadPoolExecutor(2) as pool:
        for _ in range(200):
            list(pool.map(lambda more: newer.git("ls-remote", url, more=more), ({}, from_environment)))
            if dict(newer.ask("status"))["version"] != before["version"]:
                break
    after = dict(newer.ask("status"))
    assert after["version"] == "99.0"
    newer.git("ls-remote", url, more=from_environment)
    assert len(bitbucket.token_requests()) == 2, "a successor mints for a caller's consumer anew"
    assert {entry.status for entry in newer.offered()} == {200}


def replace(package: Path) -> None:
    """Put a later version in the place of `package`, as an installer does."""
    later = package.with_name("later")
    shutil.copytree(package, later)
    init = later / "__init__.py"
    lines = init.read_text().split("\n")
    init.write_text("\n".join('__version__ = "99.0"' if line.startswith("__version__") else line for line in lines))
    shutil.rmtree(package)
    later.rename(package)
