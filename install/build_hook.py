"""Puts the executable into the wheel's scripts: the native relay if a C compiler is there, else the shell's.

Beside it goes git-credential-bitbucket.py, which either starts: the relay for what it cannot answer, the
shell's always. A wheel with the native relay is for this platform only; one without it is for all.
"""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.builders.wheel import WheelBuilderConfig
from packaging.tags import platform_tags

NAME = "git-credential-bitbucket"
COMPILE_TIMEOUT_S = 60


class Executable(BuildHookInterface[WheelBuilderConfig]):
    """Hatchling asks for a class; its state is where the compiler wrote, until the wheel is made."""

    _made: str | None = None

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's signature
        """Add both scripts to `build_data`, and the platform to its tag where one of them is native."""
        here = os.path.join(self.root, "install")
        executable = os.path.join(here, NAME)
        source = os.path.join(self.root, "git_credential_bitbucket", "helper", "relay.c")
        self._made = tempfile.mkdtemp(prefix=NAME)
        native = os.path.join(self._made, NAME)
        if compiled(source, native):
            executable = native
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{native_platform()}"
        else:
            self.app.display_warning("no C compiler: installing the portable executable instead of the native one")
        build_data["shared_scripts"] |= {executable: NAME, os.path.join(here, f"{NAME}.py"): f"{NAME}.py"}

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """Remove what the compiler made; the wheel has it."""
        if self._made:
            shutil.rmtree(self._made)


def native_platform() -> str:
    """The platform's own tag. Not manylinux or musllinux: those are promises that nobody has checked here."""
    return next(tag for tag in platform_tags() if not tag.startswith(("manylinux", "musllinux")))


def compiled(source: str, target: str) -> bool:
    """Whether `source` could be compiled to `target`, by `$CC` if it is set, else by what PATH has."""
    compilers = [os.environ["CC"]] if "CC" in os.environ else ["cc", "gcc", "clang"]
    flags = shlex.split(os.environ.get("CFLAGS", "-O2")) + shlex.split(os.environ.get("LDFLAGS", ""))
    # Static first: it starts faster than the dynamic linker does its work, and LD_PRELOAD does not reach it.
    linking = [["-static"], []] if sys.platform == "linux" else [[]]
    for compiler in filter(None, map(shlex.split, compilers)):
        for static in linking:
            if ran([*compiler, *flags, *static, "-o", target, source]) and os.path.getsize(target):
                return True
    return False


def ran(command: list[str]) -> bool:
    """Whether `command` could be started, ended in time and with success."""
    try:
        done = subprocess.run(command, capture_output=True, timeout=COMPILE_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
