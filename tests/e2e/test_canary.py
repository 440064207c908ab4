"""Secrets occur where they belong and nowhere else: a full run with each kind, and then a search.

Every test of this folder ends with that search of its home and of what its programs said (conftest.py). Here git traces
all that it can, and processes are looked at while they work.
"""

import base64
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e.leaks import Needles
from tests.e2e.sandbox import Machine, either_way, newer_git
from tests.fake_bitbucket import tokens
from tests.fake_bitbucket.client import ConsumerKey, FakeBitbucket
from tests.sockets import free_port

CHECKOUT = Path(__file__).parents[2]
TRACED = {"GIT_CREDENTIAL_BITBUCKET_TRACE": "1"}
"""Our own trace; not everywhere, for with it the native relay leaves everything to Python."""


@pytest.fixture
def traced(machine: Machine) -> Machine:
    """A machine where git, git-lfs and curl write down whatever they can, and temporary files lie in the home."""
    (machine.home / "tmp").mkdir()
    machine.env |= {
        "TMPDIR": str(machine.home / "tmp"),
        "GIT_TRACE": str(machine.home / "trace"),
        "GIT_TRACE_SETUP": str(machine.home / "trace"),
        "GIT_TRACE_CURL": str(machine.home / "trace-curl"),
        "GIT_TRACE2_EVENT": str(machine.home / "trace2"),
        "GIT_TRANSFER_TRACE": "1",
    }
    return machine


def consumer_with_port(machine: Machine) -> ConsumerKey:
    """A consumer whose callback is a port that is free now, and that git's configuration names."""
    callback = f"http://127.0.0.1:{free_port()}/"
    machine.git("config", "--global", f"credential.{machine.standin.url}.oauthRedirectURI", callback)
    return machine.standin.add_consumer(callback=callback)


def browser(machine: Machine) -> str:
    """What $BROWSER names: a browser that consents at once."""
    script = machine.home / "browser"
    command = f"{sys.executable} -m tests.fake_bitbucket.browser --ca {machine.standin.ca_file}"
    script.write_text(f'#!/bin/sh\ncd {CHECKOUT} && exec {command} "$1"\n')
    script.chmod(0o700)
    return str(script)


def log_in(machine: Machine, method: str, *secrets: str, place: str = "") -> None:
    """Log in as a script does: secrets by standard input."""
    more = ["--for", place] if place else []
    machine.helper("login", method, *more, "--host", machine.standin.url, stdin="".join(f"{s}\n" for s in secrets))


def work(machine: Machine, place: str, more: dict[str, str] | None = None, *, large: bool = False) -> None:
    """Clone, push, if wanted with a large file, and fetch."""
    clone = machine.clone(machine.standin.clone_url(place, "alice"), more=more)
    if large:
        machine.git("lfs", "track", "*.bin", cwd=clone)
        machine.git("add", ".gitattributes", cwd=clone)
    machine.commit(clone, f"{clone.name}.bin", os.urandom(4096))
    machine.git("push", cwd=clone, more=more)
    machine.git("fetch", cwd=clone, more=more)


@newer_git
def test_a_full_run_leaves_no_secret_anywhere(traced: Machine, bitbucket: FakeBitbucket) -> None:
    """Each kind: obtained, used, renewed, refused, shown, logged out; then the search."""
    for place in ("acme/app", "acme/core", "acme/other", "alice/dotfiles"):
        bitbucket.create_repository(place)
    has_lfs = shutil.which("git-lfs") is not None
    if has_lfs:
        traced.git("lfs", "install")
    log_in(traced, "--access-token", bitbucket.issue_access_token("acme/app"), place="acme/app")
    log_in(traced, "--access-token", bitbucket.issue_access_token("acme", project="CORE"), place="acme/core")
    log_in(traced, "--access-token", bitbucket.issue_access_token("acme"), place="acme")
    consumer = consumer_with_port(traced)
    traced.env["BROWSER"] = browser(traced)
    log_in(traced, "--oauth", consumer.key, consumer.secret)
    for place in ("acme/app", "acme/core", "acme/other", "alice/dotfiles"):
        work(traced, place, large=has_lfs and place in {"acme/app", "alice/dotfiles"})
        traced.git("ls-remote", bitbucket.clone_url(place), more=TRACED)

    bitbucket.revoke(kind="oauth2")
    for _ in range(2):  # an older git fails once
        traced.git("ls-remote", bitbucket.clone_url("alice/dotfiles"), check=False)
    bitbucket.script_fault("token", "500")
    for one in traced.credentials():
        traced.helper("refresh", str(one["id"]), check=False)
    traced.helper("status")
    traced.helper("status", "--json")
    bitbucket.revoke_logins()
    traced.helper("logout", "--all")
    assert not traced.credentials()

    app_password = bitbucket.issue_app_password()
    traced.env |= TRACED
    traced.approve("", "alice", app_password)
    traced.approve("", "alice@example.com", bitbucket.issue_api_token())
    traced.git("ls-remote", bitbucket.clone_url("alice/dotfiles"))
    log_in(traced, "--client-credentials", consumer.key, consumer.secret)
    traced.git("ls-remote", bitbucket.clone_url("acme/app"))
    client = consumer.environment
    token = {"BITBUCKET_TOKEN": bitbucket.issue_access_token("acme/app")}
    for secret in (client, token):
        for off in ("", "off"):
            more = {**secret, **TRACED, "GIT_CREDENTIAL_BITBUCKET_DAEMON": off}
            traced.git("ls-remote", bitbucket.clone_url("acme/app"), more=more)
        traced.helper("exec", "--", "sh", "-c", f"env && git ls-remote {bitbucket.clone_url('acme/app')}", more=secret)

    made = len(bitbucket.secrets())
    assert made >= 15
    needles = Needles([*bitbucket.secrets(), app_password])
    assert not list(needles.files(traced.home))
    assert not list(needles.texts(traced.told))
    assert not list(needles.processes())
    assert b"Authorization: Basic" in (traced.home / "trace-curl").read_bytes()


def leaking_processes(machine: Machine, endpoint: str, count: int, job: Callable[[], object]) -> list[str]:
    """The processes that show a secret while `run_job` waits for the answer to its request number `count`."""
    bitbucket, mark = machine.standin, machine.standin.mark()
    bitbucket.script_fault(endpoint, "hold", after=count - 1)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(job)
        try:
            bitbucket.wait_for(endpoint, count, since=mark)
            return list(Needles(bitbucket.secrets()).processes())
        finally:
            bitbucket.release()
            running.result()


@either_way
def test_no_process_shows_a_secret_while_it_works(newer: Machine, bitbucket: FakeBitbucket, url: str) -> None:
    """Neither git with its token on the wire, nor whoever renews one, in arguments or environment."""
    access = newer.log_in(bitbucket.add_consumer(), expires_in=0)
    assert not leaking_processes(newer, "token", 1, lambda: newer.git("ls-remote", url))
    assert not leaking_processes(newer, "git", 2, lambda: newer.git("ls-remote", url))
    bitbucket.revoke(access)
    bitbucket.revoke(kind="oauth2")
    assert not leaking_processes(newer, "token", 1, lambda: newer.git("ls-remote", url))


def test_the_daemon_does_not_show_the_key_that_it_was_started_with(newer: Machine, bitbucket: FakeBitbucket) -> None:
    """The vault's key was in the environment of whoever started it, and reaches it by a pipe."""
    del newer.env["GIT_CREDENTIAL_BITBUCKET_KEY_FILE"]
    key = base64.b64encode(os.urandom(32)).decode()
    newer.env["GIT_CREDENTIAL_BITBUCKET_KEY"] = key
    newer.approve("", "alice", bitbucket.issue_api_token())
    newer.git("ls-remote", bitbucket.create_repository("acme/app"))
    assert newer.daemon_pid()
    assert not list(Needles([key]).processes())
    assert not list(Needles([key]).files(newer.home))


def test_no_process_shows_a_secret_during_a_login(newer: Machine) -> None:
    """While the code is exchanged: the verb, the shell that opened the browser, the browser, the daemon."""
    consumer = consumer_with_port(newer)
    newer.env["BROWSER"] = browser(newer)
    job = lambda: log_in(newer, "--oauth", consumer.key, consumer.secret)  # noqa: E731 - said once, for one use
    assert not leaking_processes(newer, "token", 1, job)


def test_no_process_shows_a_secret_that_a_runner_has_in_a_file(
    newer: Machine, bitbucket: FakeBitbucket, url: str, tmp_path: Path
) -> None:
    """Neither by the variable that names it, nor under `exec`."""
    (tmp_path / "token").write_text(bitbucket.issue_access_token("acme/app"))
    newer.env["BITBUCKET_TOKEN_FILE"] = str(tmp_path / "token")
    assert not leaking_processes(newer, "git", 2, lambda: newer.git("ls-remote", url))
    job = ("exec", "--", newer.used_git.path, "ls-remote", url)
    assert not leaking_processes(newer, "git", 2, lambda: newer.helper(*job))


def test_the_search_finds_what_is_planted(tmp_path: Path) -> None:
    """In a file as it is, in part, or as a header has it; in a name, a link, an argument, an environment."""
    secret = tokens.api_token()
    needles = Needles([secret])
    basic = base64.b64encode(f"x-token-auth:{secret}".encode()).decode()
    for number, text in enumerate((secret, secret[:60], secret[-40:], basic, secret.encode().hex())):
        (tmp_path / f"file-{number}").write_text(f"some words, {text} and more")
    (tmp_path / "link").symlink_to(secret)
    (tmp_path / f"named-{secret}").touch()
    (tmp_path / "innocent").write_text(f"{secret[:12]}… and {tokens.api_token()}")
    assert len(list(needles.files(tmp_path))) == 7
    sleeper = ["sh", "-c", "echo started; read line"]
    for command, env in (([*sleeper, secret], {}), (sleeper, {"TOKEN": secret})):
        with subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            found = list(needles.processes())
            process.communicate(b"\n")
        assert [line.split()[0] for line in found] == [str(process.pid)]
