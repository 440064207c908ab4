"""One daemon for each vault, and git's configuration by variables: what one caller names is no other's."""

import json
import os
import select
from pathlib import Path

import pytest

from git_credential_bitbucket import paths
from git_credential_bitbucket.client import ipc
from tests.fake_bitbucket import tokens
from tests.helper.test_fallback import PREFIX, ask, offered
from tests.helpers import request, socket_of
from tests.running import Runner

HOST = "git.example.org"
VAULT = "GIT_CREDENTIAL_BITBUCKET_VAULT"
SOCKET = "GIT_CREDENTIAL_BITBUCKET_SOCKET"
OTHER = "the daemon at this socket serves another vault"


@pytest.fixture
def token(front: Runner, helper: Path) -> str:
    """One in the default vault, whose daemon runs."""
    token = tokens.access_token()
    front(helper, "login", "--no-verify", "--access-token", "--for", "acme/app", stdin=token)
    return token


@pytest.fixture
def scratch(front: Runner, home: Path) -> Runner:
    """Runs programs with another vault."""
    (home / "scratch").mkdir(mode=0o700)
    return Runner({**front.env, VAULT: str(home / "scratch" / "vault")}, front.folder)


def listed(run: Runner, helper: Path) -> list[str]:
    """The places for which credentials are kept."""
    return [one["scope"] for one in json.loads(run(helper, "status", "--json").stdout)["credentials"]]


def test_a_named_vault_is_the_one_that_is_used(front: Runner, scratch: Runner, helper: Path, token: str) -> None:
    """Whatever daemon runs: `logout --all` meant the scratch vault, and took the real one's tokens."""
    assert listed(scratch, helper) == []
    scratch(helper, "login", "--no-verify", "--access-token", "--for", "scratch", stdin=tokens.access_token())
    assert offered(scratch) is None
    scratch(helper, "logout", "--all")
    assert listed(scratch, helper) == []
    assert listed(front, helper) == ["bitbucket.org/acme/app"]
    assert offered(front) == token


def daemons(run: Runner, helper: Path, home: Path) -> dict[str, dict[str, object]]:
    """The daemons below a home, by their vaults; others of this user run beside them."""
    found = json.loads(run(helper, "daemon", "list", "--json").stdout)
    return {one["vault_path"]: one for one in found if one["socket"].startswith(f"{home}/")}


def test_each_vault_has_a_daemon_of_its_own(
    front: Runner, scratch: Runner, helper: Path, home: Path, token: str
) -> None:
    """And each is stopped by itself; `daemon list` shows both, `daemon socket` where they listen."""
    scratch(helper, "daemon", "start")
    found = daemons(front, helper, home)
    assert set(found) == {paths.vault_path(front.env), scratch.env[VAULT]}
    for run in (front, scratch):
        told = found[paths.vault_path(run.env)]
        assert told["socket"] == run(helper, "daemon", "socket").stdout.strip() == paths.socket_path(run.env)
        control = run(helper, "daemon", "socket", "--control").stdout.strip()
        assert control == paths.control_socket(paths.socket_path(run.env))
    shown = front(helper, "daemon", "list").stdout
    for one in found.values():
        row = [str(one[name]) for name in ("pid", "version", "vault_path", "socket")]
        assert row in [line.split() for line in shown.splitlines()]
    scratch(helper, "daemon", "stop")
    assert set(daemons(scratch, helper, home)) == {paths.vault_path(front.env)}
    assert offered(front) == token


def test_a_named_socket_whose_daemon_has_another_vault_is_refused(
    front: Runner, scratch: Runner, helper: Path, home: Path, token: str
) -> None:
    """By git's operations as by verbs, and nothing is kept, given or removed."""
    scratch.env[SOCKET] = str(socket_of(home))
    done = scratch(helper, "get", stdin=request())
    assert done.stdout == ""
    assert OTHER in done.stderr
    given = request(username="x-token-auth", password=token)
    for operation in ("store", "erase"):
        assert OTHER in scratch(helper, operation, stdin=given).stderr
    for verb in (["status"], ["logout", "--all"], ["lock"], ["daemon", "stop"]):
        refused = scratch(helper, *verb, check=False)
        assert refused.returncode == 1
        assert OTHER in refused.stderr
        assert "hint: " in refused.stderr
    assert not Path(scratch.env[VAULT]).exists()
    assert offered(front) == token


def test_a_home_of_its_own_is_not_taken_for_the_other_one(front: Runner, helper: Path, home: Path, token: str) -> None:
    """Another HOME with the same runtime directory: the vault would be another one, and the socket is the same."""
    (home / "other").mkdir(mode=0o700)
    env = {**front.env, "HOME": str(home / "other"), "XDG_DATA_HOME": ""}
    refused = front(helper, "logout", "--all", env=env, check=False)
    assert refused.returncode == 1
    assert OTHER in refused.stderr
    assert offered(front) == token


def test_what_variables_configure_counts_for_their_caller_alone(front: Runner, helper: Path, home: Path) -> None:
    """A host that the first starter's GIT_CONFIG_GLOBAL names: served to it, in its process, and to nobody else."""
    config = home / "config"
    config.write_text((home / ".gitconfig").read_text() + f'[credential "https://{HOST}"]\n\tprovider = bitbucket\n')
    named = Runner({**front.env, "GIT_CONFIG_GLOBAL": str(config)}, front.folder)
    assert offered(named, host=HOST) is None  # starts the daemon
    secret = tokens.access_token()
    text = request(host=HOST, username="x-token-auth", password=secret)
    assert named("git", "credential", "approve", stdin=text).stderr == ""
    assert offered(named, host=HOST) == secret
    why = ask(socket_of(home), "why", request(host=HOST))
    assert why["state"] == "unknown-host"
    assert ipc.send_request(str(socket_of(home)), ipc.format_request("get", request(host=HOST).encode()))[1] == b""
    done = front(helper, "get", stdin=request(host=HOST))
    assert (done.stdout, done.stderr) == ("", "")


def test_the_default_vaults_daemon_serves_who_names_it(front: Runner, helper: Path, token: str) -> None:
    env = {**front.env, VAULT: paths.vault_path(front.env)}
    pid = json.loads(front(helper, "daemon", "status", "--json").stdout)["pid"]
    assert json.loads(front(helper, "daemon", "status", "--json", env=env).stdout)["pid"] == pid
    assert f"password={token}\n" in front(helper, "get", stdin=request(), env=env).stdout
    assert len(os.listdir(Path(paths.control_socket(paths.socket_path(env))).parent)) == 1


def test_a_relative_vault_is_one_clear_line(front: Runner, helper: Path) -> None:
    done = front(helper, "status", env={**front.env, VAULT: "vault"}, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"{PREFIX}error: {VAULT} is a relative path")


@pytest.mark.parametrize("daemon", ["on", "off"])
def test_keys_in_gits_configuration_survive_a_caller_that_drops_git_variables(
    front: Runner, helper: Path, home: Path, daemon: str
) -> None:
    """Vault and key are found without any variable, by verbs and by git's operations."""
    secret = tokens.access_token()
    vault = keys_in_configuration(front, home, daemon=daemon)
    front(helper, "login", "--no-verify", "--access-token", "--for", "acme/app", stdin=secret)
    assert vault.exists()
    front.env = {name: value for name, value in front.env.items() if not name.startswith("GIT_")}
    assert offered(front) == secret
    assert f"password={secret}\n" in front(helper, "get", stdin=request()).stdout


def keys_in_configuration(front: Runner, home: Path, **settings: str) -> Path:
    """Move the key file from its variable to git's configuration, with a vault elsewhere, which is returned."""
    key = front.env.pop("GIT_CREDENTIAL_BITBUCKET_KEY_FILE", None)
    if key is None:
        key = str(home / "own-key")
        Path(key).touch(0o600)
        Path(key).write_bytes(os.urandom(32))
    (home / "elsewhere").mkdir(mode=0o700)
    for name, value in {"keyFile": key, "vault": "~/elsewhere/vault", **settings}.items():
        front("git", "config", "--global", f"credentialBitbucket.{name}", value)
    return home / "elsewhere" / "vault"


def test_a_daemon_answers_for_the_configured_vault_without_a_look_at_the_configuration(
    front: Runner, helper: Path, home: Path
) -> None:
    """No git is run, whether the vault is named or not; and `git -c` means another vault for one command."""
    secret = tokens.access_token()
    vault = keys_in_configuration(front, home)
    front(helper, "login", "--no-verify", "--access-token", "--for", "acme/app", stdin=secret)
    without_path = {**front.env, "PATH": "/nonexistent"}
    assert f"password={secret}\n" in front(helper, "get", stdin=request(), env=without_path).stdout
    named = {**without_path, VAULT: str(vault)}
    assert f"password={secret}\n" in front(helper, "get", stdin=request(), env=named).stdout
    assert set(daemons(front, helper, home)) == {str(vault)}
    (home / "scratch").mkdir(mode=0o700)
    scratch = home / "scratch" / "vault"
    once = ["git", "-c", f"credentialBitbucket.vault={scratch}", "credential", "fill"]
    assert "password=" not in front(*once, stdin=request(), check=False).stdout
    assert set(daemons(front, helper, home)) == {str(vault), str(scratch)}
    assert offered(front) == secret


def test_a_daemon_ends_when_its_settings_change(front: Runner, helper: Path, home: Path, token: str) -> None:
    """Else git would go on being answered from the former vault."""
    assert offered(front) == token
    pid = json.loads(front(helper, "daemon", "status", "--json").stdout)["pid"]
    handle = os.pidfd_open(pid)
    keys_in_configuration(front, home)
    assert select.select([handle], [], [], 30)[0]
    os.close(handle)
    assert offered(front) is None
    assert set(daemons(front, helper, home)) == {str(home / "elsewhere" / "vault")}


def without_git(env: dict[str, str]) -> dict[str, str]:
    """The environment in which pre-commit runs git: no_git_env in pre_commit/git.py (simple-git leaves less)."""
    kept = {"GIT_EXEC_PATH", "GIT_SSH", "GIT_SSH_COMMAND", "GIT_SSL_CAINFO", "GIT_SSL_NO_VERIFY", "GIT_CONFIG_COUNT"}
    kept |= {"GIT_HTTP_PROXY_AUTHMETHOD", "GIT_ALLOW_PROTOCOL", "GIT_ASKPASS"}
    numbered = ("GIT_CONFIG_KEY_", "GIT_CONFIG_VALUE_")
    return {k: v for k, v in env.items() if not k.startswith("GIT_") or k.startswith(numbered) or k in kept}


@pytest.mark.parametrize("daemon", ["on", "off"])
def test_settings_survive_a_caller_that_drops_git_variables(
    front: Runner, scratch: Runner, helper: Path, daemon: str
) -> None:
    """By their second names: vault and key were not found, and git asked for a password."""
    secret = tokens.access_token()
    own = paths.OWN_PREFIX
    scratch.env[f"{own}DAEMON"] = daemon
    scratch(helper, "login", "--no-verify", "--access-token", "--for", "acme/app", stdin=secret)
    second = {
        paths.SECOND_PREFIX + name.removeprefix(own): value
        for name, value in scratch.env.items()
        if name.startswith(own)
    }
    assert f"{paths.SECOND_PREFIX}VAULT" in second
    run = Runner({**without_git(scratch.env), **second}, front.folder)
    assert f"password={secret}\n" in run(helper, "get", stdin=request()).stdout
    run.env[VAULT] = paths.vault_path(front.env)  # the first name counts
    assert run(helper, "get", stdin=request(), check=False).stdout == ""
