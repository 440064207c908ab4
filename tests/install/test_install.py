"""The script that installs for a user: what it leaves behind, a second time too, and what it does not touch."""

import os
import subprocess
from pathlib import Path

import pytest

from tests import installed

SCRIPT = installed.ROOT / "install" / "install"
TIMEOUT_S = 300


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """A user's environment; the home has a space in its name."""
    home = tmp_path / "a home"
    (home / ".local/share").mkdir(parents=True)
    pip = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    return {**pip, "HOME": str(home), "PATH": "/usr/local/bin:/usr/bin:/bin", "GIT_CONFIG_NOSYSTEM": "1"}


def install(env: dict[str, str], *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the script to its end."""
    return subprocess.run(
        [SCRIPT, *arguments], env=env, capture_output=True, text=True, check=False, timeout=TIMEOUT_S, cwd="/"
    )


def config(env: dict[str, str]) -> str:
    """Git's configuration, of the user alone."""
    command = ["git", "config", "--global", "--list"]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60).stdout


def test_installs_configures_and_upgrades(env: dict[str, str]) -> None:
    """An environment of its own, a link that stays, git configured to use it; a second run changes nothing."""
    done = install(env)
    if done.returncode and "No matching distribution" in done.stderr:
        pytest.skip("no package index can be reached from here")
    assert done.returncode == 0, done.stderr
    home = Path(env["HOME"])
    link = home / ".local/bin" / installed.NAME
    assert link.readlink() == home / ".local/share" / installed.NAME / "venv/bin" / installed.NAME
    assert subprocess.run([link, "version"], env=env, capture_output=True, check=True).stdout.startswith(b"git-cred")
    configured = config(env)
    assert "credential.https://bitbucket.org.helper=" in configured
    # Not the path into the environment: the link outlives it. Quoted, for git gives the value to a shell.
    assert str(home / ".local/bin") in configured.replace("'", "")
    assert (home / ".local/share" / installed.NAME).stat().st_mode & 0o077 == 0

    done = install(env)
    assert done.returncode == 0, done.stderr
    assert config(env) == configured


@pytest.mark.parametrize("suffix", ["", ".py"])
def test_leaves_another_installation_alone(env: dict[str, str], suffix: str) -> None:
    """What pip or pipx put into ~/.local/bin is theirs: nothing is changed, and the way out is said."""
    theirs = Path(env["HOME"], ".local/bin", installed.NAME + suffix)
    theirs.parent.mkdir()
    theirs.symlink_to("/nonexistent/venv")
    done = install(env)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"install: error: {theirs} ")
    assert "install: hint: " in done.stderr
    assert theirs.readlink() == Path("/nonexistent/venv")
    assert config(env) == ""


def test_refuses_what_it_does_not_know(env: dict[str, str]) -> None:
    """A mistyped option installs nothing."""
    done = install(env, "--no-configur")
    assert (done.returncode, done.stdout) == (2, "")
    assert list(Path(env["HOME"], ".local/share").iterdir()) == []
