"""Owns how tests get the program as a user has it: from the built wheel, in a virtual environment.

Both wheels are built: the portable one, and where a C compiler is there the native one. The dependencies are those of
the environment that runs the tests, by a .pth file, so that nothing is downloaded.
"""

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent
NAME = "git-credential-bitbucket"
KINDS = ("native", "portable")
BUILD_TIMEOUT_S = 300


def wheels(folder: Path) -> dict[str, Path]:
    """The wheels by kind, built in `folder` by the first process that asks; no "native" without a C compiler."""
    for kind in KINDS:
        with once(folder, kind) as new:
            if new:
                build(new, None if kind == "native" else "false")
    found = {kind: next((folder / kind).glob("*.whl")) for kind in KINDS}
    return {kind: wheel for kind, wheel in found.items() if kind == "portable" or not wheel.name.endswith("-any.whl")}


def installations(wheels: dict[str, Path], folder: Path) -> dict[str, Path]:
    """The executables by kind, installed in `folder` by the first process that asks."""
    for kind, wheel in wheels.items():
        with once(folder, f"venv-{kind}") as new:
            if new:
                install(wheel, new)
    return {kind: folder / f"venv-{kind}" / "bin" / NAME for kind in wheels}


@contextlib.contextmanager
def once(folder: Path, name: str) -> Iterator[Path | None]:
    """Where to make `name`, for the first process that asks; None for the others, who wait until it is made."""
    folder.mkdir(exist_ok=True)
    made = folder / f"{name}.made"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield None if made.exists() else folder / name
        made.touch()


def build(folder: Path, compiler: str | None) -> Path:
    """Build the wheel into `folder`, with `compiler` as CC, or whatever PATH has."""
    env = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"]} | ({} if compiler is None else {"CC": compiler})
    command: list[str | Path] = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT]
    run(command, env)
    return next(folder.glob("*.whl"))


def install(wheel: Path, folder: Path, python: str = sys.executable) -> Path:
    """Install `wheel` in a new virtual environment in `folder`; returns the executable."""
    run([python, "-m", "venv", "--without-pip", folder])
    pip(["--python", folder / "bin" / "python", "install", "--no-deps", wheel])
    site_packages = next(folder.glob("lib/python*/site-packages"))
    (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin" / NAME


def pip(arguments: list[str | Path], env: Mapping[str, str] | None = None) -> None:
    """Run pip, of this environment and without a network."""
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input"]
    run([*command, *arguments], {"PATH": os.environ["PATH"], "PIP_NO_INDEX": "1", **(env or {})})


def run(command: list[str | Path], env: Mapping[str, str] | None = None) -> None:
    """Run a command that has to succeed."""
    done = subprocess.run(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=BUILD_TIMEOUT_S, check=False
    )
    assert done.returncode == 0, done.stdout.decode(errors="replace")


def has_compiler() -> bool:
    """Whether a C compiler is there."""
    return any(shutil.which(name) for name in ("cc", "gcc", "clang"))
