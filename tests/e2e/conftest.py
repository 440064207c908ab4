"""What the end-to-end tests share: the installed helper, and machines that are configured to use it."""

from collections.abc import Callable, Iterator
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


@pytest.fixture
def daemon(request: pytest.FixtureRequest) -> str:
    """The setting whether a daemon may run, as it may unless a test goes `either_way`."""
    setting: str = getattr(request, "param", "")
    return setting


@pytest.fixture
def new_machine(
    home: Path, env: dict[str, str], daemon: str, program: Path, bitbucket: FakeBitbucket, configuration: str
) -> Iterator[Callable[[Git], Machine]]:
    """Makes the test's machine with a git. At the end of every test: nobody has written or said a secret."""
    env = {**env, **key_settings(home), "GIT_CREDENTIAL_BITBUCKET_DAEMON": daemon}
    (home / ".gitconfig").write_text(configuration)
    made: list[Machine] = []

    def new(git: Git) -> Machine:
        made.append(Machine(home, env, git, program, bitbucket))
        return made[-1]

    yield new
    needles = Needles(bitbucket.secrets())
    assert not list(needles.files(home))
    assert not [found for machine in made for found in needles.texts(machine.told)]


@pytest.fixture
def machine(new_machine: Callable[[Git], Machine], git: Git) -> Machine:
    """A machine with each of the gits in turn."""
    return new_machine(git)


@pytest.fixture
def older(new_machine: Callable[[Git], Machine]) -> Machine:
    """A machine with the git that this one has."""
    return new_machine(git_versions.machine_git())


@pytest.fixture
def newer(new_machine: Callable[[Git], Machine], newer_git: Git) -> Machine:
    """A machine with a git that knows `state` and `continue`."""
    return new_machine(newer_git)
