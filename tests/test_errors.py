"""The errors: each has a cause in one line, and a hint."""

import ast
from pathlib import Path

from git_credential_bitbucket import errors

PACKAGE = Path(errors.__file__).parent
KINDS = {name: kind for name, kind in vars(errors).items() if isinstance(kind, type)}
WITHOUT_HINT = {"InvalidRequest", "VaultMoved"}
"""No git writes the request of the former, and one line is all that it gets; the latter makes its own hint."""


def made() -> list[tuple[str, ast.Call]]:
    """Each place where an error of ours is made, with the name of its kind."""
    found = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = node.func if isinstance(node, ast.Call) else None
            word = name.id if isinstance(name, ast.Name) else name.attr if isinstance(name, ast.Attribute) else ""
            if isinstance(node, ast.Call) and word in KINDS:
                found.append((word, node))
    return found


def test_every_error_has_a_hint() -> None:
    """Its own, or its kind's."""
    errors_made = made()
    assert len(errors_made) > 100
    bare = [
        ast.unparse(call)
        for name, call in errors_made
        if not any(word.arg == "hint" for word in call.keywords)
        and getattr(KINDS[name], "HINT", None) is None
        and name not in WITHOUT_HINT
        and not (name == "Problem" and len(call.args) > 1)
    ]
    assert bare == []


def test_an_error_says_its_cause_in_lower_case_and_without_a_full_stop() -> None:
    """It stands behind `error: `; names keep their capitals."""
    causes = [call.args[0] for _, call in made() if call.args]
    said = [arg.value for arg in causes if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
    assert [text for text in said if text.endswith(".") or "\n" in text] == []
    first = {text.split()[0].strip(",").removesuffix("'s") for text in said}
    assert {word for word in first if word[0].isupper() and not word.isupper()} <= {"Bitbucket", "OAuth", "PyJWT"}


def test_an_errors_own_hint_goes_before_its_classs() -> None:
    """Whoever makes an error knows more than its kind does."""
    assert errors.RejectedByBitbucket("x", hint="y").hint == "y"
    assert errors.RejectedByBitbucket("x").hint == errors.RejectedByBitbucket.HINT
