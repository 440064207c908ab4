"""What git executes, installed in all the places where people and installers put it."""

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests import installed

NAME = installed.NAME
CAPABILITIES = b"version 0\n"
"""How the answer to `capability` begins: the relay gives it itself."""


def started(
    executable: str | Path, *arguments: str, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> "subprocess.CompletedProcess[bytes]":
    """Run the executable as git does: through a shell, stdin a pipe."""
    return subprocess.run(
        ["/bin/sh", "-c", '"$0" "$@"', executable, *arguments],
        env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", **(env or {})},
        cwd=cwd,
        input=b"",
        capture_output=True,
        check=False,
        timeout=60,
    )


def assert_works(executable: str | Path, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> None:
    """The relay answers, and third-party packages are found where they are needed, both without a word on stderr."""
    done = started(executable, "capability", env=env, cwd=cwd)
    assert (done.stdout[: len(CAPABILITIES)], done.stderr) == (CAPABILITIES, b"")
    done = started(executable, "version", env=env, cwd=cwd)
    assert (done.stdout[: len(NAME)], done.stderr) == (NAME.encode(), b"")


@pytest.fixture(params=installed.KINDS)
def wheel(request: pytest.FixtureRequest, wheels: dict[str, Path]) -> Path:
    """Each of the wheels in turn."""
    if request.param not in wheels:
        pytest.skip("there is no C compiler")
    return wheels[request.param]


@pytest.fixture(scope="module")
def own_executables(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What git executes, installed from each of the wheels for the tests of this module that change it."""
    return installed.installations(wheels, tmp_path_factory.mktemp("own") / "installed")


@pytest.fixture(params=installed.KINDS)
def own(request: pytest.FixtureRequest, own_executables: dict[str, Path]) -> Iterator[Path]:
    """Each of the `own_executables` in turn; afterwards its directory and its packages are what they were."""
    if request.param not in own_executables:
        pytest.skip("there is no C compiler")
    executable = own_executables[request.param]
    folder = executable.parent
    (site_packages,) = folder.parent.glob("lib/python*/site-packages")
    shutil.copytree(folder, folder.with_name("kept"), symlinks=True)
    yield executable
    shutil.rmtree(folder)
    folder.with_name("kept").rename(folder)
    if not site_packages.exists():
        (folder.parent / "elsewhere").rename(site_packages)


def test_works_where_it_was_installed(executable: Path) -> None:
    """An absolute path, as `configure` writes it."""
    assert_works(executable)


def test_works_by_name(executable: Path) -> None:
    """As git finds it in PATH for `helper = bitbucket`."""
    assert_works(NAME, {"PATH": f"{executable.parent}:/usr/bin:/bin"})


def test_works_from_a_relative_path(executable: Path) -> None:
    """A path without any slash before the name, and one that begins in the parent."""
    assert_works(f"./{NAME}", cwd=executable.parent)
    assert_works(f"../bin/{NAME}", cwd=executable.parent)
    assert_works(NAME, {"PATH": ":/usr/bin:/bin"}, cwd=executable.parent)


@pytest.mark.parametrize("beside", [True, False])
def test_works_through_links(executable: Path, tmp_path: Path, beside: bool) -> None:
    """Links in ~/.local/bin, absolute, relative, one to another; pipx links the script beside them too."""
    (tmp_path / "deep").mkdir()
    for suffix in ("", ".py") if beside else ("",):
        (tmp_path / f"absolute{suffix}").symlink_to(f"{executable}{suffix}")
        (tmp_path / f"relative{suffix}").symlink_to(os.path.relpath(f"{executable}{suffix}", tmp_path))
        (tmp_path / "deep" / f"{NAME}{suffix}").symlink_to(f"../absolute{suffix}")
    for link in ("absolute", "relative", f"deep/{NAME}"):
        assert_works(tmp_path / link)
        assert_works(link if "/" in link else f"./{link}", cwd=tmp_path)


def test_works_through_a_linked_directory(executable: Path, tmp_path: Path) -> None:
    """The directory of executables is itself a link."""
    (tmp_path / "bin").symlink_to(executable.parent)
    assert_works(tmp_path / "bin" / NAME)


@pytest.mark.parametrize("where", ["long/" * 30 + 'a b/it\'s $HOME `x` \\ "q"', "vénv-日本"], ids=["quotes", "unicode"])
def test_works_in_awkward_places(wheel: Path, tmp_path: Path, where: str) -> None:
    """Spaces, quotes, unicode, and more than the 127 bytes that a #! line may have."""
    (tmp_path / where).mkdir(parents=True)
    assert_works(installed.install(wheel, tmp_path / where / "venv"))


@pytest.mark.parametrize(
    "form", ["'{python}'", '"{python}"', "{python}", "'{python}' -E", "{python} -sE", "relocatable"]
)
def test_understands_every_first_line_that_installers_write(own: Path, tmp_path: Path, form: str) -> None:
    """pip, distlib and uv put the interpreter in the first line, or in the shell's hands: quoted, bare, or relative."""
    script = Path(f"{own}.py")
    first, rest = script.read_text().split("\n", 1)
    quoted = form.format(python=first.removeprefix("#!"))
    if form == "relocatable":
        quoted = """"$(dirname -- "$(realpath -- "$0")")"/'python'"""
    script.write_text(f"#!/bin/sh\n'''exec' {quoted} \"$0\" \"$@\"\n' '''\n{rest}")
    assert_works(own)
    (tmp_path / "link").symlink_to(own)
    assert_works(tmp_path / "link")


def test_options_in_the_first_line_are_no_part_of_the_interpreter(own: Path) -> None:
    """Pipx writes `#!PATH -E`."""
    script = Path(f"{own}.py")
    first, rest = script.read_text().split("\n", 1)
    script.write_text(f"{first} -E\n{rest}")
    assert_works(own)


def test_imports_nothing_from_the_work_tree_or_the_environment(executable: Path, tmp_path: Path) -> None:
    """A repository with modules named like ours and the standard library's, named in every variable, is not read."""
    for name in (
        "os",
        "json",
        "site",
        "sitecustomize",
        "usercustomize",
        "click",
        "git_credential_bitbucket",
        "_socket",
    ):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('taken over')\n")
    startup = tmp_path / "startup.py"
    startup.write_text("raise SystemExit('taken over')\n")
    hostile = {
        "PYTHONPATH": str(tmp_path),
        "PYTHONSTARTUP": str(startup),
        "PYTHONHOME": str(tmp_path),
        "PYTHONUSERBASE": str(tmp_path),
        "PYTHONINSPECT": "1",
        "PYTHONPLATLIBDIR": str(tmp_path),
        "ENV": str(startup),
        "BASH_ENV": str(startup),
        "CDPATH": str(tmp_path),
        "HOME": str(tmp_path),
    }
    assert_works(executable, hostile, cwd=tmp_path)


def test_the_daemon_runs_on_the_python_of_the_installation(
    executable: Path, bare_env: dict[str, str], tmp_path: Path
) -> None:
    """Two variables name another interpreter to Python itself, isolated or not; macOS leaks one of them to children."""
    other = tmp_path / "python3"
    other.write_text("#!/bin/sh\nexit 1\n")
    other.chmod(0o755)
    env = {**bare_env, "PYTHONEXECUTABLE": str(other), "__PYVENV_LAUNCHER__": str(other)}
    done = started(executable, "daemon", "start", env=env)
    assert started(executable, "daemon", "stop", env=bare_env).returncode == 0
    assert done.returncode == 0, done.stderr


def test_what_answers_git_dumps_no_core(own: Path) -> None:
    """Neither relay's Python does, whatever the shell allows; `exec`'s command may, for that is somebody else's."""
    script = Path(f"{own}.py")
    first = script.read_text().split("\n", 1)[0]
    script.write_text(f"{first}\nimport resource\nprint(resource.getrlimit(resource.RLIMIT_CORE))\n")
    allowed = resource.getrlimit(resource.RLIMIT_CORE)
    for operation in ("get", "store", "erase"):
        assert started(own, operation).stdout == b"(0, 0)\n"
    assert started(own, "exec", "true").stdout == f"{allowed}\n".encode()


def test_starts_no_process_but_python(executable: Path, tmp_path: Path) -> None:
    """With nothing in PATH it works, installed or linked as pipx does: no readlink, no dirname."""
    for suffix in ("", ".py"):
        (tmp_path / f"link{suffix}").symlink_to(f"{executable}{suffix}")
    assert_works(executable, {"PATH": "/nonexistent"})
    assert_works(tmp_path / "link", {"PATH": "/nonexistent"})


def test_a_readlink_on_path_is_not_run(executable: Path, tmp_path: Path) -> None:
    """Where it is a link without the script beside it: git runs it in the work tree, and PATH may name that."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "link").symlink_to(executable)
    (tmp_path / "bin" / "link of a link").symlink_to("link")
    for name in ("readlink", "command", "dirname", "ls"):
        theirs = tmp_path / name
        theirs.write_text(f"#!/bin/sh\necho taken over >{tmp_path}/proof\necho {tmp_path}/evil\n")
        theirs.chmod(0o755)
    for path in (f".:{tmp_path}", f"{tmp_path}:/usr/bin:/bin", "/nonexistent"):
        assert_works(tmp_path / "bin" / "link of a link", {"PATH": path}, cwd=tmp_path)
        assert not (tmp_path / "proof").exists()


def test_says_so_when_its_python_is_gone(own: Path) -> None:
    """An interpreter that was removed gives one line and a hint, on stderr, and no answer."""
    for python in own.parent.glob("python*"):
        python.unlink()
    done = started(own, "get")
    assert done.stdout == b""
    assert [line.partition(b": ")[2].partition(b":")[0] for line in done.stderr.splitlines()] == [b"error", b"hint"]


def test_says_so_when_its_package_is_gone(own: Path) -> None:
    """A Python that was upgraded looks for packages in another directory: one line and a hint, no traceback."""
    (site_packages,) = own.parents[1].glob("lib/python*/site-packages")
    site_packages.rename(own.parents[1] / "elsewhere")
    done = started(own, "get")
    assert done.stdout == b""
    assert [line.partition(b": ")[2].partition(b":")[0] for line in done.stderr.splitlines()] == [b"error", b"hint"]


def test_an_upgrade_while_it_waits_leaves_it_working(own: Path, tmp_path: Path) -> None:
    """The executable's file is replaced while it reads its request: the fallback is still found."""
    (tmp_path / "run").mkdir(mode=0o700)
    (tmp_path / "run" / NAME).mkdir(mode=0o700)
    env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path / "run")}
    with subprocess.Popen([own, "get"], env=env, stdin=-1, stdout=-1, stderr=-1) as process:
        shutil.copy(own, tmp_path / "new")
        (tmp_path / "new").rename(own)
        out, err = process.communicate(b"protocol=https\nhost=example.com\n", timeout=60)
    assert (process.returncode, out, err) == (0, b"", b"")


@pytest.mark.parametrize(
    ("wheel", "scheme"), [("native", "prefix"), ("portable", "target"), ("native", "user")], indirect=["wheel"]
)
def test_works_outside_a_virtual_environment(wheel: Path, tmp_path: Path, scheme: str) -> None:
    """`pip install --prefix`, `--target` and `--user`: the package is found from the executable's own place."""
    system = "/usr/bin/python3"
    if (
        not os.path.exists(system)
        or subprocess.run([system, "-m", "pip", "-V"], capture_output=True, check=False).returncode
    ):
        pytest.skip("the system's Python has no pip")
    dependencies = os.path.dirname(os.path.dirname(pytest.__file__))
    options: dict[str, list[str | Path]] = {
        "prefix": ["--prefix", tmp_path],
        "target": ["--target", tmp_path],
        "user": ["--user"],
    }
    command = [
        system,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--no-index",
        "--ignore-installed",
        *options[scheme],
        wheel,
    ]
    env = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
        "PYTHONUSERBASE": str(tmp_path),
        "PIP_BREAK_SYSTEM_PACKAGES": "1",
    }
    subprocess.run(command, env=env, check=True, capture_output=True, timeout=60)
    executable = next(tmp_path.glob(f"**/bin/{NAME}"))
    packages = next(tmp_path.glob("**/git_credential_bitbucket")).parent
    (packages / "dependencies.pth").write_text(dependencies + "\n")
    assert_works(executable)


def test_works_from_a_checkout(tmp_path: Path) -> None:
    """`pip install --editable` leaves the package in the checkout, and the executable finds it there."""
    installed.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"])
    dependencies = os.path.dirname(os.path.dirname(pytest.__file__))
    (site_packages,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    (site_packages / "dependencies.pth").write_text(dependencies + "\n")
    to: list[str | Path] = ["--python", tmp_path / "venv/bin/python", "install", "--no-deps", "--no-build-isolation"]
    installed.pip([*to, "--editable", installed.ROOT])
    assert_works(tmp_path / "venv/bin" / NAME)
