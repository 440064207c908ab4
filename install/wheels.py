"""Builds what a release consists of, byte for byte the same everywhere: `python -m install.wheels --out DIR`."""

import argparse
import ast
import io
import os
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
NAME, PACKAGE = "git-credential-bitbucket", "git_credential_bitbucket"
EPOCH = 1580601600
"""2020-02-02, which hatchling takes too where SOURCE_DATE_EPOCH is not set."""
START = b'#!/bin/sh\nexec /usr/bin/env python3 -I -S "$0" "$@"\n'
"""How the .pyz starts where it is executed: Python isolated, by a shell, for not every env(1) has -S."""
NOT_IN_PYZ = {
    f"{PACKAGE}.{name}"
    for name in (
        *("agent", "auth", "cli", "daemon", "login", "scan", "vault"),
        *("bitbucket.http_errors", "bitbucket.oauth", "bitbucket.rest", "bitbucket.transport"),
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
    entries = {"__main__.py": front, **{str(file.relative_to(ROOT)): file for file in used_by(front)}}
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as file:
        for name, source in sorted(entries.items()):
            entry = zipfile.ZipInfo(name, stamp)
            entry.external_attr = 0o100644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            file.writestr(entry, source.read_bytes())
    path.write_bytes(START + archive.getvalue())
    path.chmod(0o755)
    return path


def used_by(front: Path) -> set[Path]:
    """The package's files that `front` imports, then or later, itself or by others, but for NOT_IN_PYZ."""
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
    """What `file` imports of the package when it runs."""
    nodes: list[ast.AST] = [ast.parse(file.read_bytes())]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        nodes += ast.iter_child_nodes(node)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == PACKAGE:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def main() -> int:
    """Build into the folder that is named."""
    parser = argparse.ArgumentParser(prog="python -m install.wheels", description=__doc__)
    parser.add_argument("--out", metavar="DIR", type=Path, required=True)
    folder: Path = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    print(pyz(folder))  # noqa: T201 - a script's output
    return 0


if __name__ == "__main__":
    sys.exit(main())
