"""Owns what the front end's tests share: the helper as git executes it, and an environment that it works in."""

import base64
import os
import shlex
import sys
from pathlib import Path

import pytest

from tests.fake_bitbucket.client import FakeBitbucket
from tests.running import Runner

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
    key = home / "key"
    key.write_bytes(base64.b64encode(os.urandom(32)))
    key.chmod(0o600)
    env = {
        **bare_env,
        "GIT_CREDENTIAL_BITBUCKET_KEY_FILE": str(key),
        "GIT_CREDENTIAL_BITBUCKET_KEYRING": "off",
    }
    configure(
        env, home, [("credential.helper", ""), ("credential.helper", str(helper)), ("credential.useHttpPath", "true")]
    )
    return env


@pytest.fixture
def front(front_env: dict[str, str], home: Path) -> Runner:
    """Runs programs in `front_env`."""
    return Runner(front_env, home / "work")


@pytest.fixture
def bitbucket_front(front_env: dict[str, str], home: Path, bitbucket: FakeBitbucket) -> Runner:
    """As `front`, with the stand-in as a Bitbucket host."""
    configure(front_env, home, bitbucket.git_config())
    return Runner({**front_env, "GIT_SSL_CAINFO": bitbucket.ca_file}, home / "work")


def configure(env: dict[str, str], home: Path, settings: list[tuple[str, str]]) -> None:
    """Add to git's global configuration."""
    run = Runner(env, home / "work")
    for name, value in settings:
        run("git", "config", "--global", "--add", name, value)


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
