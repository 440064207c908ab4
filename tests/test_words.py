"""What a user reads is in the words of git, OAuth and other credential helpers: these phrases are not.

Looked at are the package's strings (messages, help, pages), what the relay and the installer say, and the documents.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.installed import ROOT

PACKAGE = ROOT / "git_credential_bitbucket"
TEXTS = (
    ROOT / "README.md",
    ROOT / ".github" / "GUIDE.md",
    ROOT / ".github" / "SECURITY.md",
    ROOT / "install" / "git-credential-bitbucket.1",
    ROOT / "install" / "install",
    ROOT / "install" / "needs",
    *PACKAGE.rglob("*.c"),
    *(PACKAGE / "schemas").iterdir(),
)
BANNED = {
    r"lies? about": "are stored in plain text",
    r"in the clear": "in plain text",
    r"what do you have for": "how do you want to authenticate",
    r"nobody's own": "not tied to a person",
    r"(what|all that|everything that) is kept": "credentials",
    r"the same again": "repeat",
    r"empty to leave out": "Enter to skip",
    r"does not fit": "does not match",
    r"does not ask this program about": "has no credential helper configured for",
    r"names no place": "is not a workspace or repository",
    r"blanks nor signs": "has no spaces or special characters",
    r"anew": "again, new",
    r"daemon (has left|leaves)": "daemon stopped, exits",
    r"is not known any more": "cleared",
    r"mark of the": "does not match",
    r"cures?": "hint, fix",
    r"took its revocation": "revoked at Bitbucket",
    r"leaves by itself": "exits",
    r"who was given what": "access log",
    r"has no say": "is ignored",
    r"nothing of ours": "no extra software",
    r"mend(s|ed|ing)?": "fix, repair",
    r"the system refused": "system error",
    r"a private one is one": "GIT_CREDENTIAL_BITBUCKET_DAEMON=off",
    r"set aside": "disabled",
    r"(held back|withheld|suspect)": "suspended",
    r"log-ins?": "login, log in",
    r"nobody is there": "non-interactive",
    r"audit log|journal": "access log",
    r"holdings?": "credential",
    r"type(:| it)": "run:",
    r"whoever": "the program that, the daemon",
    r"dead": "revoked, expired, removed",
}
"""What is not said, as a pattern, and what is said instead."""

_ANY = re.compile(rf"(?<![\w-])({'|'.join(BANNED)})(?![\w-])", re.IGNORECASE)
_TEST_NAME = re.compile(r"`tests/[^`]*`")


def strings(path: Path) -> Iterator[tuple[int, str]]:
    """The strings of a module, but for docstrings and what is below a constant or a field to explain it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    explained = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in explained:
            yield node.lineno, node.value


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a document, without the tests that it names; of a program, without its comments."""
    text = _TEST_NAME.sub("", path.read_text(encoding="utf-8"))
    if path.suffix == ".1":
        text = re.sub(r"\\f[BIR]", "", text).replace("\\-", "-")
    if path.suffix == ".c":
        text = re.sub(r"/\*.*?\*/", lambda found: "\n" * found[0].count("\n"), text, flags=re.DOTALL)
    if path.suffix == "" and path.parent.name == "install":
        text = re.sub(r"(?m)^\s*#.*", "", text)
    yield from enumerate(text.split("\n"), 1)


def test_no_phrase_of_our_own_making_is_left() -> None:
    """A reader who knows the field has met none of them elsewhere."""
    modules = ((path, strings(path)) for path in PACKAGE.rglob("*.py"))
    found = [
        f"{path.relative_to(ROOT)}:{number}: {match[0]!r} in {text.strip()!r:.100}"
        for path, texts in (*modules, *((path, lines(path)) for path in TEXTS))
        for number, text in texts
        for match in _ANY.finditer(text)
    ]
    assert sorted(found) == []


def test_every_pattern_finds_its_phrase() -> None:
    """A pattern that matches nothing holds nothing."""
    assert _ANY.search("nothing was set aside")
    assert _ANY.search('{"set_aside_at": 1, "path_withheld": true}') is None
