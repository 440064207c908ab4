"""Programs that run git for people and drop its variables: settings in git's configuration reach us all the same."""

import os
import sys
from pathlib import Path

import pytest

from tests.daemon.daemons import eventually
from tests.e2e.sandbox import Machine

OWN = "GIT_CREDENTIAL_BITBUCKET_"
SIMPLE_GIT = Path(sys.prefix) / "node" / "node_modules"
HOOKS = "- {id: ok, name: ok, entry: 'true', language: system}\n"
CLONE = "require('simple-git').simpleGit().clone(process.argv[1], 'app').catch(e => { process.exitCode = 1; throw e })"


@pytest.fixture
def configured(older: Machine) -> Machine:
    """A machine whose vault and key lie where git's configuration says, with a token for acme/app in it.

    The daemon does not run: whoever asks first starts it.
    """
    for name in [name for name in older.env if name.startswith(OWN)]:
        del older.env[name]
    (older.home / "elsewhere").mkdir(mode=0o700)
    settings = {"vault": "~/elsewhere/vault", "keyFile": "~/key", "keyring": "off", "log": "~/elsewhere/log"}
    for key, value in settings.items():
        older.git("config", "--global", f"credentialBitbucket.{key}", value)
    older.standin.create_repository("acme/app", files={".pre-commit-hooks.yaml": HOOKS})
    older.git("config", "--global", "http.sslCAInfo", older.standin.ca_file)  # a variable would be dropped as well
    token = older.standin.issue_access_token("acme/app")
    older.run(older.program, "login", "--access-token", "--host", older.site, "--for", "acme/app", stdin=token)
    older.run(older.program, "daemon", "stop")
    return older


def test_pre_commit_fetches_private_hooks(configured: Machine) -> None:
    """It keeps a few variables that begin with GIT_ (pre_commit/git.py, no_git_env), and none of ours."""
    url = f"{configured.site}/acme/app.git"
    commit = configured.standin.head("acme/app")
    configured.git("init", "-q", "project")
    project = configured.work / "project"
    (project / ".pre-commit-config.yaml").write_text(
        f"repos: [{{repo: {url}, rev: {commit}, hooks: [{{id: ok}}]}}]\n", encoding="utf-8"
    )
    configured.git("add", ".", cwd=project)
    done = configured.run(sys.executable, "-m", "pre_commit", "run", "--all-files", cwd=project)
    assert "Passed" in done.stdout
    eventually((configured.home / "elsewhere" / "log").exists)  # the daemon that git started has read the keys, too


def test_simple_git_clones(configured: Machine) -> None:
    """It keeps none at all (its plugin allowEnvironment)."""
    if not (SIMPLE_GIT / "simple-git").is_dir():
        pytest.skip("simple-git is not installed: there is no npm")
    configured.run("node", "-e", CLONE, f"{configured.site}/acme/app.git", more={"NODE_PATH": os.fspath(SIMPLE_GIT)})
    assert (configured.work / "app" / ".pre-commit-hooks.yaml").read_text() == HOOKS
