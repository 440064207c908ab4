"""Wheels with the native relay for other platforms than this one: built by ziglang, run where this machine can."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from install import wheels
from tests.fake_bitbucket import tokens

PROCESSORS = {
    "manylinux_2_17_aarch64.musllinux_1_1_aarch64": (b"\x7fELF", 18, b"\xb7\0"),  # e_machine: elf(5)
    "macosx_11_0_x86_64": (b"\xcf\xfa\xed\xfe", 4, b"\x07\0\0\x01"),  # cputype: <mach/machine.h>
    "macosx_11_0_arm64": (b"\xcf\xfa\xed\xfe", 4, b"\x0c\0\0\x01"),
}
"""How an executable for each platform begins, and what stands where for its processor. The one for x86_64 is compiled
from the same source in every other test, and 20 s of musl's own compilation are saved."""
EMULATOR = "qemu-aarch64-static"


@pytest.mark.parametrize("platform", PROCESSORS)
def test_a_native_wheel_holds_a_relay_for_its_platform(
    platform: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the right processor, and where this machine can run it, static and one that answers git."""
    monkeypatch.setenv("ZIG_GLOBAL_CACHE_DIR", f"{sys.prefix}/zig")
    wheel = wheels.native_wheel(tmp_path, platform)
    assert wheel.name.endswith(f"-py3-none-{platform}.whl")
    with zipfile.ZipFile(wheel) as file:
        (name,) = [name for name in file.namelist() if name.endswith(".data/scripts/git-credential-bitbucket")]
        (sbom,) = [name for name in file.namelist() if name.endswith(".cdx.json")]
        components = {one["name"] for one in json.loads(file.read(sbom))["components"]}
        data = file.read(name)
    magic, at, processor = PROCESSORS[platform]
    assert data.startswith(magic)
    assert data[at : at + len(processor)] == processor
    assert ("musl" in components) == ("musllinux" in platform)
    if "macosx" in platform:
        assert b"/usr/lib/libSystem.B.dylib" in data
    elif shutil.which(EMULATOR):
        assert_answers(data, tmp_path)
    else:
        pytest.skip(f"there is no {EMULATOR}")


def assert_answers(relay: bytes, folder: Path) -> None:
    """A token in the environment is answered without Python, which is not there to leave anything to."""
    executable = folder / "relay"
    executable.write_bytes(relay)
    executable.chmod(0o755)
    token = tokens.access_token()
    env = {"PATH": os.defpath, "HOME": str(folder), "BITBUCKET_TOKEN": token}
    request = b"protocol=https\nhost=bitbucket.org\n\n"
    done = subprocess.run(
        [EMULATOR, executable, "get"], input=request, env=env, capture_output=True, timeout=60, check=True
    )
    assert done.stdout.decode() == f"username=x-token-auth\npassword={token}\n"
