"""`version`: this program's own, and with --verbose what it runs on."""

import platform

from git_credential_bitbucket import __version__
from tests.running import Runner

NAME = "git-credential-bitbucket"


def test_version_is_one_line(bare_run: Runner) -> None:
    assert bare_run(NAME, "version").stdout == f"{NAME} {__version__}\n"
    assert bare_run(NAME, "--version").stdout == f"{NAME} {__version__}\n"


def test_verbose_adds_what_a_report_of_a_fault_needs(bare_run: Runner) -> None:
    """Python, git and the packages, however one asks for it."""
    told = bare_run(NAME, "version", "--verbose").stdout
    assert told == bare_run(NAME, "-v", "version").stdout
    git = bare_run("git", "--version").stdout.removeprefix("git version ").strip()
    assert f"\npython {platform.python_version()}\n" in told
    assert f"\ngit {git} (/" in told
    assert "\ncryptography " in told


def test_verbose_works_without_git(bare_run: Runner, home: str) -> None:
    env = {**bare_run.env, "PATH": f"{home}/.local/bin:{home}/tools"}
    bare_run("sh", "-c", f"mkdir {home}/tools; ln -s /bin/sh /usr/bin/readlink {home}/tools")
    assert "\ngit (not found)\n" in bare_run(f"{home}/.local/bin/{NAME}", "version", "-v", env=env).stdout
