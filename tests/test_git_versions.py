"""The newer git runs on this machine, by its own libraries, and knows what it is there for."""

import subprocess

import pytest

from tests import git_versions
from tests.git_versions import Git


def test_the_newer_git_knows_state_and_needs_nothing_from_the_environment(newer_git: Git) -> None:
    """`git credential capability` exists since 2.46; the environment holds a PATH and no more."""
    answer = subprocess.run(
        [newer_git.path, "credential", "capability"],
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "capability state" in answer.stdout
    assert newer_git.version >= git_versions.NEWER_SINCE


def test_a_machine_without_git_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(git_versions.GitMissing, match="no git in PATH"):
        git_versions.machine_git()


def test_a_machine_without_apt_is_told_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """An old git, an empty cache and no apt-get: the reason names the tools."""
    folder = tmp_path_factory.mktemp("bin")
    (folder / "git").write_text("#!/bin/sh\necho git version 2.39.5\n")
    (folder / "git").chmod(0o700)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    git_versions.newer_git.cache_clear()
    with pytest.raises(git_versions.GitMissing, match=r"2\.46 or later needs apt-get and dpkg-deb"):
        git_versions.newer_git()
    git_versions.newer_git.cache_clear()
