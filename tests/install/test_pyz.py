"""The program as one file: what a CI job on a machine with Python and git can do with it, and what it is made of."""

import os
import select
import shutil
import signal
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from git_credential_bitbucket.client import ipc
from git_credential_bitbucket.gitsetup import executable
from install import wheels
from tests.fake_bitbucket.client import FakeBitbucket
from tests.fake_bitbucket.tokens import digest
from tests.running import Runner

PYTHON = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable
"""One without the packages of the environment that runs the tests, where there is one."""
MAX_BYTES = 150_000
_MODULES = (
    "import importlib, runpy, sys\n"
    "sys.path.insert(0, sys.argv[1])\n"
    "for name in sys.argv[2:]:\n"
    "    importlib.import_module(name)\n"
    "print(*sorted({name.partition('.')[0] for name in sys.modules} - sys.stdlib_module_names))\n"
)


@pytest.fixture
def copied(pyz: Path, home: Path) -> Path:
    """The file as a job has it: downloaded, so not executable, to a path with a space."""
    path = home / "work" / "a job" / pyz.name
    path.parent.mkdir()
    shutil.copyfile(pyz, path)
    return path


@pytest.fixture
def configured(run: Runner, copied: Path, bitbucket: FakeBitbucket) -> Runner:
    """Runs programs where the stand-in is a Bitbucket and the copied file is configured for it."""
    for key, value in bitbucket.git_config():
        run("git", "config", "--global", key, value)
    run(PYTHON, copied, "configure", "--host", bitbucket.url)
    return run


def modules(pyz: Path) -> list[str]:
    """The modules in the file, each by its path in the checkout."""
    with zipfile.ZipFile(pyz) as file:
        return [name for name in file.namelist() if name.endswith(".py") and "/" in name]


def test_it_is_small_and_holds_modules_of_the_package_as_they_are(pyz: Path) -> None:
    """No second implementation: but for where it begins, each file is the checkout's."""
    assert pyz.stat().st_size < MAX_BYTES
    assert stat.S_IMODE(pyz.stat().st_mode) == 0o755
    with zipfile.ZipFile(pyz) as file:
        names = file.namelist()
        assert names == sorted(names)
        assert sorted(set(names) - set(modules(pyz))) == ["__main__.py", "install/"]
        for name in modules(pyz):
            assert file.read(name) == (wheels.ROOT / name).read_bytes()


def test_it_needs_nothing_but_pythons_own_modules(run: Runner, pyz: Path) -> None:
    """Every module in it can be imported by a Python without packages, and brings none along."""
    names = [name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in modules(pyz)]
    told = run(PYTHON, "-I", "-S", "-c", _MODULES, pyz, *names).stdout
    assert told.split() == ["__main__", wheels.PACKAGE, "install"]


@pytest.mark.parametrize("source", ["variable", "file", "reference", "tokens file"])
def test_a_job_copies_configures_and_clones(
    configured: Runner, bitbucket: FakeBitbucket, home: Path, source: str
) -> None:
    """By a token in the environment, wherever that has it; nothing is started, and nothing is left."""
    url, token = bitbucket.create_repository("acme/app"), bitbucket.issue_access_token("acme/app")
    secret = home / "secret"
    secret.touch(mode=0o600)
    secret.write_text(f"acme/app={token}\n" if source == "tokens file" else f"{token}\n")
    given = {
        "variable": {"BITBUCKET_ACCESS_TOKEN": token},
        "file": {"BITBUCKET_TOKEN_FILE": str(secret)},
        "reference": {"BITBUCKET_TOKEN_FROM": f"exec:cat {secret}"},
        "tokens file": {"BITBUCKET_TOKENS_FILE": str(secret)},
    }[source]
    told = configured("git", "clone", "--quiet", url, "clone", env={**configured.env, **given}).stderr
    assert "git-credential-bitbucket" not in told
    used = [entry for entry in bitbucket.requests("git") if entry.auth]
    assert {(entry.secret, entry.status) for entry in used} == {(digest(token), 200)}
    assert not list((home / "run").iterdir())


def test_what_needs_the_installation_says_so(configured: Runner, copied: Path, url: str) -> None:
    """One line and a hint: for git without a token, and for a verb that is not there. git's `store` is silent."""
    asked = configured("git", "ls-remote", url, check=False)
    assert "git-credential-bitbucket: error: the environment holds no token for this host" in asked.stderr
    assert "hint: set BITBUCKET_API_TOKEN or BITBUCKET_ACCESS_TOKEN" in asked.stderr
    assert "Traceback" not in asked.stderr
    for verb in ("login", "status"):
        told = configured(PYTHON, copied, verb, check=False)
        assert told.returncode == 1
        assert told.stderr.startswith(f"git-credential-bitbucket: error: {verb} is not part of this one-file program\n")
        assert "pipx install ." in told.stderr, "there is no release at PyPI"
    for words in (["help"], ["help", "configure"]):
        usage = configured(PYTHON, copied, *words).stdout
        assert usage.startswith("usage: git-credential-bitbucket ")
        assert "--host" in usage or words == ["help"], "it shows the verb's help, and does not run it"
    request = f"protocol=https\nhost={url.split('/')[2]}\nusername=alice\npassword=typed\n"
    assert not configured("git", "credential", "approve", stdin=request).stderr


def test_exec_serves_a_command_that_holds_no_secret(
    configured: Runner, copied: Path, bitbucket: FakeBitbucket, home: Path
) -> None:
    """Its git is answered from the environment that `exec` has, its exit code is the command's, and nothing is left."""
    url, token = bitbucket.create_repository("acme/app"), bitbucket.issue_access_token("acme/app")
    job = f"env; git clone --quiet {url} clone && cd clone && git fetch && exit 7"
    env = {**configured.env, "BITBUCKET_TOKEN": token}
    answer = configured(PYTHON, copied, "exec", "--", "sh", "-c", job, env=env, check=False)
    assert answer.returncode == 7, answer.stderr
    assert "GIT_CONFIG_COUNT=" in answer.stdout
    assert token not in answer.stdout + answer.stderr
    used = {(entry.secret, entry.status) for entry in bitbucket.requests("git") if entry.auth}
    assert used == {(digest(token), 200)}
    assert not [path for path in home.rglob("*") if path.name.startswith("exec-")]


def test_exec_says_why_it_has_nothing_to_offer(configured: Runner, copied: Path, bitbucket: FakeBitbucket) -> None:
    """A rejected token is not offered again for a minute; a consumer, whose tokens are to be minted, needs more."""
    url, token = bitbucket.create_repository("acme/app"), bitbucket.issue_access_token("acme/app")
    bitbucket.revoke(token)
    env = {**configured.env, "BITBUCKET_TOKEN": token}
    job = f"git ls-remote {url}; git ls-remote {url}"
    told = configured(PYTHON, copied, "exec", "sh", "-c", job, env=env, check=False).stderr
    assert "git-credential-bitbucket: error: Bitbucket rejected the secret in BITBUCKET_TOKEN" in told
    assert len([entry for entry in bitbucket.requests("git") if entry.auth]) == 1
    env = {**configured.env, "BITBUCKET_CLIENT_ID": "key", "BITBUCKET_CLIENT_SECRET": "secret"}
    told = configured(PYTHON, copied, "exec", "true", env=env, check=False).stderr
    assert told.startswith("git-credential-bitbucket: error: this one-file program does not serve an OAuth consumer\n")


def test_what_serves_exec_ends_with_it(configured: Runner, copied: Path) -> None:
    """By the end of a pipe: SIGKILL leaves nobody who could say that it ends."""
    env = {**configured.env, "BITBUCKET_TOKEN": "ATCTT3-not-a-token"}
    command = [PYTHON, str(copied), "exec", "--", "sh", "-c", "echo $GIT_CREDENTIAL_BITBUCKET_SOCKET; sleep 60"]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        path = process.stdout.readline().decode().strip()
        _, answer = ipc.send_request(path, ipc.format_request("ping", b""))
        handle = os.pidfd_open(int(answer.removeprefix(b"pid=")))
        process.send_signal(signal.SIGKILL)
        try:
            assert select.select([handle], [], [], 20)[0], "it still runs"
        finally:
            os.close(handle)
            os.killpg(process.pid, signal.SIGKILL)
    assert not os.path.exists(os.path.dirname(path))


def test_doctor_looks_at_the_way_to_a_token(configured: Runner, copied: Path, bitbucket: FakeBitbucket) -> None:
    """With a token all is well; without one it says what is missing, and ends with 1. No secret is printed."""
    url, token = bitbucket.create_repository("acme/app"), bitbucket.issue_access_token("acme/app")
    env = {**configured.env, "BITBUCKET_TOKEN": token}
    well = configured(PYTHON, copied, "doctor", url, env=env).stdout
    assert "git gets username x-token-auth" in well
    assert token not in well
    wrong = configured(PYTHON, copied, "doctor", url, check=False)
    assert wrong.returncode == 1
    assert "the environment holds no token" in wrong.stdout


def test_configure_is_taken_back_and_known_again(configured: Runner, copied: Path, bitbucket: FakeBitbucket) -> None:
    """Done twice it changes nothing; what it wrote runs Python isolated, by its whole path; `unconfigure` finds it."""
    lines = ["git", "config", "--global", "--get-all", f"credential.{bitbucket.url}.helper"]
    written = configured(*lines).stdout
    helper = written.split("\n")[1]
    assert helper.startswith("!/")
    assert " -I -S " in helper
    assert executable.only_word(helper) == str(copied)
    assert executable.runs_this_program(helper)
    configured(PYTHON, copied, "configure", "--host", bitbucket.url)
    assert configured(*lines).stdout == written
    configured(PYTHON, copied, "unconfigure")
    assert configured(*lines, check=False).stdout == ""


def test_it_runs_by_itself_and_tells_its_version(run: Runner, pyz: Path) -> None:
    """Executable as it is released, also through a link."""
    link = run.folder / "git-credential-bitbucket"
    link.symlink_to(pyz)
    for program in (pyz, link):
        assert run(program, "version").stdout.startswith("git-credential-bitbucket 0.")
        assert run(program, "capability").stdout.startswith("version 0\n")
    assert not run(program, "an-operation-to-come").stdout
