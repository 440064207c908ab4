"""What a release consists of: the same bytes wherever it is built, and a list of what is in it."""

import hashlib
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from install import notes, wheels
from tests.installed import ROOT

TIMEOUT_S = 180


def build(root: Path, folder: Path, umask: int, zone: str) -> dict[str, bytes]:
    """Everything that needs no compiler, built from the source in `root` into `folder`: contents by name."""
    env = {"PATH": os.defpath, "HOME": str(folder.parent), "TZ": zone}
    command: list[str | Path] = [sys.executable, "-m", "install.wheels", "--out", folder, "--only", "pure"]
    subprocess.run(command, cwd=root, env=env, umask=umask, check=True, capture_output=True, timeout=TIMEOUT_S)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What is made of this checkout."""
    return build(ROOT, tmp_path_factory.mktemp("built") / "out", 0o022, "UTC")


def test_it_is_made_the_same_anywhere(built: dict[str, bytes], tmp_path: Path) -> None:
    """From its own source distribution, in another folder, under another umask and time zone: the same bytes."""
    (name,) = [name for name in built if name.endswith(".tar.gz")]
    (tmp_path / name).write_bytes(built[name])
    with tarfile.open(tmp_path / name) as archive:
        archive.extractall(tmp_path / "a folder", filter="data")
    (root,) = (tmp_path / "a folder").iterdir()
    again = build(root, tmp_path / "out", 0o077, "Pacific/Kiritimati")
    assert {name: hashlib.sha256(data).hexdigest() for name, data in again.items()} == {
        name: hashlib.sha256(data).hexdigest() for name, data in built.items()
    }


def test_the_checksums_are_those_of_the_files(built: dict[str, bytes]) -> None:
    """As sha256sum(1) reads them: one line for each file that is released."""
    lines = [line.split("  ") for line in built["SHA256SUMS"].decode().splitlines()]
    assert {name: checksum for checksum, name in lines} == {
        name: hashlib.sha256(data).hexdigest() for name, data in built.items() if name != "SHA256SUMS"
    }


def test_a_wheel_lists_what_it_needs(built: dict[str, bytes], tmp_path: Path) -> None:
    """An SBOM where PEP 770 wants it: CycloneDX, with every requirement of the wheel's own metadata."""
    (name,) = [name for name in built if name.endswith(".whl")]
    (tmp_path / name).write_bytes(built[name])
    with zipfile.ZipFile(tmp_path / name) as wheel:
        (path,) = [name for name in wheel.namelist() if ".dist-info/sboms/" in name]
        bill = json.loads(wheel.read(path))
        metadata = next(wheel.read(name).decode() for name in wheel.namelist() if name.endswith("/METADATA"))
    assert path.endswith(".cdx.json")
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    needed = {
        line.partition(": ")[2] for line in metadata.split("\n") if line.startswith("Requires-Dist") and ";" not in line
    }
    assert needed
    assert {one["properties"][0]["value"] for one in bill["components"]} == needed
    references = {one["bom-ref"] for one in bill["components"]}
    assert set(bill["dependencies"][0]["dependsOn"]) == references


def test_what_is_missing_is_said_with_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where there is no compiler for other platforms: one line, and a hint that works."""
    monkeypatch.setattr(wheels, "find_spec", lambda name: None if name == "ziglang" else find_spec(name))
    monkeypatch.setattr(sys, "argv", ["wheels", "--out", str(tmp_path / "out")])
    assert wheels.main() == 1
    told = capsys.readouterr().err
    assert told.splitlines()[0] == "wheels: error: this Python lacks ziglang"
    assert "-m pip install ziglang" in told
    assert not (tmp_path / "out").exists()


def test_another_platform_without_its_compiler_is_an_error(tmp_path: Path) -> None:
    """A wheel that claims a platform has an executable for it, or is not made; nothing is left of the attempt."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    env = {"PATH": os.defpath, "CC": "false", "WHEEL_PLATFORM": "manylinux_2_17_aarch64", "TMPDIR": str(tmp_path)}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    assert done.returncode != 0
    assert "$CC does not compile for WHEEL_PLATFORM=manylinux_2_17_aarch64" in done.stderr
    assert not list(tmp_path.iterdir())


LOG = """# Changelog

## 0.3.0 (unreleased)

Not yet.

## 0.2.0 (2026-12-01)

- New.

## 0.1.0 (2026-01-01)

First.
"""


def test_a_releases_notes_are_its_section_of_the_changelog() -> None:
    """Up to the next heading, or to the end."""
    assert notes.notes("v0.2.0", "0.2.0", LOG) == "- New.\n"
    assert notes.notes("v0.1.0", "0.1.0", LOG) == "First.\n"


@pytest.mark.parametrize(("tag", "version"), [("v0.2.0", "0.3.0"), ("v0.3.0", "0.3.0"), ("v0.4.0", "0.4.0")])
def test_a_tag_that_is_not_ready_is_refused(tag: str, version: str) -> None:
    """Of another version than the package's, of one that is not dated, or of one that the changelog does not know."""
    with pytest.raises(ValueError, match=r"0\.\d\.0"):
        notes.notes(tag, version, LOG)
