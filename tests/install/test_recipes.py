"""The recipes for build services: their own shell, run with the variables that the service sets, and the job's git."""

import hashlib
import os
import re
import shutil
import subprocess
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from install import wheels
from tests.fake_bitbucket.client import FakeBitbucket
from tests.fake_bitbucket.tokens import digest
from tests.running import Runner

RECIPES = wheels.ROOT / "install" / "recipes"
URL = "https://bitbucket.org/acme/app.git"
CLONE = f"git clone --quiet {URL} clone"


class Job:
    """A job of a build service: its environment, in a folder of its own, and the file as a release has it."""

    def __init__(self, run: Runner, home: Path, pyz: Path, token: str) -> None:
        self.env = run.env
        self.run = run
        self.folder = home / "work" / "a job"
        self.folder.mkdir()
        self.token = token
        self.pyz = pyz
        self.released = {
            "BITBUCKET_HELPER_URL": pyz.as_uri(),
            "BITBUCKET_HELPER_SHA256": hashlib.sha256(pyz.read_bytes()).hexdigest(),
        }

    def shell(self, script: str, env: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
        """Run `script` as the service does: by `sh`, in the job's folder."""
        return self.run("sh", *options, "-c", script, env={**self.env, **env}, cwd=self.folder, check=False)


def block(text: str, key: str) -> str:
    """The one literal block of a YAML document that stands behind `key`."""
    ((indent, lines),) = re.findall(rf"^( *){key} \|.*\n((?:\1 +.*\n|\n)+)", text, re.MULTILINE)
    assert lines.startswith(indent)
    return textwrap.dedent(lines)


def github(job: Job) -> subprocess.CompletedProcess[str]:
    """The composite action, then a step that finds what it wrote to GITHUB_ENV in its environment."""
    temp, variables = job.folder / "_temp", job.folder / "env"
    temp.mkdir()
    text = (RECIPES / "github" / "action.yml").read_text()
    inputs = dict(re.findall(r"^        (\w+): \$\{\{ inputs\.(\w+) \}\}$", text, re.MULTILINE))
    assert inputs == {"TOKEN": "token", "TOKENS": "tokens"}
    given = {"TOKEN": job.token, "TOKENS": ""}
    script = block(text, "run:")
    service = {
        "GITHUB_ACTION_PATH": str(RECIPES / "github"),
        "GITHUB_ENV": str(variables),
        "RUNNER_TEMP": str(temp),
        "CI": "true",
    }
    done = job.shell(script, {**service, **given}, "-e")
    if done.returncode != 0:
        return done
    written = dict(line.split("=", 1) for line in variables.read_text().splitlines())
    assert job.token not in written.values()
    return job.shell(CLONE, {**service, **written}, "-e")


def pipe(job: Job) -> subprocess.CompletedProcess[str]:
    """The pipe's entry point, beside the file as in its image."""
    image = job.folder / "image"
    image.mkdir()
    for file in (job.pyz, RECIPES / "bitbucket" / "pipe.sh"):
        shutil.copy(file, image)
    names = re.findall(r"^  - name: (\w+)$", (RECIPES / "bitbucket" / "pipe.yml").read_text(), re.MULTILINE)
    assert names == ["BITBUCKET_ACCESS_TOKEN", "COMMAND"]
    service = {"BITBUCKET_CLONE_DIR": str(job.folder), "BITBUCKET_BUILD_NUMBER": "1", "CI": "true"}
    env = {**job.env, **service, **dict(zip(names, (job.token, CLONE), strict=True))}
    return job.run(image / "pipe.sh", env=env, cwd=job.folder, check=False)


def gitlab(job: Job) -> subprocess.CompletedProcess[str]:
    """The include's before_script and the job's own script, which GitLab runs as one shell script."""
    script = block((RECIPES / "gitlab" / "bitbucket.gitlab-ci.yml").read_text(), "-")
    service = {"CI_PROJECT_DIR": str(job.folder / "project"), "GITLAB_CI": "true", "CI": "true"}
    env = {**service, **job.released, "BITBUCKET_ACCESS_TOKEN": job.token}
    return job.shell(f"{script}\n{CLONE}", env, "-e")


def jenkins(job: Job) -> subprocess.CompletedProcess[str]:
    """The library step's shell, then the block's, each a process of its own in what withEnv and withCredentials set."""
    text = (RECIPES / "jenkins" / "vars" / "bitbucketGit.groovy").read_text()
    (script,) = re.findall(r"'''(.*?)'''", text, re.DOTALL)
    temp = str(job.folder / "workspace@tmp")
    set_by_step = dict(re.findall(r'"([A-Z_]+)=\$\{env\.WORKSPACE_TMP\}([^"]*)"', text))
    env = {"WORKSPACE_TMP": temp, "BUILD_TAG": "jenkins-app-1", **job.released, "BITBUCKET_TOKEN": job.token}
    env |= {name: temp + path for name, path in set_by_step.items()}
    done = job.shell(script, env, "-xe")
    return job.shell(CLONE, env, "-xe") if done.returncode == 0 else done


RECIPE: dict[str, Callable[[Job], subprocess.CompletedProcess[str]]] = {
    "github": github,
    "pipe": pipe,
    "gitlab": gitlab,
    "jenkins": jenkins,
}


@pytest.fixture
def job(run: Runner, home: Path, pyz: Path, bitbucket: FakeBitbucket) -> Job:
    """A job on a machine whose own git configuration names the proxy that leads to the stand-in."""
    bitbucket.create_repository("acme/app")
    for key, value in {"http.proxy": bitbucket.proxy_url, "http.sslCAInfo": bitbucket.ca_file}.items():
        run("git", "config", "--global", key, value)
    return Job(run, home, pyz, bitbucket.issue_access_token("acme/app"))


@pytest.mark.parametrize("service", RECIPE)
def test_a_recipe_serves_a_job(job: Job, bitbucket: FakeBitbucket, home: Path, service: str) -> None:
    """The job's git clones with the token; it is told nowhere, nor are modules imported that lie in the work tree. Only
    in a container is the user's own configuration written.
    """
    before = (home / ".gitconfig").read_text()
    for module in ("sitecustomize", "urllib", "argparse", "zipfile", "git_credential_bitbucket"):
        (job.folder / f"{module}.py").write_text("import os; os.write(2, b'not ours\\n'); os._exit(1)")
    job.env["PYTHONPATH"] = str(job.folder)
    done = RECIPE[service](job)
    assert done.returncode == 0, done.stderr
    used = {(entry.secret, entry.status) for entry in bitbucket.requests("git") if entry.auth}
    assert used == {(digest(job.token), 200)}
    assert job.token not in done.stdout + done.stderr
    if service != "pipe":
        assert (home / ".gitconfig").read_text() == before


@pytest.mark.parametrize("service", ["gitlab", "jenkins"])
def test_a_file_that_is_not_the_release_is_not_run(job: Job, service: str) -> None:
    """What is downloaded is checked before it is started."""
    job.released["BITBUCKET_HELPER_SHA256"] = "0" * 64
    assert RECIPE[service](job).returncode != 0
    assert not os.path.exists(job.folder / "clone")


@pytest.mark.parametrize("name", ["INT", "TERM", "HUP"])
def test_an_interrupted_build_leaves_no_secret(tmp_path: Path, name: str) -> None:
    """Ctrl-C goes to the shell and to docker."""
    stubs = {"docker": f"kill -{name} 0", "git-credential-bitbucket": "echo password=made-up"}
    for program, line in stubs.items():
        (tmp_path / program).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / program).chmod(0o755)
    (tmp_path / "tmp").mkdir()
    command = [str(RECIPES / "docker" / "build.sh"), "acme/app", "."]
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin", "TMPDIR": str(tmp_path / "tmp")}
    assert subprocess.run(command, env=env, start_new_session=True, check=False).returncode != 0
    assert not list((tmp_path / "tmp").iterdir())
