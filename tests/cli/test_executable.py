"""The path by which git finds this program: the shell's and git's own reading of it decide."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from git_credential_bitbucket.gitsetup import executable
from tests.running import Runner

NAME = "git-credential-bitbucket"


@pytest.mark.parametrize(
    "name", ["plain", "a b", "ö", "it's", 'say "x"', "$HOME", "`id`", "a\\b", "*", "a\nb", "~", "#", "!x"]
)
def test_a_path_is_read_by_the_shell_as_it_is_meant(tmp_path: Path, name: str) -> None:
    """Git hands `helper get` to `sh -c`; the program that runs is the one at that path."""
    program = tmp_path / name / NAME
    program.parent.mkdir()
    program.write_text('#!/bin/sh\nprintf %s "$0 $1"\n')
    program.chmod(0o755)
    helper = executable.as_helper(str(program))
    assert helper.startswith("/")
    done = subprocess.run(["sh", "-c", f"{helper} get"], capture_output=True, text=True, check=True, env={})
    assert done.stdout == f"{program} get"
    assert executable.runs_this_program(helper)


@pytest.mark.parametrize(
    ("helper", "ours", "meant"),
    [
        (f"/usr/bin/{NAME}", True, True),
        (f"/a\\ b/{NAME}", True, True),
        ("bitbucket", False, True),
        (NAME, False, True),
        ("", False, False),
        ("store", False, False),
        (f"!{NAME}", False, False),
        (f"/usr/bin/{NAME} --x", False, False),
        (f"/usr/bin/{NAME}-other", False, False),
        ("/usr/bin/it's", False, False),
    ],
)
def test_our_own_lines_are_known(helper: str, ours: bool, meant: bool) -> None:
    """What `configure` writes is ours to take back; a person's own words for this program only mean it."""
    assert executable.runs_this_program(helper) is ours
    assert executable.is_this_program(helper) is meant


def configured(run: Runner, program: Path, path: str) -> str:
    """What `configure`, run as `program` with that PATH, would have git run."""
    commands = run(program, "configure", "--dry-run", env={**run.env, "PATH": path}).stdout
    return commands.split("\n")[1].rpartition(" ")[2]


def test_a_link_goes_before_what_it_points_at(bare_run: Runner, link: Path, prefix: Path) -> None:
    """The environment's own folder may come first in PATH (it is activated), and its path has a version in it."""
    path = f"{prefix}/bin:{link.parent}:/usr/bin:/bin"
    assert configured(bare_run, prefix / "bin" / NAME, path) == str(link)


def test_a_link_that_path_does_not_have_is_found(bare_run: Runner, link: Path, prefix: Path) -> None:
    """A cron job or a GUI has a PATH without ~/.local/bin; the link is there all the same."""
    assert configured(bare_run, prefix / "bin" / NAME, "/usr/bin:/bin") == str(link)


def test_the_link_on_path_goes_before_others(bare_run: Runner, home: Path, link: Path, prefix: Path) -> None:
    """Whoever made one of his own means that one."""
    other = home / "bin" / NAME
    other.parent.mkdir()
    other.symlink_to(prefix / "bin" / NAME)
    assert configured(bare_run, link, f"{other.parent}:/usr/bin:/bin") == str(other)


def test_another_installation_on_path_is_not_taken(bare_run: Runner, home: Path, link: Path) -> None:
    """PATH may lead to another version: the one that was run is the one that is configured."""
    other = home / "bin" / NAME
    other.parent.mkdir()
    other.write_text("#!/bin/sh\n")
    other.chmod(0o755)
    assert configured(bare_run, link, f"{other.parent}:/usr/bin:/bin") == str(link)


def test_without_any_link_the_executable_itself_is_taken(bare_run: Runner, link: Path, prefix: Path) -> None:
    """Installed into /usr or a virtual environment."""
    link.unlink()
    assert configured(bare_run, prefix / "bin" / NAME, "/usr/bin:/bin") == str(prefix / "bin" / NAME)


def test_a_relative_start_is_made_absolute(bare_run: Runner, link: Path, prefix: Path) -> None:
    """Git does not run in the directory where `configure` was typed."""
    link.unlink()
    done = bare_run(f"bin/{NAME}", "configure", "-n", cwd=prefix)
    assert f" {prefix}/bin/{NAME}\n" in done.stdout


def test_a_copy_without_executable_is_told_what_to_do(bare_env: dict[str, str], home: Path, tmp_path: Path) -> None:
    """`python -m` in a checkout: git could not run that."""
    python = tmp_path / "python"
    python.symlink_to(shutil.which("python3", path=os.environ["PATH"]) or "")
    checkout = Path(executable.__file__).parents[2]
    code = f"import sys; sys.argv[0] = '/x/__main__.py'; sys.path[:0] = [{str(checkout)!r}]"
    code += "; from git_credential_bitbucket.gitsetup.executable import stable_path; stable_path({})"
    done = Runner(bare_env, home / "work")(python, "-c", code, check=False)
    assert "has no executable for git to run" in done.stderr
