"""Owns what the front end's tests share: the helper as git executes it, and an environment that it works in."""

import base64
import os
import shlex
import sys
from pathlib import Path

import pytest

from tests.fake_bitbucket.client import FakeBitbucket
from tests.running import Runner
from tests.sandbox import key_settings, write_git_config

CHECKOUT = Path(__file__).parents[1]
ENTER = (
    f"import sys; sys.path.append({str(CHECKOUT)!r});"
    "from git_credential_bitbucket.helper.relay import main; sys.exit(main(sys.argv))"
)


@pytest.fixture
def helper(home: Path) -> Path:
    """The Python front end as an executable, started isolated as the installed one is."""
    path = home / "bin" / "git-credential-bitbucket"
    path.parent.mkdir()
    path.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -I -S -c {shlex.quote(ENTER)} "$@"\n')
    path.chmod(0o755)
    return path


@pytest.fixture
def front_env(bare_env: dict[str, str], home: Path, helper: Path) -> dict[str, str]:
    """An environment in which git uses the helper, with a key file and without a keyring."""
    settings = [("credential.helper", ""), ("credential.helper", str(helper)), ("credential.useHttpPath", "true")]
    write_git_config(home / ".gitconfig", settings)
    return {**bare_env, **key_settings(home, base64.b64encode(os.urandom(32)))}


@pytest.fixture
def front(front_env: dict[str, str], home: Path) -> Runner:
    """Runs programs in `front_env`."""
    return Runner(front_env, home / "work")


@pytest.fixture
def bitbucket_front(front_env: dict[str, str], home: Path, bitbucket: FakeBitbucket) -> Runner:
    """As `front`, with the stand-in as a Bitbucket host."""
    write_git_config(home / ".gitconfig", bitbucket.git_config())
    return Runner({**front_env, "GIT_SSL_CAINFO": bitbucket.ca_file}, home / "work")


def request(path: str = "acme/app.git", host: str = "bitbucket.org", **more: str) -> str:
    """A request as git writes it."""
    fields = {"protocol": "https", "host": host, "path": path, **more}
    return "".join(f"{key}={value}\n" for key, value in fields.items())


def socket_of(home: Path) -> Path:
    """Where the daemon listens for git."""
    return home / "run" / "git-credential-bitbucket" / "socket"


def control_of(home: Path) -> Path:
    """Where the daemon listens for everything else."""
    return home / "run" / "git-credential-bitbucket-control" / "socket"
