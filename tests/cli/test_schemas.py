"""Every `--json` has a schema in the package, and what the verbs really print is what it says."""

from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from git_credential_bitbucket import access_log
from git_credential_bitbucket.cli import app
from tests.cli.schemas import FOLDER, validated
from tests.fake_bitbucket import tokens
from tests.fake_bitbucket.client import FakeBitbucket
from tests.running import Runner

HELPER = "git-credential-bitbucket"
DOCUMENTS = {
    "status": "status --check",
    "explain": "explain acme/app --check",
    "expires": "expires",
    "doctor": "doctor --fix",
    "doctor-live": "doctor --live",
    "audit": "audit .",
    "log": "log",
    "log-events": "log --events",
    "log-review": "log --review",
    "daemon-status": "daemon status",
    "daemon-list": "daemon list",
    "grant-list": "grant list",
    "token": "token acme/app",
    "vault-show": "vault show",
}
"""What prints it, by the schema's name."""


@pytest.fixture
def used(keyed: Runner, bitbucket: FakeBitbucket, home: Path) -> Runner:
    """A machine where everything has something to tell: tokens, one of them rejected, a log, a secret in plain text."""
    keyed.env[access_log.SETTING] = "on"
    keyed("git", "config", "--global", "http.proxy", bitbucket.proxy_url)
    keyed(HELPER, "configure")
    bitbucket.create_repository("acme/app")
    narrow = bitbucket.issue_access_token("acme/app")
    keyed(HELPER, "login", "--access-token", "--for", "acme/app", stdin=narrow)
    keyed(HELPER, "login", "--api-token", "--account", "alice@example.com", stdin=bitbucket.issue_api_token("alice"))
    keyed(HELPER, "grant", "--for", "acme/app")
    for operation, password in (("get", ""), ("erase", f"password={narrow}\n")):
        keyed(HELPER, operation, stdin=f"protocol=https\nhost=bitbucket.org\npath=acme/app\n{password}")
    (home / "work" / ".env").write_text(f"TOKEN={tokens.api_token()}\nBITBUCKET_APP_PASSWORD=$X\n")
    return keyed


def test_what_each_verb_prints_is_described(used: Runner) -> None:
    """To the last key: none is missing, and none is there that the schema does not name."""
    printed = {name: used(HELPER, *words.split(), "--json", check=False).stdout for name, words in DOCUMENTS.items()}
    for name, text in printed.items():
        lines = text.splitlines() if name in {"log", "log-events"} else [text]
        assert all(validated(name, line) for line in lines), name
        assert lines, name


def test_every_verb_that_prints_json_has_a_schema() -> None:
    """And every schema a verb, or another schema that refers to it."""
    verbs = {
        " ".join(words.split()[:2] if words.split()[0] in {"daemon", "grant", "vault"} else words.split()[:1])
        for words in DOCUMENTS.values()
    }
    assert {
        verb for verb, command in _commands(app.verbs, ()) if any(o.name == "as_json" for o in command.params)
    } == verbs
    assert {path.stem for path in FOLDER.iterdir()} == {*DOCUMENTS, "credential"}


def _commands(group: click.Group, before: tuple[str, ...]) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from _commands(command, (*before, name))
        else:
            yield " ".join((*before, name)), command
