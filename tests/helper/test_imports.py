"""What the hot path imports: the list is the budget."""

import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
OS = {"_collections_abc", "_stat", "errno", "genericpath", "os", "os.path", "posixpath", "stat"}
"""`os` and what it brings; `errno`, which is built in, since Python 3.13."""
RELAY = OS | {
    "_socket",
    "git_credential_bitbucket",
    "git_credential_bitbucket.errors",
    "git_credential_bitbucket.client",
    "git_credential_bitbucket.client.ipc",
    "git_credential_bitbucket.helper",
    "git_credential_bitbucket.helper.relay",
    "git_credential_bitbucket.paths",
}
ENVIRONMENT = RELAY | {
    "_blake2",
    "_operator",
    "git_credential_bitbucket.bitbucket",
    "git_credential_bitbucket.bitbucket.hosts",
    "git_credential_bitbucket.bitbucket.token_kinds",
    "git_credential_bitbucket.bitbucket.scopes",
    "git_credential_bitbucket.client.environment_tokens",
    "git_credential_bitbucket.helper.fallback",
    "git_credential_bitbucket.client.secret_markers",
    "git_credential_bitbucket.client.messages",
    "git_credential_bitbucket.secret",
    "git_credential_bitbucket.url_match",
    "git_credential_bitbucket.git_protocol",
}


def added_by(code: str, **env: str) -> set[str]:
    """The modules that `code` adds to a bare, isolated Python."""
    report = (
        f"import sys; sys.path.append({str(CHECKOUT)!r}); bare = set(sys.modules)\n{code}\n"
        "sys.stderr.write(' '.join(set(sys.modules) - bare))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", report],
        input=b"protocol=https\nhost=bitbucket.org\npath=acme/app.git\n",
        env=env,
        capture_output=True,
        timeout=60,
        check=True,
    )
    return set(done.stderr.decode().split())


def test_relay_imports_next_to_nothing() -> None:
    """`_socket`, `os`, and of ours paths and errors: all else costs every git command."""
    assert added_by("import git_credential_bitbucket.helper.relay") <= RELAY


@pytest.mark.parametrize("variable", ["BITBUCKET_TOKEN", "BITBUCKET_TOKENS_FILE"])
@pytest.mark.parametrize("operation", ["get", "store", "erase"])
def test_token_from_the_environment_needs_no_heavy_module(operation: str, variable: str, home: Path) -> None:
    """A CI job's commands are answered without subprocess, json, re, dataclasses or anything third-party."""
    code = f"from git_credential_bitbucket.helper import relay; relay.relay({operation!r})"
    (home / "tokens").touch(0o600)
    (home / "tokens").write_text("acme=made up")
    given = str(home / "tokens") if variable.endswith("_FILE") else "made up"
    env = {"HOME": str(home), "XDG_RUNTIME_DIR": str(home / "run"), variable: given}
    more = {"git_credential_bitbucket.files"} if operation == "erase" else set()  # it leaves a mark
    assert added_by(code, **env) <= ENVIRONMENT | more


def test_what_starts_a_daemon_needs_no_json_and_no_enum(home: Path) -> None:
    """Nobody is answered before the daemon runs: `signal` and `json` would bring enum and re, 9 ms."""
    code = (
        "from git_credential_bitbucket.helper import fallback; from git_credential_bitbucket.client import "
        "agent_client, daemon_launcher; daemon_launcher.document({'HOME': 'made up'})"
    )
    assert not added_by(code, HOME=str(home)) & {"enum", "json", "re", "signal", "typing"}
