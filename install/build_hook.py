"""Puts the executable into the wheel's scripts: the native relay if a C compiler is there, else the shell's.

Beside it goes git-credential-bitbucket.py, which either starts: the relay for what it cannot answer, the
shell's always. A wheel with the native relay is for this platform only, or for the one that `WHEEL_PLATFORM` names,
where `$CC` compiles for that; one without it is for all. What is in the wheel, its SBOM says (PEP 770).
"""

import json
import os
import shlex
import subprocess
import sys
import tempfile
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.builders.wheel import WheelBuilderConfig
from packaging.requirements import Requirement
from packaging.tags import platform_tags

NAME = "git-credential-bitbucket"
PLATFORM = "WHEEL_PLATFORM"
COMPILE_TIMEOUT_S = 300
"""A compiler for another platform may have to make that one's libc first."""


class Executable(BuildHookInterface[WheelBuilderConfig]):
    """Hatchling asks for a class; its state is where the compiler wrote, until the wheel is made."""

    _made: tempfile.TemporaryDirectory[str] | None = None

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's signature
        """Add both scripts and the SBOM to `build_data`, and the platform to its tag where a script is native."""
        here = os.path.join(self.root, "install")
        executable = os.path.join(here, NAME)
        source = os.path.join(self.root, "git_credential_bitbucket", "helper", "relay.c")
        self._made = tempfile.TemporaryDirectory(prefix=NAME)  # removes itself where the build is interrupted
        native = os.path.join(self._made.name, NAME)
        platform = os.environ.get(PLATFORM)
        if compiled(source, native):
            executable = native
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{platform or native_platform()}"
        elif platform:
            raise RuntimeError(f"$CC does not compile for {PLATFORM}={platform}")
        else:
            self.app.display_warning("no C compiler: installing the portable executable instead of the native one")
        build_data["shared_scripts"] |= {executable: NAME, os.path.join(here, f"{NAME}.py"): f"{NAME}.py"}

        sbom = os.path.join(self._made.name, f"{NAME}.cdx.json")
        is_static = "musllinux" in (platform or "")
        bill = bill_of_materials(self.metadata.version, self.metadata.core.dependencies, is_static=is_static)
        with open(sbom, "w", encoding="utf-8") as file:
            json.dump(bill, file, indent=1)
        build_data["sbom_files"] = [sbom]

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002 - hatchling's signature
        """Remove what the compiler made; the wheel has it."""
        if self._made:
            self._made.cleanup()


def bill_of_materials(version: str, requirements: list[str], *, is_static: bool) -> dict[str, Any]:
    """What the wheel holds and needs, as CycloneDX 1.6 has it; `is_static` says that musl's libc is in the relay."""
    purl = f"pkg:pypi/{NAME}@{version}"
    program = {"type": "application", "bom-ref": purl, "name": NAME, "version": version, "purl": purl}
    needed = {Requirement(text).name: text for text in sorted(requirements)}
    components: list[dict[str, Any]] = [
        {
            "type": "library",
            "bom-ref": f"pkg:pypi/{name}",
            "name": name,
            "purl": f"pkg:pypi/{name}",
            "properties": [{"name": "requirement", "value": text}],
        }
        for name, text in needed.items()
    ]
    if is_static:
        licence = [{"license": {"id": "MIT"}}]
        components.append({"type": "library", "bom-ref": "musl", "name": "musl", "licenses": licence})
    references = [component["bom-ref"] for component in components]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {**program, "licenses": [{"license": {"id": "MIT"}}]}},
        "components": components,
        "dependencies": [{"ref": purl, "dependsOn": references}],
    }


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
