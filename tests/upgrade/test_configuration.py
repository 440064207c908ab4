"""What 0.1.0 wrote for others to read: git's configuration, and the log of who asked for what."""

from pathlib import Path

import pytest

from tests.cli.conftest import NAME
from tests.running import Runner

CONFIGURED = """\
[user]
	name = Alice
[credential "https://bitbucket.org"]
	helper = 
	helper = {helper}
	useHttpPath = true
[credential "https://git.example.com:8443"]
	helper = 
	helper = {helper}
	useHttpPath = true
	provider = bitbucket
"""  # noqa: W291 - as git writes an empty value
LOGGED = """\
{"time":"2026-11-25T23:20:32.823Z","operation":"get","outcome":"nothing","place":"https://bitbucket.org/acme/app",\
"uid":0,"pid":19858,"program":["python","bash"]}
{"time":"2026-11-25T23:20:32.911Z","operation":"get","outcome":"given","place":"https://bitbucket.org/acme/app",\
"credential":"94399c70da07","uid":0,"pid":19932,"program":["git-credential-","bash"]}
{"time":"2026-11-25T23:20:33.367Z","operation":"exit","outcome":"asked","uid":0,"pid":20007,"program":["python","bash"]}
"""


@pytest.fixture
def configured(bare_run: Runner, home: Path, link: Path) -> Runner:
    """A person's configuration after `configure` and `configure --host` of 0.1.0."""
    (home / ".gitconfig").write_text(CONFIGURED.format(helper=link))
    return bare_run


@pytest.mark.parametrize("host", [[], ["--host", "https://git.example.com:8443"]])
def test_it_is_configured_already(configured: Runner, home: Path, host: list[str]) -> None:
    """The same is written today, so no byte changes."""
    before = (home / ".gitconfig").read_bytes()
    assert "already" in configured(NAME, "configure", *host).stdout
    assert (home / ".gitconfig").read_bytes() == before


def test_all_of_it_is_taken_back(configured: Runner, home: Path) -> None:
    configured(NAME, "unconfigure")
    assert (home / ".gitconfig").read_text() == "[user]\n\tname = Alice\n"


def test_a_log_is_read(bare_run: Runner, home: Path) -> None:
    """Its lines are shown, and found by repository and credential."""
    log = home / "log.jsonl"
    log.write_text(LOGGED)
    log.chmod(0o600)
    bare_run.env["GIT_CREDENTIAL_BITBUCKET_LOG"] = str(log)
    assert "exit" in bare_run(NAME, "log").stdout
    assert bare_run(NAME, "log", "--json", "--for", "acme/app").stdout.count("\n") == 2
    assert bare_run(NAME, "log", "--json", "--credential", "94399c70da07").stdout.count("\n") == 1
