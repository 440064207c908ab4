"""The daemon spoken to by git's own C client: get, store, erase, and what attackers send."""

import base64
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from git_credential_bitbucket.git_protocol import MAX_REQUEST_BYTES
from tests.daemon.conftest import Start
from tests.daemon.daemons import TIMEOUT_S, Daemon, cache_client, cloud, eventually, message, read_all
from tests.fake_bitbucket import tokens

HOSTILE = json.loads((Path(__file__).parents[1] / "data" / "hostile-requests.json").read_text())


def git(daemon: Daemon, *words: str, stdin: bytes) -> "subprocess.CompletedProcess[bytes]":
    """Run git with the daemon as its cache daemon."""
    helper = f"credential.helper=cache --socket {daemon.path}"
    return subprocess.run(
        ["git", "-c", "credential.helper=", "-c", helper, *words],
        input=stdin,
        capture_output=True,
        env={**daemon.env, "GIT_ASKPASS": "/bin/false"},
        cwd="/",
        timeout=60,
        check=False,
    )


def test_gits_cache_client_stores_gets_and_erases(daemon: Daemon) -> None:
    """The C client that every git has is a whole front end: nothing of ours is installed where it runs."""
    token = tokens.access_token()
    typed = cloud("acme/app.git") + f"username=alice\npassword={token}\n".encode()
    client = partial(cache_client, daemon.env, daemon.path)
    assert client("get", cloud("acme/app.git")) == b""
    client("store", typed)
    got = client("get", cloud("acme/app.git"))
    assert got.startswith(f"username=x-token-auth\npassword={token}\npassword_expiry_utc=".encode())
    assert '"memory":true' in daemon.ask("status").decode(), "it came with a time-out"
    client("erase", typed)
    assert client("get", cloud("acme/app.git")) == b""


def test_git_credential_approve_fill_and_reject(daemon: Daemon) -> None:
    """The same by git's own plumbing, which is what fetch and push run."""
    token = tokens.api_token()
    git(daemon, "credential", "approve", stdin=cloud() + f"username=a@b.example\npassword={token}\n\n".encode())
    filled = git(daemon, "credential", "fill", stdin=cloud() + b"\n")
    assert b"username=x-bitbucket-api-token-auth\n" in filled.stdout
    assert f"password={token}\n".encode() in filled.stdout
    git(daemon, "credential", "reject", stdin=filled.stdout + b"\n")
    assert git(daemon, "credential", "fill", stdin=cloud() + b"\n").returncode != 0


def test_store_and_erase_are_acknowledged(daemon: Daemon) -> None:
    """One line says that they arrived; a connection that ends without it does not look like success."""
    body = cloud("acme/app") + f"username=u\npassword={tokens.access_token()}\n".encode()
    assert daemon.ask("store", body) == b"ok=1\nkept=bound\n"
    assert daemon.ask("erase", body) == b"ok=1\n"


def test_another_host_is_answered_with_nothing(daemon: Daemon) -> None:
    assert daemon.ask("get", b"protocol=https\nhost=github.com\n") == b""


def test_store_for_a_host_that_it_does_not_know_does_not_look_done(daemon: Daemon) -> None:
    """The front end looks whether the caller's own configuration names that host."""
    body = b"protocol=https\nhost=git.example\nusername=u\npassword=%b\n" % tokens.access_token().encode()
    assert daemon.ask("store", body) == daemon.ask("erase", body) == b""
    assert daemon.told_about("why", body)["state"] == "unknown-host"


@pytest.mark.parametrize("vector", HOSTILE, ids=[vector["name"] for vector in HOSTILE])
def test_hostile_requests_get_nothing(hostile_daemon: Daemon, vector: dict[str, str]) -> None:
    """Only what git would have sent for bitbucket.org is answered; the rest gets, changes and breaks nothing."""
    request = base64.b64decode(vector["request_base64"])
    before = hostile_daemon.ask("status")
    if vector["verdict"] == "ANSWER":
        assert b"password=ATATT" in hostile_daemon.ask("get", request)
        return
    assert hostile_daemon.ask("get", request) == b""
    smuggled = request + f"username=mallory\npassword={tokens.api_token()}\n".encode()
    for operation, body in (("erase", request), ("store", smuggled), ("erase", smuggled)):
        assert hostile_daemon.ask(operation, body) in (b"", b"ok=1\n")
    assert _lasting(hostile_daemon.ask("status")) == _lasting(before)


def _lasting(status: bytes) -> bytes:
    return re.sub(rb"(uptime|served|clients)=\d+\n|\"last_used_at\":[^,]*", b"", status)


@pytest.fixture(scope="module")
def hostile_daemon() -> Iterator[Daemon]:
    """One daemon for all vectors, holding an API token: none of them may change it."""
    with tempfile.TemporaryDirectory(prefix="gcb-", dir="/tmp") as home:
        daemon = Daemon(
            {
                "HOME": home,
                "PATH": "/usr/bin:/bin",
                "GIT_CONFIG_NOSYSTEM": "1",
                "GIT_CREDENTIAL_BITBUCKET_SOCKET": f"{home}/socket",
                "GIT_CREDENTIAL_BITBUCKET_VAULT": f"{home}/vault",
                "GIT_CREDENTIAL_BITBUCKET_KEY": base64.b64encode(os.urandom(32)).decode(),
            }
        )
        daemon.store("", tokens.api_token())
        yield daemon
        daemon.end()


def test_a_request_above_one_mebibyte_is_refused_quietly(daemon: Daemon) -> None:
    """Git's client sees an empty answer and no broken connection."""
    body = cloud() + b"".join(b"wwwauth[]=%s\n" % (b"a" * 60000) for _ in range(MAX_REQUEST_BYTES // 60000 + 1))
    assert cache_client(daemon.env, daemon.path, "get", body) == b""


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"\0" * 100,
        b"action=",
        b"action=get",
        b"action=get\n",
        b"get\n",
        b"ACTION=get\n\n",
        b"action=\xff\n",
    ],
)
def test_what_is_no_request_is_answered_without_a_secret(daemon: Daemon, data: bytes) -> None:
    """Anything may connect; the daemon neither dies of it nor says anything of worth."""
    with daemon.connect() as connection:
        connection.sendall(data)
        connection.shutdown(1)
        assert b"password" not in read_all(connection)
    assert "pid" in daemon.told_about("ping")
    assert "fault" not in daemon.told_about("ping")


def test_an_operation_in_the_request_does_not_count(daemon: Daemon) -> None:
    """`action=` among git's own lines, which may come from a URL, is one more unknown attribute."""
    token = tokens.api_token()
    daemon.store("", token)
    assert daemon.told_about("get", cloud() + b"action=exit\n")["password"] == token
    assert "pid" in daemon.told_about("ping")


def test_status_tells_the_process_and_the_vault_and_no_secret(daemon: Daemon) -> None:
    """Pid, version, uptime and the credentials by what they are for."""
    token = daemon.store("acme/app")
    status = daemon.ask("status")
    told = dict(line.split("=", 1) for line in status.decode().split("\n")[:-1])
    assert int(told["pid"]) == daemon.pid
    assert {"version", "uptime", "clients", "vault"} <= told.keys()
    assert "bitbucket.org/acme/app" in told["credential[]"]
    assert token not in status.decode()


def test_an_unknown_verb_is_refused_with_a_hint(daemon: Daemon) -> None:
    """A newer front end meets an older daemon."""
    assert {"error", "hint"} <= daemon.told_about("frobnicate").keys()


def test_a_host_opted_in_by_gits_configuration_is_served(daemon: Daemon, home: Path) -> None:
    """And a change of the configuration is noticed without a restart."""
    body = b"protocol=https\nhost=git.acme.example\n"
    token = tokens.api_token()
    typed = body + f"username=a@b.example\npassword={token}\n".encode()
    daemon.ask("store", typed)
    assert daemon.ask("get", body) == b""
    config = home / ".gitconfig"
    config.write_text('[credential "https://git.acme.example"]\n\tprovider = bitbucket\n')

    def served() -> bool:
        daemon.ask("store", typed)
        return token.encode() in daemon.ask("get", body)

    eventually(served)
    config.write_text("")
    eventually(lambda: daemon.ask("get", body) == b"")


def test_a_git_config_that_hangs_delays_only_who_needs_it(start: Start, keyed_env: dict[str, str], home: Path) -> None:
    """A home directory on a dead network share: bitbucket.org is served meanwhile."""
    slow = home / "bin"
    slow.mkdir()
    (slow / "git").write_text(f"#!/bin/sh\nwhile [ ! -e {home}/back ]; do sleep 0.1; done\n")
    (slow / "git").chmod(0o755)
    daemon = start(env={**keyed_env, "PATH": f"{slow}:{keyed_env['PATH']}"})
    daemon.store("", tokens.api_token())
    with daemon.connect() as waiting:
        waiting.sendall(message("get", b"protocol=https\nhost=other.example\n"))
        waiting.shutdown(1)
        assert daemon.secret("") is not None
        waiting.settimeout(0.2)
        with pytest.raises(TimeoutError):
            waiting.recv(1)
        (home / "back").touch()
        waiting.settimeout(TIMEOUT_S)
        assert read_all(waiting) == b""


def test_what_answers_git_is_all_that_is_imported() -> None:
    """Listening needs no HTTP, no keyring, no asyncio: memory and start-up depend on it."""
    code = (
        "import sys; sys.path.append(sys.argv[1]);"
        "import git_credential_bitbucket.daemon.process, git_credential_bitbucket.agent.agent,"
        "git_credential_bitbucket.daemon.server, git_credential_bitbucket.daemon.configured_hosts,"
        "git_credential_bitbucket.daemon.request_handler, git_credential_bitbucket.vault.vault,"
        "git_credential_bitbucket.vault.storage.file, git_credential_bitbucket.agent.control_actions;"
        "from git_credential_bitbucket.bitbucket import providers;"
        "assert providers.find(None, 'https', 'bitbucket.org', {}); print(*sys.modules)"
    )
    heavy = {"asyncio", "ssl", "hashlib", "subprocess", "logging", "requests", "keyring", "cryptography", "argparse"}
    assert not imported_by(code) & (heavy | {"dataclasses", "datetime", "inspect", "urllib.parse"})


def test_next_to_nothing_is_imported_before_the_fork() -> None:
    """A fork copies what its process has touched: with all of the daemon in it, it costs 10 ms more."""
    code = (
        "import sys; sys.path.append(sys.argv[1]); import git_credential_bitbucket.daemon.__main__; print(*sys.modules)"
    )
    assert not imported_by(code) & {"typing", "re", "json", "socket", "threading", "git_credential_bitbucket.agent"}


def imported_by(code: str) -> set[str]:
    """The modules that `code`, which is given the checkout, prints."""
    root = str(Path(__file__).parents[2])
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code, root], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_gits_own_client_prints_no_acknowledgement(daemon: Daemon) -> None:
    """`ok=1` is for our own front ends; who types git's own client sees what git's own daemon would show."""
    token = tokens.access_token()
    typed = cloud("acme/app") + f"username=x-token-auth\npassword={token}\n".encode()
    for operation, kept in (("store", True), ("erase", False)):
        assert cache_client(daemon.env, daemon.path, operation, typed) == b""
        asked = cloud("acme/app") + b"username=x-token-auth\n"
        assert (token.encode() in daemon.ask("get", asked)) == kept


def test_an_answer_ends_with_a_blank_line(daemon: Daemon) -> None:
    """So a front end of ours knows that it is whole, and ours; no answer has none."""
    daemon.store("acme/app")
    assert daemon.ask("get", cloud("acme/app")).endswith(b"\n\n")
    assert daemon.ask("get", b"protocol=https\nhost=example.org\n") == b""
