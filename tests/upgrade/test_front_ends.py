"""For a while after an upgrade, and longer in containers, one release's front end asks the other's daemon."""

import json
import os
import shlex
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from git_credential_bitbucket import paths
from git_credential_bitbucket.vault import format as sealed
from tests import installed
from tests.daemon.conftest import Start
from tests.daemon.daemons import Daemon, read_all
from tests.fake_bitbucket import tokens
from tests.helpers import ENTER as THIS_FRONT
from tests.running import Runner
from tests.upgrade import release

ENTER_FRONT = (
    "import sys; sys.path.append({folder!r});"
    "from git_credential_bitbucket.front.relay import main; sys.exit(main(sys.argv))"
)
REQUEST = "protocol=https\nhost=bitbucket.org\npath=acme/app.git\n"


def front_end(home: Path, code: str) -> Path:
    """An executable that runs a Python front end by `code`, isolated as the installed one is."""
    path = home / "bin" / paths.NAME
    path.parent.mkdir()
    path.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -I -S -c {shlex.quote(code)} "$@"\n')
    path.chmod(0o755)
    return path


def native(home: Path, package: Path) -> Path:
    """The release's compiled relay, with its Python front end beside it."""
    if not installed.has_compiler():
        pytest.skip("there is no C compiler")
    path = home / "bin" / paths.NAME
    path.parent.mkdir()
    source = package / "git_credential_bitbucket" / "front" / "relay.c"
    installed.run(["cc", "-O1", "-o", path, source], {"PATH": os.environ["PATH"]})
    Path(f"{path}.py").write_text(f"#!{sys.executable}\n\n{ENTER_FRONT.format(folder=str(package))}\n")
    return path


def portable(home: Path, package: Path) -> Path:
    """The release's front end in Python."""
    return front_end(home, ENTER_FRONT.format(folder=str(package)))


def a_round(run: Runner, helper: Path) -> None:
    """What git does: asks, is refused, asks a person, stores, is answered, and has it rejected."""
    token = tokens.access_token()
    given = f"{REQUEST}username=x-token-auth\npassword={token}\n"
    missed = run(helper, "get", stdin=REQUEST)
    assert missed.stdout == ""
    assert missed.stderr.startswith("git-credential-bitbucket: error: no credential for bitbucket.org/acme/app")
    stored = run(helper, "store", stdin=given)
    assert (stored.stdout, stored.stderr) == ("", "")
    found = run(helper, "get", stdin=REQUEST)
    assert found.stderr == ""
    assert found.stdout.rstrip("\n").split("\n") == ["username=x-token-auth", f"password={token}"]
    erased = run(helper, "erase", stdin=given)
    assert (erased.stdout, erased.stderr) == ("", "")
    rejected = run(helper, "get", stdin=REQUEST)
    assert rejected.stdout == ""
    assert rejected.stderr.startswith("git-credential-bitbucket: error: ")
    assert len(rejected.stderr.splitlines()) == 2


@pytest.mark.parametrize("made", [native, portable])
def test_the_releases_front_end_asks_this_daemon(
    start: Start, keyed_env: dict[str, str], home: Path, package: Path, made: Callable[[Path, Path], Path]
) -> None:
    """The same answers, acknowledgements that it knows, and reasons in its words."""
    daemon = start()
    a_round(Runner(keyed_env, home / "work"), made(home, package))
    assert daemon.process.poll() is None


def test_this_front_end_asks_the_releases_daemon(
    start: Start, keyed_env: dict[str, str], home: Path, package: Path
) -> None:
    """Until that has started anew; and a person can stop it."""
    daemon = start(package=str(package), enter=release.ENTER)
    run, helper = Runner(keyed_env, home / "work"), front_end(home, THIS_FRONT)
    a_round(run, helper)
    run(helper, "daemon", "stop")
    assert daemon.ended() == 0


def asked(daemon: Daemon, action: str, request: str) -> bytes:
    """What the daemon answers to the very bytes that both relays of the release send."""
    with daemon.connect() as connection:
        connection.sendall(f"action={action}\ntimeout=35\n{request}".encode())
        connection.shutdown(socket.SHUT_WR)
        return read_all(connection)


def test_acknowledgements_are_to_the_byte(daemon: Daemon) -> None:
    """The release's relay compares: anything else is a store that did not arrive, and is tried again."""
    given = f"{REQUEST}username=x-token-auth\npassword={tokens.access_token()}\n"
    for action, reply in (("get", b""), ("store", b"ok=1\n"), ("erase", b"ok=1\n"), ("get", b"")):
        assert asked(daemon, action, REQUEST if action == "get" else given) == reply


@pytest.mark.parametrize("reader", ["the release", "this program"])
@pytest.mark.parametrize("operation", ["get", "store", "erase"])
def test_a_newer_vault_is_told_of_and_left_alone(
    keyed_env: dict[str, str], home: Path, package: Path, reader: str, operation: str
) -> None:
    """Whoever is older than the vault says so, and changes no byte of it and nothing beside it."""
    key = Path(keyed_env["GIT_CREDENTIAL_BITBUCKET_KEY_FILE"])
    key.chmod(0o600)
    key.write_bytes(release.KEY)
    vault = Path(paths.vault_path(keyed_env))
    vault.parent.mkdir(mode=0o700, parents=True)
    shutil.copyfile(release.DATA / "states.vault", vault)
    vault.chmod(0o600)
    blob = bytearray(vault.read_bytes())
    version = len(sealed.MAGIC)  # every format keeps its number there, in two bytes
    blob[version : version + 2] = (99).to_bytes(2)
    vault.write_bytes(blob)
    code = THIS_FRONT if reader == "this program" else ENTER_FRONT.format(folder=str(package))
    lines = REQUEST if operation == "get" else f"{REQUEST}username=x-token-auth\npassword={tokens.access_token()}\n"
    done = Runner(keyed_env, home / "work")(front_end(home, code), operation, stdin=lines)
    if operation != "erase":  # there is nothing to be rejected, and the next `get` says so
        assert "format 99" in done.stderr
        assert "upgrade git-credential-bitbucket" in done.stderr
    assert done.stdout in ("", "quit=1\n")
    assert vault.read_bytes() == blob
    assert {path.name for path in vault.parent.iterdir()} <= {vault.name, f"{vault.name}.lock"}


def test_the_release_reads_what_this_program_writes(
    start: Start, keyed_env: dict[str, str], home: Path, package: Path
) -> None:
    """Or says that it is newer. Either way somebody who goes back loses nothing."""
    daemon = start()
    kept = tokens.access_token()
    given = f"{REQUEST}username=x-token-auth\npassword={kept}\n"
    assert asked(daemon, "get", REQUEST) == b""
    assert asked(daemon, "store", given) == b"ok=1\n"
    daemon.end()
    vault = Path(paths.vault_path(keyed_env))
    before = vault.read_bytes()
    run, helper = Runner(keyed_env, home / "work"), portable(home, package)
    done = run(helper, "get", stdin=REQUEST)
    if before[len(sealed.MAGIC) : len(sealed.MAGIC) + 2] == b"\0\1":
        assert f"password={kept}\n" in done.stdout
    else:
        assert "upgrade git-credential-bitbucket" in done.stderr
    assert vault.read_bytes() == before


def test_the_release_sends_no_projects_token_anywhere(
    start: Start, keyed_env: dict[str, str], home: Path, package: Path
) -> None:
    """It knows no projects: to it, such a token is bound to a request that nobody makes; going back loses none."""
    token, other = tokens.access_token(), tokens.access_token()
    record = {"kind": "access-token", "place": "https://bitbucket.org/acme/{web}", "secret": token, "endpoint": {}}
    record |= {"project": "WEB", "repositories": ["app"]}
    daemon = start()
    assert asked(daemon, "get", REQUEST) == b""
    assert b"id=" in daemon.ask("add", f"record={json.dumps(record)}\n".encode())
    assert f"password={token}\n".encode() in asked(daemon, "get", REQUEST)
    daemon.store("beta/app.git", other)
    daemon.end()
    vault = Path(paths.vault_path(keyed_env))
    before = vault.read_bytes()
    run, helper = Runner(keyed_env, home / "work"), portable(home, package)
    for path in ("path=acme/app.git\n", "path=acme/other.git\n", "path=acme\n", "path=acme/{web}\n"):
        done = run(helper, "get", stdin=f"protocol=https\nhost=bitbucket.org\n{path}", check=False)
        assert "password" not in done.stdout
    for path in ("path=beta/app.git\n", ""):
        done = run(helper, "get", stdin=f"protocol=https\nhost=bitbucket.org\n{path}")
        assert f"password={other}\n" in done.stdout
    assert vault.read_bytes() == before


def test_the_release_passes_over_a_credential_that_has_a_source(front: Runner, home: Path, package: Path) -> None:
    """It answers without it, writes the same vault and keeps what it does not know, for the return to this program."""
    (home / "token").write_text(token := tokens.api_token())
    older = home / "older"
    older.write_text(f"#!{sys.executable} -IS\n{ENTER_FRONT.format(folder=str(package))}\n")
    older.chmod(0o755)
    verbs = (sys.executable, "-m", "git_credential_bitbucket")
    env = {**front.env, "GIT_CREDENTIAL_BITBUCKET_DAEMON": "off", "PYTHONPATH": str(installed.ROOT)}
    front(*verbs, "login", "--api-token", "--no-verify", "--from", f"file:{home}/token", env=env)
    missed = front(older, "get", stdin=REQUEST, env=env, check=False)
    assert missed.stdout == ""
    assert "the API token for bitbucket.org has expired" in missed.stderr
    stored = tokens.access_token()
    front(older, "store", stdin=f"{REQUEST}username=x-token-auth\npassword={stored}\n", env=env)
    told = json.loads(front(*verbs, "status", "--json", env=env).stdout)["credentials"]
    assert {one["source"] for one in told} == {f"file:{home}/token", None}
    found = front(*verbs, "get", stdin=REQUEST.replace("acme/app", "acme/other"), env=env)
    assert f"password={token}\n" in found.stdout
