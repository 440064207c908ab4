"""Owns the fixtures that all tests share: a home of their own, a built-up environment, a stand-in, gits, a runner."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests import git_versions, installed, sandbox
from tests.fake_bitbucket.client import ConsumerKey, FakeBitbucket
from tests.helpers import bitbucket_front, front, front_env, helper  # noqa: F401 - fixtures of the rooms that git meets
from tests.running import Runner
from tests.valkey import valkey, valkey_process  # noqa: F401 - fixtures

# A shell starts what it puts in the background deaf to the first two, nohup(1) to the third, and every process below
# inherits that: no test of ours could press Ctrl-C, or hang up.
for _signal in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
    if signal.getsignal(_signal) is signal.SIG_IGN:
        signal.signal(_signal, signal.default_int_handler if _signal is signal.SIGINT else signal.SIG_DFL)

# What decides about a change gives the same verdict each time, however busy the machine is. For other examples than
# those of every run: pytest --hypothesis-profile=random
settings.register_profile("random", derandomize=False, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", settings.get_profile("random"), derandomize=True)
settings.load_profile("same")


@pytest.fixture
def home() -> Iterator[Path]:
    """A home directory of this test's own; whatever still runs with this HOME ends with the test."""
    with sandbox.new_home() as home:
        yield home


@pytest.fixture
def bare_env(home: Path) -> dict[str, str]:
    """An environment built up from nothing; no stand-in."""
    return sandbox.environment(home)


@pytest.fixture
def env(bare_env: dict[str, str], bitbucket: FakeBitbucket) -> dict[str, str]:
    """`bare_env`, with the stand-in's CA where git and git-lfs look for it."""
    return {**bare_env, "GIT_SSL_CAINFO": bitbucket.ca_file}


@pytest.fixture(scope="session")
def _bitbucket_process() -> Iterator[FakeBitbucket]:
    with FakeBitbucket() as bitbucket:
        yield bitbucket


@pytest.fixture
def bitbucket(_bitbucket_process: FakeBitbucket) -> FakeBitbucket:
    """A stand-in Bitbucket as new: the process is the worker's, everything in it is this test's."""
    _bitbucket_process.reset()
    return _bitbucket_process


@pytest.fixture
def url(bitbucket: FakeBitbucket) -> str:
    """The address of a repository, acme/app."""
    return bitbucket.create_repository("acme/app")


@pytest.fixture
def consumer(bitbucket: FakeBitbucket) -> ConsumerKey:
    """A private OAuth consumer of the workspace acme."""
    return bitbucket.add_consumer()


@pytest.fixture(params=["machine", "newer"])
def git(request: pytest.FixtureRequest) -> git_versions.Git:
    """Each of the gits in turn: the machine's, and one that knows `state` and `continue`."""
    try:
        return git_versions.machine_git() if request.param == "machine" else git_versions.newer_git()
    except git_versions.GitMissing as exc:
        pytest.skip(str(exc))


@pytest.fixture
def newer_git() -> git_versions.Git:
    """A git of at least 2.46."""
    try:
        return git_versions.newer_git()
    except git_versions.GitMissing as exc:
        pytest.skip(str(exc))


@pytest.fixture
def run(env: dict[str, str], home: Path) -> Runner:
    """Runs a program in `env`, in the home's `work`."""
    return Runner(env, home / "work")


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The built wheels, "portable" and (where there is a C compiler) "native": once for all workers."""
    return installed.wheels(_common(tmp_path_factory))


@pytest.fixture(scope="session")
def executables(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What git executes, installed from each of the wheels: once for all workers, so nobody may change it."""
    return installed.installations(wheels, _common(tmp_path_factory))


@pytest.fixture(params=installed.KINDS)
def executable(request: pytest.FixtureRequest, executables: dict[str, Path]) -> Path:
    """Each of the `executables` in turn."""
    if request.param not in executables:
        pytest.skip("there is no C compiler")
    return executables[request.param]


def _common(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.getbasetemp()
    return (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "installed"
