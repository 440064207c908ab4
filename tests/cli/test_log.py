"""log: the audit log as a person asks for it."""

import json

import pytest

from git_credential_bitbucket import access_log
from tests.fake_bitbucket import tokens
from tests.running import Runner

HELPER = "git-credential-bitbucket"


@pytest.fixture(params=["daemon", "in process"])
def logging(request: pytest.FixtureRequest, keyed: Runner) -> Runner:
    """A person whose log is on, with a daemon and where none may run."""
    keyed.env[access_log.SETTING] = "on"
    if request.param == "in process":
        keyed.env["GIT_CREDENTIAL_BITBUCKET_DAEMON"] = "off"
    return keyed


def asked(run: Runner, operation: str, path: str, more: str = "") -> str:
    """What the helper answers git."""
    return run(HELPER, operation, stdin=f"protocol=https\nhost=bitbucket.org\npath={path}\n{more}", check=False).stdout


def entries(run: Runner, *options: str) -> list[dict[str, object]]:
    """The log's lines as JSON."""
    return [json.loads(line) for line in run(HELPER, "log", "--json", *options).stdout.split("\n") if line]


def test_who_was_given_what(logging: Runner) -> None:
    """A line for each operation, filtered by place, operation, credential and age; a table without a secret."""
    secret = tokens.access_token()
    text = f"protocol=https\nhost=bitbucket.org\npath=acme/app.git\nusername=x-token-auth\npassword={secret}\n\n"
    settings = ("-c", "credential.helper=bitbucket", "-c", "credential.useHttpPath=true")
    logging("git", *settings, "credential", "approve", stdin=text)
    assert secret in asked(logging, "get", "acme/app.git")
    asked(logging, "get", "other/app.git")
    logging(HELPER, "daemon", "stop", check=False)  # what waits for the disk is written
    lines = entries(logging)
    assert [(line["operation"], line["outcome"]) for line in lines[:2]] == [("store", "done"), ("get", "given")]
    assert {line["place"] for line in entries(logging, "--for", "acme")} == {"https://bitbucket.org/acme/app"}
    assert {line["operation"] for line in entries(logging, "--operation", "store")} == {"store"}
    assert entries(logging, "--credential", str(lines[1]["credential"]), "-n", "1")[0]["operation"] == "get"
    assert entries(logging, "--since", "1h") == lines
    table = logging(HELPER, "log").stdout
    assert "bitbucket.org/acme/app" in table
    assert secret not in table + json.dumps(lines)


def test_without_a_log_the_way_to_one_is_told(keyed: Runner) -> None:
    """No file, one error and the setting."""
    told = keyed(HELPER, "log", check=False)
    assert told.returncode == 1
    assert f"hint: set {access_log.SETTING}=on" in told.stderr
