"""log: the access log as a person asks for it."""

import json
import shlex
from pathlib import Path

import pytest

from git_credential_bitbucket import access_log
from tests.cli.schemas import validated
from tests.fake_bitbucket import tokens
from tests.running import Runner

HELPER = "git-credential-bitbucket"
TURNS_IT_ON = "git config --global credentialBitbucket.log on"


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
    name = "log-events" if "--events" in options else "log"
    return [validated(name, line) for line in run(HELPER, "log", "--json", *options).stdout.split("\n") if line]


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
    assert {line["scope"] for line in entries(logging, "--for", "acme")} == {"https://bitbucket.org/acme/app"}
    assert {line["operation"] for line in entries(logging, "--operation", "store")} == {"store"}
    assert entries(logging, "--credential", str(lines[1]["credential"]), "-n", "1")[0]["operation"] == "get"
    assert entries(logging, "--since", "1h", "-n", "9" * 20) == lines
    table = logging(HELPER, "log").stdout
    assert "bitbucket.org/acme/app" in table
    assert secret not in table + json.dumps(lines)


def test_a_review_fails_for_what_is_flagged(logging: Runner, home: Path) -> None:
    """What was just logged in and used is fine; a token for the whole host that one repository uses is flagged."""
    told = logging(HELPER, "log", "--review", "--json")
    assert json.loads(told.stdout)["credentials"] == []
    logging(HELPER, "login", "--api-token", "--account", "alice", "--no-verify", stdin=tokens.api_token())
    asked(logging, "get", "acme/app.git")
    logging(HELPER, "daemon", "stop", check=False)  # what waits for the disk is written
    (event,) = entries(logging, "--events")
    assert (event["event"], event["account"], event["scope"]) == ("login", "alice", "https://bitbucket.org")
    assert "alice" in logging(HELPER, "log", "--events").stdout
    (fine,) = validated("log-review", logging(HELPER, "log", "--review", "--json").stdout)["credentials"]
    assert (fine["id"], fine["repositories"], fine["flags"]) == (event["credential"], ["bitbucket.org/acme/app"], [])
    path = home / ".local" / "share" / "git-credential-bitbucket" / "log.jsonl"
    line = {"time": "2024-01-01T00:00:00.000Z", "operation": "get", "outcome": "given", "credential": fine["id"]}
    path.write_text(json.dumps({**line, "place": "https://bitbucket.org/acme/app"}) + "\n" + path.read_text())
    flagged = logging(HELPER, "log", "--review", check=False)
    assert flagged.returncode == 1
    assert "wide: is for bitbucket.org, but only bitbucket.org/acme/app was asked for" in flagged.stdout
    assert "1 of 1 credentials are flagged" in flagged.stderr
    assert "the access log is off" not in flagged.stderr
    logging.env.pop(access_log.SETTING)
    told = logging(HELPER, "log", "--review")
    assert "the access log is off, so programs and repositories are unknown" in told.stderr
    assert f"hint: to turn it on, run: {TURNS_IT_ON}" in told.stderr


def test_without_a_log_the_way_to_one_is_told(keyed: Runner) -> None:
    """No file, one error and the command: run as it stands, the next request is in the log."""
    told = keyed(HELPER, "log", check=False)
    assert told.returncode == 1
    assert f"hint: to turn it on, run: {TURNS_IT_ON}\n" in told.stderr
    keyed(*shlex.split(TURNS_IT_ON))
    asked(keyed, "get", "acme/app.git")
    keyed(HELPER, "daemon", "stop", check=False)  # what waits for the disk is written
    assert "acme/app" in keyed(HELPER, "log").stdout
