"""A token that ends soon is told of behind a command of git's that worked: once, on stderr, and not in a build."""

import time
from pathlib import Path

import pytest

from tests.e2e.sandbox import Machine, crosswise, machine_git
from tests.fake_bitbucket.client import FakeBitbucket

DAY = 86400
WARNING = "git-credential-bitbucket: warning: the access token for "


def keep(machine: Machine, days: float) -> None:
    """Keep a token for acme/app that is said to end in so many days."""
    secret = machine.standin.issue_access_token("acme/app")
    machine.keep("acme/app", kind="access-token", secret=secret, ends_at=time.time() + days * DAY)


def fetched(machine: Machine, clone: Path, **more: str) -> str:
    """What git says on stderr."""
    return machine.git("fetch", "--quiet", cwd=clone, more=more).stderr


@crosswise
def test_once_on_stderr_with_what_to_type(machine: Machine, bitbucket: FakeBitbucket, url: str) -> None:
    """With the daemon and without, on each git; nothing is slowed down, broken or said twice."""
    keep(machine, 6.5)
    said = machine.git("clone", "--quiet", url, machine.work / "app").stderr
    lines = [line for line in said.split("\n") if line]
    assert [line.split(": ")[1] for line in lines] == ["warning", "hint"]
    assert lines[0].startswith(f"{WARNING}{bitbucket.netloc}/acme/app expires in 6 days, on ")
    assert "git-credential-bitbucket rotate " in lines[1]
    assert fetched(machine, machine.work / "app") == ""
    machine.end_daemon()
    assert fetched(machine, machine.work / "app") == ""


@machine_git
def test_not_before_its_time(machine: Machine, url: str) -> None:
    keep(machine, 31)
    assert machine.git("clone", "--quiet", url, machine.work / "app").stderr == ""


def test_a_build_hears_it_only_if_it_asks(older: Machine, url: str) -> None:
    """And does not keep it from a person; who never wants to hear it is not told."""
    keep(older, 0.5)
    clone = older.work / "app"
    assert older.git("clone", "--quiet", url, clone, more={"CI": "true"}).stderr == ""
    older.end_daemon()
    assert fetched(older, clone, GIT_CREDENTIAL_BITBUCKET_WARN="0") == ""
    older.end_daemon()
    assert "expires within a day" in fetched(older, clone, CI="true", GIT_CREDENTIAL_BITBUCKET_WARN="1")


def test_a_build_is_sent_the_slow_way_once_an_hour(older: Machine, url: str) -> None:
    """The daemon remembers that nobody there wants to hear it: the next `store` is acknowledged and done."""
    keep(older, 5)
    older.env["CI"] = "true"
    clone = older.clone(url)
    (one,) = older.credentials()
    before = int(dict(older.ask("status"))["served"])
    fetched(older, clone)
    # A get, a store, and the two questions of ours.
    assert int(dict(older.ask("status"))["served"]) - before == 3
    assert one["state"] == "ready"


def test_both_executables_tell_it(older: Machine, bitbucket: FakeBitbucket, url: str, executable: Path) -> None:
    """Each serves a clone, and hands what is no plain acknowledgement to the same Python."""
    older.program = executable
    older.helper("configure", "--host", bitbucket.url)
    keep(older, 20)
    assert WARNING in older.git("clone", "--quiet", url, older.work / "app").stderr
    assert str(executable) in (older.home / ".gitconfig").read_text()


@pytest.mark.parametrize("broken", ["warn=", "warn=0123456789ab", "strange=1"])
def test_an_acknowledgement_of_another_version_is_one(older: Machine, bitbucket: FakeBitbucket, broken: str) -> None:
    """What stands behind `ok=1` is never a reason to store again elsewhere, or to complain."""
    from tests.helper.peers import answering, listening

    bitbucket.create_repository("acme/app")
    request = older.request("acme/app", username="x", password="any")
    with listening(older.socket, answering(f"ok=1\n{broken}\n".encode())) as received:
        older.socket.parent.chmod(0o700)
        done = older.git("credential", "approve", stdin=request)
    assert done.stderr == ""
    assert len([each for each in received if each.startswith(b"action=store")]) == 2
    assert not older.vault_file.exists()
