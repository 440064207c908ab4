"""What the tests of the verbs share: the executable of this checkout in a person's ~/.local/bin."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.cli.person import Person
from tests.fake_bitbucket.client import FakeBitbucket
from tests.running import Runner
from tests.sandbox import environment, key_settings, new_home, write_git_config

ROOT = Path(__file__).parents[2]
NAME = "git-credential-bitbucket"


@pytest.fixture(scope="session")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder laid out as an installer does, with the portable executable; the package in it is the checkout's."""
    prefix = tmp_path_factory.mktemp("prefix")
    (prefix / "bin").mkdir()
    shutil.copy(ROOT / "install" / NAME, prefix / "bin")
    script = (ROOT / "install" / f"{NAME}.py").read_text()
    (prefix / "bin" / f"{NAME}.py").write_text(script.replace("#!python", f"#!{sys.executable}", 1))
    packages = prefix / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    packages.mkdir(parents=True)
    (packages / "git_credential_bitbucket").symlink_to(ROOT / "git_credential_bitbucket")
    return prefix


@pytest.fixture
def link(home: Path, prefix: Path) -> Path:
    """The executable by the link that an installer puts into ~/.local/bin."""
    link = home / ".local" / "bin" / NAME
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(prefix / "bin" / NAME)
    return link


@pytest.fixture(scope="session")
def configuration(prefix: Path) -> str:
    """What `configure` writes into git's configuration, with `{home}` for the home; it runs once for all tests."""
    with new_home() as home:
        (home / ".local" / "bin").mkdir()
        (home / ".local" / "bin" / NAME).symlink_to(prefix / "bin" / NAME)
        env = environment(home)
        env["PATH"] = f"{home}/.local/bin{os.pathsep}{env['PATH']}"
        Runner(env, home)(NAME, "configure")
        return (home / ".gitconfig").read_text().replace(str(home), "{home}")


@pytest.fixture
def bare_run(bare_env: dict[str, str], home: Path, link: Path) -> Runner:
    """Runs programs without a stand-in; the helper is on PATH."""
    env = {**bare_env, "PATH": f"{link.parent}{os.pathsep}{bare_env['PATH']}"}
    return Runner(env, home / "work")


@pytest.fixture
def run(env: dict[str, str], home: Path, link: Path, bitbucket: FakeBitbucket) -> Runner:
    """Runs programs with a stand-in that git's configuration opts in; the helper is on PATH."""
    write_git_config(home / ".gitconfig", bitbucket.git_config())
    return Runner({**env, "PATH": f"{link.parent}{os.pathsep}{env['PATH']}"}, home / "work")


@pytest.fixture
def person(run: Runner) -> Person:
    """Somebody at a terminal, on a machine without a keyring: the vault has a passphrase, or is yet to get one."""
    return Person({**run.env, "GIT_CREDENTIAL_BITBUCKET_KEYRING": "off", "TERM": "xterm-256color"}, run.folder)


@pytest.fixture
def keyed(run: Runner, home: Path) -> Runner:
    """As `run`, with the vault's key in a file: nobody is asked for anything."""
    run.env |= key_settings(home)
    return run


@pytest.fixture
def configured(keyed: Runner, home: Path, configuration: str) -> Runner:
    """As `keyed`, with git asking this helper."""
    with (home / ".gitconfig").open("a") as file:
        file.write(configuration.replace("{home}", str(home)))
    return keyed
