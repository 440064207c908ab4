"""Builds what a release consists of, byte for byte the same everywhere: `python -m install.wheels --out DIR`.

The program as one file; with hatchling also the sdist and the wheel for all platforms; with ziglang, which compiles for
others than this one, wheels with the native relay for Linux and macOS.
"""

import argparse
import ast
import hashlib
import io
import os
import shlex
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parent.parent
NAME, PACKAGE = "git-credential-bitbucket", "git_credential_bitbucket"
EPOCH = 1580601600
"""2020-02-02, which hatchling takes too where SOURCE_DATE_EPOCH is not set."""
BUILD_TIMEOUT_S = 600
TARGETS = {
    "manylinux_2_17_x86_64.musllinux_1_1_x86_64": "x86_64-linux-musl",
    "manylinux_2_17_aarch64.musllinux_1_1_aarch64": "aarch64-linux-musl",
    "macosx_11_0_x86_64": "x86_64-macos.11.0",
    "macosx_11_0_arm64": "aarch64-macos.11.0",
}
"""The wheels' platforms, and what ziglang calls them. On Linux that is glibc of 2014 and later, and musl: a static
executable needs neither."""
START = b'#!/bin/sh\nexec /usr/bin/env python3 -I -S "$0" "$@"\n'
"""How the .pyz starts where it is executed: Python isolated, by a shell, for not every env(1) has -S."""
NOT_IN_PYZ = {
    f"{PACKAGE}.{name}"
    for name in (
        *("agent", "cli", "daemon.__main__", "login", "requests_auth", "scan", "vault"),
        *("bitbucket.data_center", "bitbucket.oauth", "bitbucket.rest", "bitbucket.transport"),
        *("client.daemon_launcher", "client.in_process", "diagnostics.config_sections"),
        *("ui.explain_view", "ui.prompts", "ui.status_table"),
    )
}
"""What needs other packages than Python's own, and what nothing needs without it."""


def pyz(folder: Path) -> Path:
    """Write the program as one file into `folder`; returns its path."""
    path = folder / f"{NAME}.pyz"
    stamp = time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", EPOCH)))[:6]
    front = ROOT / "install" / "pyz.py"
    contents = {"__main__.py": front.read_bytes(), "install/": b""}  # no package, which Python 3.11 takes as a folder
    contents |= {str(file.relative_to(ROOT)): file.read_bytes() for file in used_by(front)}
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as file:
        for name, data in sorted(contents.items()):
            entry = zipfile.ZipInfo(name, stamp)
            entry.external_attr = 0o100644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            file.writestr(entry, data)
    path.write_bytes(START + archive.getvalue())
    path.chmod(0o755)
    return path


def used_by(front: Path) -> set[Path]:
    """The files of ours that `front` imports, then or later, itself or by others, but for NOT_IN_PYZ."""
    found: set[Path] = set()
    left = [front]
    while left:
        for name in imported(left.pop()):
            parts = name.split(".")
            for end in range(1, len(parts) + 1):
                if ".".join(parts[:end]) in NOT_IN_PYZ:
                    break
                base = ROOT.joinpath(*parts[:end])
                for file in (base.with_suffix(".py"), base / "__init__.py"):
                    if file.is_file() and file not in found:
                        found.add(file)
                        left.append(file)
    return found


def imported(file: Path) -> Iterator[str]:
    """What `file` imports of ours when it runs."""
    nodes: list[ast.AST] = [ast.parse(file.read_bytes())]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        nodes += ast.iter_child_nodes(node)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] in (PACKAGE, "install"):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def sdist(folder: Path) -> Path:
    """Build the source distribution into `folder`; returns its path."""
    return hatch(folder, "sdist")


def pure_wheel(folder: Path) -> Path:
    """Build the wheel for all platforms, with the portable executable, into `folder`; returns its path."""
    return hatch(folder, "wheel", {"CC": "false"})


def native_wheel(folder: Path, platform: str) -> Path:
    """Build the wheel with the native relay for `platform` into `folder`; returns its path."""
    compiler = [sys.executable, "-m", "ziglang", "cc", "-target", TARGETS[platform]]
    options = {"CC": shlex.join(compiler), "CFLAGS": "-O2 -s", "WHEEL_PLATFORM": platform}
    return hatch(folder, "wheel", options)


def hatch(folder: Path, target: str, options: Mapping[str, str] | None = None) -> Path:
    """Run hatchling with `options` in its environment; returns what it has made in `folder`."""
    env = {name: value for name, value in os.environ.items() if name not in ("CC", "CFLAGS", "LDFLAGS")}
    env = {"SOURCE_DATE_EPOCH": str(EPOCH), **env, **(options or {})}
    command = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(folder.resolve())]
    done = subprocess.run(
        command, cwd=ROOT, env=env, stdout=-1, stderr=subprocess.STDOUT, text=True, timeout=BUILD_TIMEOUT_S, check=False
    )
    if done.returncode != 0:
        sys.exit(f"{done.stdout}\nwheels: error: hatchling could not build the {target}")
    return folder / os.path.basename(done.stdout.splitlines()[-1])


def checksums(files: list[Path]) -> str:
    """Their SHA-256, as `sha256sum --check` reads it."""
    return "".join(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in sorted(files))


def main() -> int:
    """Build into the folder that is named; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m install.wheels", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="where to")
    parser.add_argument("--only", choices=("pyz", "pure"), help="the one file alone, or what needs no compiler")
    options = parser.parse_args()
    folder: Path = options.out
    wanted = {"pyz": (), "pure": ("hatchling",), None: ("hatchling", "ziglang")}[options.only]
    if missing := [name for name in wanted if find_spec(name) is None]:
        print(  # noqa: T201 - a script's output
            f"wheels: error: this Python lacks {' and '.join(missing)}\n"
            f"wheels: hint: {shlex.quote(sys.executable)} -m pip install {' '.join(missing)}; or see --only",
            file=sys.stderr,
        )
        return 1
    folder.mkdir(parents=True, exist_ok=True)
    makers: list[Callable[[Path], Path]] = [pyz]
    if "hatchling" in wanted:
        makers += [sdist, pure_wheel]
    if "ziglang" in wanted:
        makers += [partial(native_wheel, platform=platform) for platform in TARGETS]
    made = []
    for make in makers:
        made.append(make(folder))
        print(made[-1], flush=True)  # noqa: T201 - a script's output
    (folder / "SHA256SUMS").write_text(checksums(made))
    return 0


if __name__ == "__main__":
    sys.exit(main())
