"""The script that installs for a user: what it leaves behind, a second time too, and what it does not touch."""

import os
import plistlib
import signal
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


def test_installs_configures_upgrades_and_is_removed(env: dict[str, str], tmp_path: Path) -> None:
    """An environment, links that stay, git configured; a second run changes nothing of that and adds the services.

    `--remove` keeps the vault. systemctl and launchctl are the test's, and note what they are told: a user's systemd
    cannot be had in a container, and what it does with the units is test_services' to try.
    """
    told = tmp_path / "told"
    (tmp_path / "bin").mkdir()
    for name in ("systemctl", "launchctl"):
        (tmp_path / "bin" / name).write_text(f'#!/bin/sh\necho {name} "$@" >>{told}\n')
        (tmp_path / "bin" / name).chmod(0o700)
    env["PATH"] = f"{tmp_path / 'bin'}:{env['PATH']}"
    done = install(env)
    if done.returncode and "No matching distribution" in done.stderr:
        pytest.skip("no package index can be reached from here")
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if line.endswith(" … done")] == done.stdout.splitlines()[:3]
    assert "open a new terminal" in done.stdout
    home = Path(env["HOME"])
    link = home / ".local/bin" / installed.NAME
    assert link.readlink() == home / ".local/share" / installed.NAME / "venv/bin" / installed.NAME
    assert subprocess.run([link, "version"], env=env, capture_output=True, check=True).stdout.startswith(b"git-cred")
    configured = config(env)
    assert "credential.https://bitbucket.org.helper=" in configured
    # Not the path into the environment: the link outlives it. Quoted, for git gives the value to a shell.
    assert str(home / ".local/bin") in configured.replace("'", "")
    assert (home / ".local/share" / installed.NAME).stat().st_mode & 0o077 == 0
    assert not told.exists()

    done = install(env, "--no-configure", "--systemd", "--launchd", "--with", "qr")
    assert done.returncode == 0, done.stderr
    assert config(env) == configured
    assert list((home / ".local/share" / installed.NAME / "venv").glob("lib/*/site-packages/segno"))
    units = sorted(path.name for path in (home / ".config/systemd/user").iterdir())
    agent = home / "Library/LaunchAgents" / f"{installed.NAME}.plist"
    assert units == [f"{installed.NAME}.service", f"{installed.NAME}.socket"]
    with agent.open("rb") as file:
        assert plistlib.load(file)["ProgramArguments"][0] == str(home / ".local/bin" / installed.NAME)

    pages = subprocess.run(
        ["git", "help", "credential-bitbucket"],
        env={**env, "PATH": f"{link.parent}:{env['PATH']}", "MANPAGER": "cat", "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "git-credential-bitbucket - give git" in pages.stdout, pages.stderr

    (home / ".local/share" / installed.NAME / "vault").touch(mode=0o600)
    done = install(env, "--remove")
    assert done.returncode == 0, done.stderr
    left = [path for path in home.rglob("*") if not path.is_dir()]
    assert left == [home / ".gitconfig", home / ".local/share" / installed.NAME / "vault"]
    assert config(env) == ""
    domain = f"gui/{os.getuid()}"
    assert told.read_text().splitlines() == [
        "systemctl --user daemon-reload",
        f"systemctl --user enable --now {installed.NAME}.socket",
        f"launchctl bootstrap {domain} {agent}",
        f"systemctl --user disable --now {installed.NAME}.socket {installed.NAME}.service",
        f"launchctl bootout {domain}/{installed.NAME}",
    ]


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


def test_ctrl_c_leaves_nothing(env: dict[str, str]) -> None:
    """What a first installation has made until then goes again, and the exit code is a shell's for SIGINT."""
    with subprocess.Popen(
        [SCRIPT], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, cwd="/"
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(len("making an environment")) == b"making an environment"
        os.killpg(process.pid, signal.SIGINT)
        told = process.stderr.read().decode()
        assert process.wait(TIMEOUT_S) == 130
    assert "nothing was installed; what was begun has been removed" in told
    assert not list(Path(env["HOME"], ".local/share").iterdir())
    assert config(env) == ""


@pytest.mark.parametrize("words", [["--no-configur"], ["--with"], ["--with", "qr,rm"]])
def test_refuses_what_it_does_not_know(env: dict[str, str], words: list[str]) -> None:
    done = install(env, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert list(Path(env["HOME"], ".local/share").iterdir()) == []
