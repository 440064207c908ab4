"""The house's plan, held by a test: arrows point down, siblings do not import each other, no room is too large."""

import ast
import graphlib
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "git_credential_bitbucket"
ALLOWED = {
    "": set(),
    "vault": {""},
    "bitbucket": {""},
    "agent": {"", "vault", "bitbucket"},
    "daemon": {"", "vault", "bitbucket", "agent"},
    "client": {"", "vault", "bitbucket", "agent"},
    "ui": {"", "vault", "bitbucket", "agent", "client"},
    "gitsetup": {"", "bitbucket", "client", "ui"},
    "login": {"", "vault", "bitbucket", "agent", "client", "ui", "gitsetup"},
    "scan": {"", "bitbucket", "agent", "login"},
    "diagnostics": {"", "vault", "bitbucket", "agent", "client", "ui", "gitsetup", "login", "scan"},
    "cli": {"", "vault", "bitbucket", "agent", "client", "ui", "gitsetup", "login", "scan", "diagnostics"},
    "helper": {"", "vault", "bitbucket", "agent", "client", "daemon", "cli", "login"},
}
"""What each package may import; "" is the top level. `helper` reaches `cli` only by a person's verb, and late;
`daemon` where the native relay starts its process."""
LAZY_ONLY = {("helper", room) for room in ("cli", "login", "agent", "vault", "daemon")} | {
    ("client", "agent"),
    ("client", "vault"),
}


def imports(module: Path) -> list[tuple[str, bool]]:
    """The package's rooms that a module imports, and whether it does so at its top."""
    tree = ast.parse(module.read_text())
    top = {id(node) for node in tree.body}
    for statement in tree.body:
        if isinstance(statement, ast.If) and "TYPE_CHECKING" not in ast.unparse(statement.test):
            top |= {id(inner) for inner in ast.walk(statement)}
    found = []
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom):
            base = node.module or ""
            names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == PACKAGE.name and len(parts) > 1 and (PACKAGE / parts[1]).is_dir():
                found.append((parts[1], id(node) in top))
    return found


def test_arrows_point_down() -> None:
    """No module imports from a room above or beside its own."""
    wrong = []
    for module in PACKAGE.rglob("*.py"):
        room = "" if module.parent == PACKAGE else module.relative_to(PACKAGE).parts[0]
        if module.name == "__main__.py" or module in {PACKAGE / "__init__.py", PACKAGE / "requests_auth.py"}:
            continue  # entry points: they start the helper, the package beside them, or the interface for programs
        for target, at_top in imports(module):
            lazy_room = (room, target) in LAZY_ONLY
            if target != room and (target not in ALLOWED[room] or (lazy_room and at_top)):
                wrong.append(f"{module.relative_to(PACKAGE)} -> {target}")
    assert not wrong


def test_no_module_imports_itself_by_way_of_others() -> None:
    """No circle among modules, neither by late imports nor by those for type checkers alone."""
    modules = {_name_of(path): path for path in PACKAGE.rglob("*.py")}
    order = graphlib.TopologicalSorter({name: _imported(path) & modules.keys() for name, path in modules.items()})
    order.prepare()


def _name_of(module: Path) -> str:
    return ".".join(module.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


def _imported(module: Path) -> set[str]:
    """The modules that one imports; a package counts only where nothing in it is named."""
    names = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            is_package = (PACKAGE.parent / node.module.replace(".", "/")).is_dir()
            names |= inner if is_package else {node.module}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


def test_no_module_passes_five_hundred_lines() -> None:
    """A module is as long as its idea; past this it is two ideas."""
    sizes = {str(m.relative_to(PACKAGE)): len(m.read_text().split("\n")) - 1 for m in PACKAGE.rglob("*.py")}
    assert sizes
    assert {name: size for name, size in sizes.items() if size > 500} == {}


def test_nothing_draws_from_the_generator_that_a_process_shares() -> None:
    """A library or a test may seed it, and a thread that draws from it changes what they get."""
    shared = re.compile(r"\brandom\.(?!SystemRandom\b)\w+|^from random import", re.MULTILINE)
    found = {module.name: names for module in PACKAGE.rglob("*.py") if (names := shared.findall(module.read_text()))}
    assert not found


def test_every_room_says_what_it_is_for() -> None:
    """A folder's `__init__` has its sentence, a module its docstring."""
    bare = [
        str(m.relative_to(PACKAGE)) for m in PACKAGE.rglob("*.py") if not ast.get_docstring(ast.parse(m.read_text()))
    ]
    assert not bare


ONE_PLACE = {
    "opens what it makes": (("os.open(", "O_CREAT"), {"files.py"}),
    "reads processes from /proc": (("/proc/{",), {"processes.py"}),
    "has words for no": (('"off":',), {"config.py"}),
    "wants both settings and a provider": (
        ("git_config.read(", "providers.find("),
        {"cli/exec_.py", "daemon/configured_hosts.py"},
    ),
}
"""What is decided once: the texts that only these modules may hold together."""


@pytest.mark.parametrize("what", ONE_PLACE)
def test_what_is_decided_once_is_in_one_module(what: str) -> None:
    """A second one would drift from the first."""
    texts, allowed = ONE_PLACE[what]
    found = {str(m.relative_to(PACKAGE)) for m in PACKAGE.rglob("*.py") if all(t in m.read_text() for t in texts)}
    assert found == allowed


def test_the_architectures_rooms_and_modules_exist() -> None:
    """ARCHITECTURE.md draws what is there: every package, and no module that has gone."""
    text = (PACKAGE.parent / ".github" / "ARCHITECTURE.md").read_text()
    packages = {module.parent.name for module in PACKAGE.glob("*/__init__.py")}
    assert packages == set(re.findall(r"^(\w+)/ ", text, re.MULTILINE))
    named = re.findall(rf"\b(?<!tests/)((?:{'|'.join(packages)})/[\w/]+)", text)
    assert len(named) > 30
    assert [name for name in named if not any((PACKAGE / f"{name}.{end}").exists() for end in ("py", "c"))] == []
