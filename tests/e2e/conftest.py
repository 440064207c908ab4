"""What the end-to-end tests share: the installed helper, and machines that are configured to use it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import git_versions, installed
from tests.e2e.leaks import Needles
from tests.e2e.sandbox import Machine
from tests.fake_bitbucket.client import FakeBitbucket
from tests.git_versions import Git
from tests.running import Runner
from tests.sandbox import key_settings


@pytest.fixture(scope="session")
def program(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What git executes, as a user of this machine gets it: with the native relay where there is a C compiler."""
    return installed.install(wheels.get("native", wheels["portable"]), tmp_path_factory.mktemp("installed") / "venv")


@pytest.fixture(scope="session")
def configuration(program: Path, _bitbucket_process: FakeBitbucket, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What `configure` writes into git's configuration, once for all tests; and that the stand-in is a Bitbucket."""
    home = tmp_path_factory.mktemp("configured")
    run = Runner({"HOME": str(home), "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}, home)
    for name, value in [*_bitbucket_process.git_config(), ("init.defaultBranch", "main")]:
        run("git", "config", "--global", name, value)
    run(program, "configure", "--host", _bitbucket_process.url)
    return (home / ".gitconfig").read_text()


def _machine(
    home: Path, env: dict[str, str], git: Git, program: Path, bitbucket: FakeBitbucket, configuration: str
) -> Machine:
    (home / ".gitconfig").write_text(configuration)
    return Machine(home, {**env, **key_settings(home)}, git, program, bitbucket)


def _checked(machine: Machine) -> Iterator[Machine]:
    """At the end of every test: nobody has written or said a secret."""
    yield machine
    needles = Needles(machine.standin.secrets())
    assert not list(needles.files(machine.home))
    assert not list(needles.texts(machine.told))


@pytest.fixture
def machine(
    home: Path, env: dict[str, str], git: Git, program: Path, bitbucket: FakeBitbucket, configuration: str
) -> Iterator[Machine]:
    """A machine with each of the gits in turn."""
    yield from _checked(_machine(home, env, git, program, bitbucket, configuration))


@pytest.fixture
def older(
    home: Path, env: dict[str, str], program: Path, bitbucket: FakeBitbucket, configuration: str
) -> Iterator[Machine]:
    """A machine with the git that this one has."""
    yield from _checked(_machine(home, env, git_versions.machine_git(), program, bitbucket, configuration))


@pytest.fixture
def newer(
    home: Path, env: dict[str, str], newer_git: Git, program: Path, bitbucket: FakeBitbucket, configuration: str
) -> Iterator[Machine]:
    """A machine with a git that knows `state` and `continue`."""
    yield from _checked(_machine(home, env, newer_git, program, bitbucket, configuration))


@pytest.fixture(params=["daemon", "in process"])
def place(request: pytest.FixtureRequest, machine: Machine) -> Machine:
    """A machine with each of the gits, where the daemon answers and where none may run."""
    if request.param == "in process":
        machine.env["GIT_CREDENTIAL_BITBUCKET_DAEMON"] = "off"
    return machine
