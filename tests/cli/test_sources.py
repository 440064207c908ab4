"""Logins whose secret stays where it is: shown, used, rotated and never stored, by the verbs and a real daemon."""

import json
import time
from pathlib import Path

import pytest

from tests.cli.listed import listed
from tests.fake_bitbucket import tokens
from tests.fake_bitbucket.client import FakeBitbucket
from tests.running import Runner

HELPER = "git-credential-bitbucket"
REQUEST = "protocol=https\nhost=bitbucket.org\npath=acme/app\n\n"


@pytest.fixture
def secret(home: Path) -> Path:
    """A file with a token."""
    (home / "secret").write_text(tokens.api_token())
    return home / "secret"


def program(home: Path, name: str, script: str) -> Path:
    """An executable in a person's ~/.local/bin."""
    path = home / ".local" / "bin" / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def everything_in(home: Path) -> bytes:
    """All that is on the disk below a home, but for the source itself."""
    return b"".join(
        path.read_bytes()
        for path in home.rglob("*")
        if path.is_file() and not path.is_symlink() and path.name != "secret"
    )


def test_a_short_form_is_shown_expanded_and_answers_what_it_has_now(keyed: Runner, home: Path, secret: Path) -> None:
    """pass, for one; status, explain and doctor name the reference and the value's age, never the value."""
    first = secret.read_text()
    program(home, "pass", f"cat {secret}")
    said = keyed(HELPER, "login", "--api-token", "--no-verify", "--from", "pass:work/bitbucket")
    assert "fetched from exec:pass show work/bitbucket." in said.stdout
    assert said.stderr == ""
    assert f"password={first}\n" in keyed(HELPER, "get", stdin=REQUEST).stdout
    (one,) = listed(keyed)
    assert (one["source"], one["state"], one["expires_at"]) == ("exec:pass show work/bitbucket", "ready", None)
    assert one["fetched_at"] > 0
    keyed(HELPER, "configure")
    shown = "".join(
        keyed(HELPER, *verb, check=False).stdout
        for verb in (["status", "--long"], ["explain", "https://bitbucket.org/acme/app"], ["doctor"])
    )
    assert shown.count("exec:pass show work/bitbucket") == 3, shown.replace(first, "")
    assert shown.count("fetched now") >= 3
    secret.write_text(second := tokens.api_token())
    refreshed = keyed(HELPER, "refresh", one["id"]).stdout
    assert refreshed.startswith("Fetched: API token for bitbucket.org, from exec:pass show work/bitbucket")
    assert f"password={second}\n" in keyed(HELPER, "get", stdin=REQUEST).stdout
    keyed(HELPER, "expires", one["id"], "2099-01-31")
    assert keyed(HELPER, "expires").stdout.startswith("2099-01-31 "), "entered, so shown; whatever is fetched"
    for token in (first, second):
        assert token not in said.stdout + shown + refreshed
        assert token.encode() not in everything_in(home)


def test_a_source_that_fails_keeps_nothing_and_says_why(keyed: Runner, home: Path) -> None:
    """At login it is looked at at once, and nothing of what it says is repeated."""
    canary = tokens.api_token()
    program(home, "vault", f"echo '* Vault is sealed {canary}' >&2; exit 2")
    done = keyed(HELPER, "login", "--api-token", "--from", "vault:secret/ci#token", check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "vault failed with exit code 2: Vault is sealed" in done.stderr
    assert "hint: unseal it" in done.stderr
    assert canary not in done.stderr
    assert listed(keyed) == []


def test_git_is_told_why_there_is_no_value(keyed: Runner, secret: Path) -> None:
    """The reference, the cause and what helps, on git's standard error."""
    keyed(HELPER, "login", "--api-token", "--no-verify", "--from", f"file:{secret}")
    keyed(HELPER, "daemon", "stop")
    secret.unlink()
    done = keyed(HELPER, "get", stdin=REQUEST, check=False)
    assert done.stdout == ""
    assert f"could not be fetched from file:{secret}: {secret} cannot be read: no such file or directory" in done.stderr
    assert f"try: ls -l {secret}" in done.stderr


@pytest.mark.parametrize("words", [["--oauth"], ["--jwt-bearer"]])
def test_only_what_is_a_secret_has_a_source(keyed: Runner, words: list[str]) -> None:
    done = keyed(HELPER, "login", *words, "--from", "file:/x", check=False)
    assert "--from needs --api-token, --access-token or --client-credentials" in done.stderr


def test_without_a_daemon_nothing_of_it_is_stored(keyed: Runner, home: Path, secret: Path) -> None:
    """Each command fetches for itself; git's store and erase of it change nothing that would keep it."""
    run = Runner({**keyed.env, "GIT_CREDENTIAL_BITBUCKET_DAEMON": "off"}, keyed.folder)
    run(HELPER, "login", "--api-token", "--no-verify", "--from", f"file:{secret}")
    answer = run(HELPER, "get", stdin=REQUEST).stdout
    assert f"password={secret.read_text()}\n" in answer
    run(HELPER, "store", stdin=REQUEST[:-1] + answer + "\n")
    assert len(listed(run)) == 1
    run(HELPER, "erase", stdin=REQUEST[:-1] + answer + "\n")
    assert run(HELPER, "get", stdin=REQUEST, check=False).stdout == ""
    secret.write_text(tokens.api_token())
    assert secret.read_bytes() not in everything_in(home)


def test_a_consumers_secret_may_have_a_source(keyed: Runner, bitbucket: FakeBitbucket, secret: Path) -> None:
    """Its key is asked for as ever; each renewal fetches the secret."""
    consumer = bitbucket.add_consumer()
    secret.write_text(consumer.secret)
    words = ["--client-credentials", "--from", f"file:{secret}", "--host", bitbucket.url]
    keyed(HELPER, "login", *words, stdin=f"{consumer.key}\n")
    (one,) = listed(keyed)
    assert (one["source"], one["fetched_at"]) == (f"file:{secret}", None)
    keyed(HELPER, "refresh", one["id"])
    assert [entry.status for entry in bitbucket.token_requests()] == [200, 200]
    assert consumer.secret not in json.dumps(one)


def test_rotate_says_where_to_rotate(keyed: Runner, secret: Path) -> None:
    keyed(HELPER, "login", "--api-token", "--no-verify", "--from", f"file:{secret}")
    done = keyed(HELPER, "rotate", stdin=tokens.api_token() + "\n", check=False)
    assert f"the secret is not stored here, but fetched from file:{secret}" in done.stderr


@pytest.mark.parametrize("daemon", ["on", "off"])
def test_a_source_in_gits_configuration_answers_where_nothing_is_stored(
    keyed: Runner, home: Path, secret: Path, daemon: str
) -> None:
    """Of global scope: with the username of the token's kind, never stored, and gone with the setting."""
    run = Runner({**keyed.env, "GIT_CREDENTIAL_BITBUCKET_DAEMON": daemon}, keyed.folder)
    run(HELPER, "configure")
    setting = "credential.https://bitbucket.org.tokenFrom"
    run("git", "config", "--global", setting, f"file:{secret}")
    answer = run(HELPER, "get", stdin=REQUEST).stdout
    assert f"username=x-bitbucket-api-token-auth\npassword={secret.read_text()}\n" in answer
    run(HELPER, "store", stdin=REQUEST[:-1] + answer + "\n")
    assert secret.read_bytes() not in everything_in(home)
    first = secret.read_text()
    secret.write_text(tokens.api_token())
    assert f"password={secret.read_text()}\n" in run(HELPER, "get", stdin=REQUEST).stdout
    run(HELPER, "erase", stdin=REQUEST[:-1] + answer + "\n")
    explained = json.loads(run(HELPER, "explain", "--json", "https://bitbucket.org/acme/app").stdout)
    assert [one["source"] for one in explained["candidates"]] == [f"file:{secret}"]
    run("git", "config", "--global", "--unset", setting)
    until = time.monotonic() + 120  # a daemon looks at git's configuration once a second
    while run(HELPER, "get", stdin=REQUEST, check=False).stdout:
        assert time.monotonic() < until
    assert first.encode() not in everything_in(home)


def test_a_source_in_a_repositorys_configuration_is_never_run(keyed: Runner, home: Path) -> None:
    """Whoever makes a repository would choose what runs here."""
    program(home, "evil", f"touch {home}/ran; echo {tokens.api_token()}")
    keyed("git", "init", "-q", "repo")
    repo = keyed.folder / "repo"
    keyed("git", "config", "credential.https://bitbucket.org.tokenFrom", "exec:evil", cwd=repo)
    assert keyed(HELPER, "get", stdin=REQUEST, cwd=repo, check=False).stdout == ""
    off = {**keyed.env, "GIT_CREDENTIAL_BITBUCKET_DAEMON": "off"}
    assert keyed(HELPER, "get", stdin=REQUEST, cwd=repo, env=off, check=False).stdout == ""
    assert not (home / "ran").exists()


def test_a_setting_that_is_no_reference_is_told(keyed: Runner) -> None:
    """It may be a token, so it is not repeated."""
    token = tokens.api_token()
    keyed("git", "config", "--global", "credential.https://bitbucket.org.tokenFrom", token)
    done = keyed(HELPER, "get", stdin=REQUEST, check=False)
    assert done.stdout == ""
    assert "not a reference to a secret" in done.stderr
    assert token not in done.stderr


def test_the_daemons_commands_get_what_managers_are_configured_by(keyed: Runner, secret: Path, home: Path) -> None:
    """By pipe: nothing of it can be read in the daemon's own environment."""
    token = secret.read_text()
    program(home, "vault", 'echo "$VAULT_TOKEN"')
    run = Runner({**keyed.env, "VAULT_TOKEN": token}, keyed.folder)
    run(HELPER, "login", "--api-token", "--no-verify", "--from", "vault:secret/ci#token")
    assert f"password={token}\n" in run(HELPER, "get", stdin=REQUEST).stdout
    pid = json.loads(run(HELPER, "daemon", "status", "--json").stdout)["pid"]
    try:
        assert token.encode() not in Path(f"/proc/{pid}/environ").read_bytes()
    except PermissionError:
        return  # it forbids to be looked at
