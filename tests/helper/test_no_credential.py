"""A `get` that got nothing, with a person at the terminal: log in or unlock while git waits."""

import os
from pathlib import Path

import pexpect
import pytest

from tests.fake_bitbucket import tokens
from tests.helper.test_fallback import VAULT, ask
from tests.helper.test_vaults import keys_in_configuration
from tests.helpers import request, socket_of
from tests.running import Runner

SECRETLY = r"\(not shown\): $"
"""How a prompt for a secret ends."""


class Git:
    """`git credential fill` on a terminal of its own. Its state: the terminal, and the files that git writes to."""

    def __init__(self, front: Runner, home: Path, *, path: str = "acme/app.git") -> None:
        (home / "request").write_text(request(path))
        self._out, self._err = home / "out", home / "err"
        # No test reaches bitbucket.org: behind a proxy that refuses, what a person logs in with is stored unverified.
        env = {**front.env, "TERM": "dumb", "https_proxy": "http://127.0.0.1:1"}
        del env["GIT_TERMINAL_PROMPT"]
        self.terminal = pexpect.spawn(
            "/bin/sh",
            ["-c", f"git credential fill <{home}/request >{self._out} 2>{self._err}"],
            env=env,
            cwd=str(home / "work"),
            encoding="utf-8",
            timeout=60,
        )

    def logs_in(self, secret: str) -> None:
        """Paste a token at the prompts that come; whose it is and when it ends is left open."""
        self.terminal.expect("How do you want to authenticate")
        self.terminal.sendline("2")
        self.terminal.expect(SECRETLY)
        self.terminal.sendline(secret)
        while self.terminal.expect([r"(skip|unknown)\): $", pexpect.EOF]) == 0:
            self.terminal.sendline("")

    def ended(self) -> tuple[str, str]:
        """What git wrote to its output, and what to standard error, once it has ended."""
        if not self.terminal.flag_eof:
            self.terminal.expect(pexpect.EOF)
        self.terminal.close()
        return self._out.read_text(), self._err.read_text()


def test_person_logs_in_while_git_waits(front: Runner, home: Path) -> None:
    """The dialogue is on the terminal alone; git gets what was just kept, and standard error stays empty."""
    secret = tokens.api_token()
    git = Git(front, home)
    git.logs_in(secret)
    out, err = git.ended()
    assert f"password={secret}\n" in out
    assert err == ""
    assert (home / VAULT).exists()


def test_person_logs_in_to_the_vault_that_gits_configuration_names(front: Runner, home: Path) -> None:
    """Its key is there as well, so no passphrase is asked for; the daemon runs already, and was started by another."""
    vault = keys_in_configuration(front, home)
    front("git", "credential", "fill", stdin=request(), check=False)
    secret = tokens.api_token()
    git = Git(front, home)
    git.logs_in(secret)
    assert f"password={secret}\n" in git.ended()[0]
    assert vault.exists()


def test_person_who_would_rather_not_is_asked_by_git(front: Runner, home: Path) -> None:
    """Git's own prompt comes next, and what is typed there is kept as any other."""
    git = Git(front, home)
    git.terminal.expect("How do you want to authenticate")
    git.terminal.sendline("5")
    git.terminal.expect("Username for 'https://bitbucket.org/acme/app.git':")
    git.terminal.sendline("alice")
    git.terminal.expect("Password for")
    git.terminal.sendline("typed")
    out, err = git.ended()
    assert "password=typed\n" in out
    assert err == ""


def test_interrupted_dialogue_leaves_no_traceback(front: Runner, home: Path) -> None:
    """Ctrl-C ends git and its helper; nobody is left, and nothing is said about Python."""
    git = Git(front, home)
    git.terminal.expect("How do you want to authenticate")
    git.terminal.sendintr()
    out, err = git.ended()
    assert out == ""
    assert "Traceback" not in err


def locked(front: Runner, home: Path) -> str:
    """A vault whose key nobody has at hand; returns the secret in it."""
    secret = tokens.api_token()
    front("git", "credential", "approve", stdin=request(username="alice", password=secret))
    ask(socket_of(home), "exit")
    del front.env["GIT_CREDENTIAL_BITBUCKET_KEY_FILE"]
    return secret


@pytest.mark.parametrize("mended", [True, False])
def test_person_is_asked_before_git_is_told_to_quit(front: Runner, helper: Path, home: Path, mended: bool) -> None:
    """A passphrase unlocks, and git goes on; where it does not, git may still ask: somebody is there."""
    passphrase = tokens.oauth_token(20)
    key = front.env["GIT_CREDENTIAL_BITBUCKET_KEY_FILE"]
    secret = locked(front, home)
    front.env["GIT_CREDENTIAL_BITBUCKET_KEY_FILE"] = key
    front(helper, "rekey", "--to", "passphrase", stdin=f"{passphrase}\n{passphrase}\n")
    ask(socket_of(home), "exit")
    del front.env["GIT_CREDENTIAL_BITBUCKET_KEY_FILE"]
    git = Git(front, home)
    if mended:
        git.terminal.expect(SECRETLY)
        git.terminal.sendline(passphrase)
        out, err = git.ended()
        assert f"password={secret}\n" in out
        assert err == ""
        return
    while git.terminal.expect([SECRETLY, "Username for"]) == 0:
        git.terminal.sendline("wrong")
    git.terminal.sendeof()
    _, err = git.ended()
    assert "told us to quit" not in err


def test_nobody_is_asked_in_ci(front: Runner, home: Path) -> None:
    """A terminal alone is no person: git is told to quit, at once."""
    locked(front, home)
    front.env["CI"] = "true"
    out, err = Git(front, home).ended()
    assert out == ""
    assert "told us to quit" in err


def test_trouble_that_no_login_fixes_is_told(front: Runner, home: Path) -> None:
    """A damaged vault is no reason to log in: it says what it is, and git asks."""
    front("git", "credential", "approve", stdin=request(username="alice", password=tokens.api_token()))
    ask(socket_of(home), "exit")
    vault = home / VAULT
    for path in (vault, vault.with_name("vault.previous")):
        if path.exists():
            path.write_bytes(os.urandom(200))
    git = Git(front, home)
    git.terminal.expect("Username for")
    git.terminal.sendeof()
    _, err = git.ended()
    assert "damaged" in err
