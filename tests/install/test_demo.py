"""The demonstration: it passes in a strange environment, leaves nothing, and does not claim what did not happen."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import installed
from tests.running import end_processes_of

SCRIPT = installed.ROOT / "install" / "demo"
TIMEOUT_S = 280


@pytest.fixture
def folder(home: Path) -> Iterator[Path]:
    """Where the demonstration makes its directory."""
    folder = home / "temporary files"
    folder.mkdir()
    yield folder
    end_processes_of(folder)


def test_every_step_does_what_it_says_and_nothing_is_left(folder: Path, home: Path) -> None:
    """Also with settings and tokens of the person's own in the environment, and from another directory."""
    pip = {name: value for name, value in os.environ.items() if name in ("PIP_CERT", "PIP_FIND_LINKS", "PIP_INDEX_URL")}
    strange = {
        "CDPATH": "/",
        "PYTHONPATH": "/nonexistent",
        "PIP_USER": "1",
        "GIT_DIR": "/nonexistent",
        "GIT_CONFIG_COUNT": "none",
        "GIT_CREDENTIAL_BITBUCKET_DAEMON": "off",
        "BITBUCKET_TOKEN": "not a token",
        "XDG_RUNTIME_DIR": "/nonexistent",
        "LC_ALL": "POSIX",
    }
    env = {**pip, **strange, "HOME": str(home), "PATH": "/usr/local/bin:/usr/bin:/bin", "TMPDIR": str(folder)}
    before = sorted(home.rglob("*"))
    done = subprocess.run(
        [SCRIPT],
        env=env,
        cwd="/usr",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    if done.returncode and "No matching distribution" in done.stdout:
        pytest.skip("no package index can be reached from here")
    assert done.returncode == 0, done.stdout
    steps = re.findall(r"^ ?(\d+)  \S", done.stdout, re.MULTILINE)
    assert [int(number) for number in steps] == list(range(1, len(steps) + 1))
    assert f"All {len(steps)} steps did what they say" in done.stdout
    words = ("login --oauth", "git clone", "git push", "Push again", "--api-token", "--access-token", "exec", "--from")
    for word in (*words, "configure --host", "rotate"):
        assert word in done.stdout
    assert sorted(home.rglob("*")) == before


def test_a_push_that_did_not_arrive_fails_it(folder: Path, home: Path, executables: dict[str, Path]) -> None:
    """The git of this test says that it has pushed: the demonstration asks Bitbucket."""
    git = home / "bin" / "git"
    git.parent.mkdir()
    git.write_text(f'#!/bin/sh\n[ "$1" = push ] || exec {shutil.which("git")} "$@"\n')
    git.chmod(0o700)
    (folder / "tmp").mkdir()
    done = subprocess.run(
        [executables["portable"].parent / "python", "-m", "install.demo", folder],
        env={"HOME": str(home), "PATH": f"{git.parent}:/usr/bin:/bin"},
        cwd=installed.ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 1, done.stdout
    assert "FAILED: the commit is at Bitbucket" in done.stdout
    assert "did what they say" not in done.stdout
