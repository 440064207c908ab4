"""What git expects of any helper that stores and answers, as its own suite for external helpers does; by real git.

The secrets are of no kind that Bitbucket makes: those are the ones that git's contract holds for. An askpass program
stands for the person, and it is the one who answers where the helper has nothing.
"""

from pathlib import Path

import pytest

from tests.fake_bitbucket import tokens
from tests.running import Runner
from tests.sandbox import write_git_config

OTHERS = ("https://other.example.com", "http://other.example.com")
ASKED = "asked"
"""What the askpass program answers, be it for a username or for a password."""
EXPIRY = "9999999999"


class Contract:
    """git with the helper and an askpass program. Its state: the runner, and what both said on standard error."""

    def __init__(self, run: Runner, home: Path, helper: Path) -> None:
        self.helper = helper
        askpass = home / "bin" / "askpass"
        askpass.write_text(f"#!/bin/sh\necho {ASKED}\n")
        askpass.chmod(0o755)
        self.run = Runner({**run.env, "GIT_ASKPASS": str(askpass)}, run.folder)

    def approve(self, username: str, password: str, **more: str) -> None:
        """Have a secret kept that worked."""
        self._say("approve", username=username, password=password, **more)

    def reject(self, **fields: str) -> None:
        """Have a secret forgotten that did not work."""
        self._say("reject", **fields)

    def fill(self, **fields: str) -> tuple[str, str]:
        """Username and password that git ends up with."""
        found = self.filled(**fields)
        return found["username"], found["password"]

    def filled(self, **fields: str) -> dict[str, str]:
        """All that git ends up with."""
        return dict(line.split("=", 1) for line in self._say("fill", **fields).split("\n") if line)

    def directly(self, operation: str, lines: str) -> str:
        """What the helper itself answers: attributes that an old git does not hand on."""
        done = self.run(self.helper, operation, stdin=f"protocol=https\nhost=bitbucket.org\n{lines}")
        assert done.stderr == ""
        return done.stdout

    def _say(self, operation: str, **fields: str) -> str:
        lines = {"protocol": "https", "host": "bitbucket.org", **fields}
        done = self.run("git", "credential", operation, stdin="".join(f"{k}={v}\n" for k, v in lines.items()))
        assert done.stderr == ""
        return done.stdout


@pytest.fixture
def git(front: Runner, home: Path, helper: Path) -> Contract:
    """git, with two more hosts of ours than Bitbucket's own."""
    write_git_config(home / ".gitconfig", [(f"credential.{url}.provider", "bitbucket") for url in OTHERS])
    return Contract(front, home, helper)


def test_with_nothing_kept_the_askpass_answers(git: Contract) -> None:
    assert git.fill() == (ASKED, ASKED)
    assert git.fill(path="acme/app.git") == (ASKED, ASKED)


def test_what_was_approved_is_filled_in(git: Contract) -> None:
    """For the same protocol, host, path and username; for each that differs, the askpass is asked."""
    git.approve("alice", "secret", path="acme/app.git")
    git.approve("alice", "other", host="other.example.com", path="acme/app.git")
    for fields in ({}, {"username": "alice"}):
        assert git.fill(path="acme/app.git", **fields) == ("alice", "secret")
    assert git.fill(path="acme/other.git") == (ASKED, ASKED)
    assert git.fill(path="acme/app.git", username="bob") == ("bob", ASKED)
    assert git.fill(path="acme/app.git", host="other.example.com") == ("alice", "other")
    assert git.fill(path="acme/app.git", host="other.example.com", protocol="http") == (ASKED, ASKED)


def test_without_a_path_it_is_the_hosts(git: Contract) -> None:
    git.approve("alice", "secret")
    assert git.fill() == ("alice", "secret")
    assert git.fill(username="bob") == ("bob", ASKED)


@pytest.mark.parametrize("path", [{}, {"path": "acme/app.git"}], ids=["host", "path"])
def test_a_new_password_takes_the_place_of_the_old(git: Contract, path: dict[str, str]) -> None:
    """The old one does not come back when the new one is rejected: a person had approved its end."""
    git.approve("alice", "first", **path)
    git.approve("alice", "second", **path)
    assert git.fill(username="alice", **path) == ("alice", "second")
    git.reject(username="alice", password="second", **path)
    assert git.fill(username="alice", **path) == ("alice", ASKED)


def test_two_usernames_are_two_credentials(git: Contract) -> None:
    """Beside each other, also with one and the same password; and one can be forgotten without the other."""
    for name, password in (("alice", "a"), ("bob", "b"), ("carol", "a")):
        git.approve(name, password)
    for name, password in (("alice", "a"), ("bob", "b"), ("carol", "a")):
        assert git.fill(username=name) == (name, password)
    git.reject(username="alice")
    assert git.fill(username="alice") == ("alice", ASKED)
    assert git.fill(username="bob") == ("bob", "b")
    assert git.fill(username="carol") == ("carol", "a")


def test_another_password_than_the_kept_one_is_not_what_was_rejected(git: Contract) -> None:
    """Somebody else has replaced it meanwhile."""
    git.approve("alice", "new")
    git.reject(username="alice", password="old")
    assert git.fill(username="alice") == ("alice", "new")


def test_a_rejection_without_a_username_is_everybodys(git: Contract) -> None:
    """All that matches the host is forgotten, and nothing of another host's."""
    git.approve("alice", "a")
    git.approve("bob", "b")
    git.approve("alice", "other", host="other.example.com")
    git.reject()
    assert git.fill() == (ASKED, ASKED)
    assert git.fill(username="bob") == ("bob", ASKED)
    assert git.fill(host="other.example.com") == ("alice", "other")


def test_a_long_header_is_no_way_to_another_host(git: Contract) -> None:
    """A server's challenge, of whatever length, names no host, though it holds the words."""
    git.approve("victim", "secret")
    for length in (1000, 70_000):
        challenge = "basic realm=" + "a" * length + "host=bitbucket.org"
        assert git.fill(host="other.example.com", **{"wwwauth[]": challenge}) == (ASKED, ASKED)


def test_an_expiry_is_kept_and_told(git: Contract) -> None:
    for password, expiry in (("first", "9999999998"), ("second", EXPIRY)):
        git.directly("store", f"username=alice\npassword={password}\npassword_expiry_utc={expiry}\n")
    found = git.directly("get", "username=alice\n")
    assert f"password=second\npassword_expiry_utc={EXPIRY}\n" in found


def test_what_has_expired_is_not_answered(git: Contract) -> None:
    """Git before 2.40 would use it."""
    git.directly("store", "username=alice\npassword=secret\npassword_expiry_utc=1700000000\n")
    assert git.fill(username="alice") == ("alice", ASKED)


def test_a_refresh_token_that_comes_along_is_not_given_out(git: Contract) -> None:
    """Git would hand it to every other helper, which may write it down in plain text."""
    git.directly("store", "username=alice\npassword=secret\noauth_refresh_token=xyzzy\n")
    assert git.directly("get", "username=alice\n") == "username=alice\npassword=secret\n"


@pytest.mark.parametrize("name", ["", "username=alice\n"])
def test_a_ready_made_header_is_not_kept(git: Contract, name: str) -> None:
    """`authtype` and `credential` are for this one command, as we announce no such capability."""
    header = f"capability[]=authtype\nauthtype=Bearer\ncredential=token\n{name}"
    assert git.directly("store", header) == ""
    assert git.directly("get", f"capability[]=authtype\n{name}") == ""
    git.directly("erase", header)


def test_what_is_ephemeral_is_on_no_disk(git: Contract) -> None:
    """By the word of whoever made it, of whatever kind it is."""
    made = {"alice": "made-for-one-command", "x-token-auth": tokens.access_token()}
    git.directly("store", "username=bob\npassword=kept\n")
    for username, password in made.items():
        git.directly("store", f"username={username}\npassword={password}\nephemeral=1\n")
    git.run(git.helper, "daemon", "stop", "--force")
    assert git.fill(username="bob") == ("bob", "kept")
    for username in made:
        assert git.fill(username=username) == (username, ASKED)


@pytest.mark.parametrize(("username", "password"), [("", "secret"), ("alice", ""), ("", "")])
def test_an_empty_half_is_not_kept(git: Contract, username: str, password: str) -> None:
    """Git would send it, and never ask a person again."""
    git.directly("store", f"username={username}\npassword={password}\n")
    assert git.fill() == (ASKED, ASKED)


def test_an_unknown_attribute_may_stand_twice(git: Contract) -> None:
    """A later git's, perhaps: it is not ours to refuse. One that we know may not."""
    git.approve("alice", "secret")
    assert "password=secret\n" in git.directly("get", "newer=1\nnewer=2\nnewer[]=3\n")
    assert git.run(git.helper, "get", stdin="protocol=https\nhost=bitbucket.org\nhost=bitbucket.org\n").stdout == ""


def test_a_miss_with_an_unknown_attribute_twice_is_told_as_any(front: Runner, helper: Path) -> None:
    """The reason is what is kept, not how it was asked; and the access log has it."""
    log = front.folder / "log"
    env = {**front.env, "GIT_CREDENTIAL_BITBUCKET_LOG": str(log)}
    done = front(helper, "get", env=env, stdin="protocol=https\nhost=bitbucket.org\nnewer=1\nnewer=2\n")
    assert done.stderr.startswith("git-credential-bitbucket: error: no credential for bitbucket.org\n")
    front(helper, "daemon", "stop", env=env)
    assert "bitbucket.org" in log.read_text()
