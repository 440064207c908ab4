"""The wheel: native where it can be, portable where not, and what both contain."""

import os
import stat
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from tests import installed


def contents(wheel: Path) -> dict[str, bytes]:
    """What is in the wheel, by path."""
    with zipfile.ZipFile(wheel) as file:
        return {name: file.read(name) for name in file.namelist()}


def metadata(wheel: Path) -> dict[str, str]:
    """The wheel's own description (WHEEL)."""
    text = next(data for name, data in contents(wheel).items() if name.endswith(".dist-info/WHEEL"))
    return dict(Parser().parsestr(text.decode()).items())


def scripts(wheel: Path) -> dict[str, bytes]:
    """What the wheel puts among the executables."""
    return {name.rpartition("/")[2]: data for name, data in contents(wheel).items() if ".data/scripts/" in name}


@pytest.mark.parametrize("compiler", ["false", "/nonexistent/cc", ""])
def test_without_a_compiler_the_wheel_is_portable(tmp_path: Path, compiler: str) -> None:
    """A compiler that fails, is not there, or is not wanted leaves a wheel for every platform, and no error."""
    wheel = installed.build(tmp_path, compiler)
    assert wheel.name.endswith("-py3-none-any.whl")
    assert metadata(wheel)["Root-Is-Purelib"] == "true"
    assert scripts(wheel)["git-credential-bitbucket"].startswith(b"#!/bin/sh\n")


def test_pip_installs_the_source_where_path_has_no_compiler(tmp_path: Path) -> None:
    """`pip install .` succeeds with a PATH that holds no compiler, and what it installs runs."""
    empty = tmp_path / "bin"
    empty.mkdir()
    installed.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"])
    # The build backend is the one of the environment that runs the tests: nothing is downloaded.
    arguments: list[str | Path] = [
        "--python",
        tmp_path / "venv/bin/python",
        "install",
        "--no-deps",
        "--no-build-isolation",
    ]
    site_packages = next((tmp_path / "venv").glob("lib/python*/site-packages"))
    (site_packages / "dependencies.pth").write_text(os.path.dirname(os.path.dirname(pytest.__file__)) + "\n")
    installed.pip([*arguments, installed.ROOT], {"PATH": str(empty)})
    executable = tmp_path / "venv/bin/git-credential-bitbucket"
    assert executable.read_bytes().startswith(b"#!/bin/sh\n")
    done = subprocess.run([executable, "capability"], capture_output=True, check=True, timeout=60, env={})
    assert done.stdout.startswith(b"version 0\n")


def test_native_wheel_is_for_this_platform_and_any_python(wheels: dict[str, Path]) -> None:
    """The native wheel's tag names the platform and no Python version, for the relay needs none."""
    if "native" not in wheels:
        pytest.skip("there is no C compiler")
    tag = metadata(wheels["native"])["Tag"]
    assert tag.startswith("py3-none-")
    assert not tag.endswith("-any")
    assert metadata(wheels["native"])["Root-Is-Purelib"] == "false"
    assert not scripts(wheels["native"])["git-credential-bitbucket"].startswith(b"#!")


def test_both_wheels_hold_the_same_but_for_the_executable(wheels: dict[str, Path]) -> None:
    """The Python in the native wheel is the portable one's: no source of C, no test, no build hook in either."""
    names = [
        {name for name in contents(wheel) if ".dist-info/" not in name} for wheel in (wheels[kind] for kind in wheels)
    ]
    assert all(found == names[0] for found in names)
    assert not [name for name in names[0] if not name.startswith("git_credential_bitbucket")]
    assert not [name for name in names[0] if name.endswith(".c")]
    assert "git_credential_bitbucket/schemas/status.json" in names[0]
    for wheel in wheels.values():
        assert scripts(wheel).keys() == {"git-credential-bitbucket", "git-credential-bitbucket.py"}
        assert scripts(wheel)["git-credential-bitbucket.py"].startswith(b"#!python\n")


def test_scripts_are_executable_in_the_wheel(wheels: dict[str, Path]) -> None:
    """An installer that keeps the modes of the archive installs executables."""
    for wheel in wheels.values():
        with zipfile.ZipFile(wheel) as file:
            modes = {i.filename: i.external_attr >> 16 for i in file.infolist() if ".data/scripts/" in i.filename}
        assert all(mode & stat.S_IXUSR and mode & stat.S_IXOTH for mode in modes.values())


def test_there_is_no_entry_point(wheels: dict[str, Path]) -> None:
    """No console script: it would obey PYTHONPATH and cost twice as much as Python itself."""
    for wheel in wheels.values():
        assert not [name for name in contents(wheel) if name.endswith("entry_points.txt")]
