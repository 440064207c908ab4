"""`version`: shows this program's version, and those of Python, git and packages."""

from __future__ import annotations

import os
import platform
from importlib import metadata

import click

from git_credential_bitbucket import __version__, git_config
from git_credential_bitbucket.cli import options
from git_credential_bitbucket.cli.app import is_verbose
from git_credential_bitbucket.client import messages
from git_credential_bitbucket.errors import SettingsError
from git_credential_bitbucket.ui.output import say

PACKAGES = ("cryptography", "keyring", "requests-oauthlib", "click", "rich", "platformdirs")


@options.verb("version")
@click.option("-v", "--verbose", is_flag=True, help="Also show the versions of Python, git and packages.")
def command(*, verbose: bool) -> None:
    """Print versions."""
    say(f"{messages.NAME} {__version__}")
    if verbose or is_verbose():
        for name, version in (("python", platform.python_version()), ("git", _git()), *map(_package, PACKAGES)):
            say(f"{name} {version}")


def _git() -> str:
    try:
        done = git_config.run_git(os.environ, "--version")
    except SettingsError:
        return "(not found)"
    return done.stdout.decode("utf-8", "replace").removeprefix("git version ").strip() + f" ({done.args[0]})"


def _package(name: str) -> tuple[str, str]:
    try:
        return name, metadata.version(name)
    except metadata.PackageNotFoundError:
        return name, "(not found)"
