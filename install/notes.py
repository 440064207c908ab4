"""A release's notes: `python -m install.notes v1.2.3` prints the section of CHANGELOG.md for that tag's version."""

import re
import sys

from git_credential_bitbucket import __version__
from install.wheels import ROOT


def notes(tag: str, version: str, changelog: str) -> str:
    """The text below the heading `## VERSION (DATE)`. Raises `ValueError` where `tag` is not that of `version`, or the
    section is missing, empty or not dated.
    """
    if tag != f"v{version}":
        raise ValueError(f"the tag {tag} is not the package's version {version}")
    heading = rf"^## {re.escape(version)} \(\d{{4}}-\d\d-\d\d\)\n"
    found = re.search(heading + r"(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL)
    if found is None or not found[1].strip():
        raise ValueError(f"CHANGELOG.md has no section '## {version} (DATE)' with text")
    return found[1].strip() + "\n"


def main() -> int:
    """Print the notes for the tag that is named; returns the exit code."""
    try:
        text = notes(sys.argv[1], __version__, (ROOT / ".github" / "CHANGELOG.md").read_text(encoding="utf-8"))
    except (IndexError, ValueError) as exc:
        print(f"notes: error: {exc}", file=sys.stderr)  # noqa: T201 - a script's output
        return 1
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
