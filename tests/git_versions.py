"""Owns the gits that the tests run: the machine's, and a newer one that knows `state` and `continue` (git 2.46).

`python -m tests.git_versions` prepares the newer one: Debian's packages of a later suite, unpacked into the user's
cache and started by their own dynamic loader, so that they run beside whatever the machine has installed. The
suite's address is derived from the machine's own apt configuration, and apt checks the signatures as always.
"""

import fcntl
import functools
import glob
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass

NEWER_SINCE = (2, 46)
SUITES = ("trixie", "sid")
COMMAND_TIMEOUT_S = 300

# Of git's dependencies, what cloning and pushing over HTTPS does without.
_NOT_NEEDED = re.compile(r"^(perl|libperl|liberror-perl|git-man|gcc-|libdb5|libgdbm|openssl-provider|libc-gconv)")
_DEBIAN_RELEASES = re.compile(r"^(oldstable|stable|testing|unstable|sid|bullseye|bookworm|trixie|forky|duke)$")
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


@dataclass(frozen=True)
class Git:
    """A git that can be run: by its absolute path, with nothing in the environment that it would need."""

    path: str
    version: tuple[int, ...]

    def __str__(self) -> str:
        return "git " + ".".join(map(str, self.version))


class GitMissing(Exception):
    """Why a git cannot be had here; the text names what is missing."""


def machine_git() -> Git:
    """The git in PATH; raises GitMissing."""
    path = shutil.which("git")
    if path is None:
        raise GitMissing("there is no git in PATH")
    return Git(path, _version(path))


@functools.cache
def newer_git() -> Git:
    """A git of at least 2.46, and newer than the machine's where one can be had; raises GitMissing.

    Prepared on first use, which takes some seconds and a package mirror; afterwards it comes from the cache.
    """
    machine, cache = machine_git(), _cache()
    wanted = max(NEWER_SINCE, (machine.version[0], machine.version[1] + 1))
    os.makedirs(cache, mode=0o700, exist_ok=True)
    with open(os.path.join(cache, "lock"), "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            return _cached(cache, wanted) or _prepare(cache, wanted)
        except GitMissing:
            if machine.version < NEWER_SINCE:
                raise
            return machine


def _cached(cache: str, wanted: tuple[int, ...]) -> Git | None:
    for path in sorted(glob.glob(os.path.join(cache, "git-*", "usr", "bin", "git"))):
        version = _version(path)
        if version >= wanted:
            return Git(path, version)
    return None


def _prepare(cache: str, wanted: tuple[int, ...]) -> Git:
    missing = [tool for tool in ("apt-get", "dpkg-deb") if shutil.which(tool) is None]
    if missing:
        raise GitMissing(f"git {_dotted(wanted)} or later needs {' and '.join(missing)} to be unpacked here")
    reasons = []
    for suite in SUITES:
        for address in _addresses():
            with tempfile.TemporaryDirectory(dir=cache) as work:
                try:
                    return _unpack(_Apt(work, address, suite), cache, wanted)
                except GitMissing as exc:
                    reasons.append(f"{suite}: {exc}")
    raise GitMissing("; ".join(reasons) or "apt knows no Debian archive")


class _Apt:
    """apt with a sources list, state and cache of its own in `work`. Its state: the options that say so."""

    def __init__(self, work: str, address: str, suite: str) -> None:
        self.work = work
        signed = f"[signed-by={_KEYRING}] " if os.path.exists(_KEYRING) else ""
        sources = os.path.join(work, "sources.list")
        with open(sources, "w", encoding="utf-8") as file:
            file.write(f"deb {signed}{address} {suite} main\n")
        with open(os.path.join(work, "status"), "w", encoding="utf-8"):
            pass  # nothing is installed: so all of git's dependencies are named
        for folder in ("state/lists/partial", "cache/archives/partial", "debs"):
            os.makedirs(os.path.join(work, folder))
        self._options = [
            f"Dir::Etc::sourcelist={sources}",
            "Dir::Etc::sourceparts=/dev/null",
            f"Dir::State={work}/state",
            f"Dir::State::status={work}/status",
            f"Dir::Cache={work}/cache",
            "Acquire::Languages=none",
            "Acquire::Retries=1",
            "Acquire::http::Timeout=20",
            "APT::Sandbox::User=",  # the user `_apt` may not write where we are
        ]

    def get(self, *arguments: str) -> str:
        """What `apt-get` prints; raises GitMissing with what went wrong."""
        options = [word for option in self._options for word in ("-o", option)]
        return _output(["apt-get", "-qq", *options, *arguments], os.path.join(self.work, "debs"))


def _unpack(apt: _Apt, cache: str, wanted: tuple[int, ...]) -> Git:
    apt.get("update")
    plan = apt.get("--simulate", "--no-install-recommends", "install", "git")
    packages = dict(re.findall(r"^Inst (\S+) \((\S+) ", plan, re.MULTILINE))
    version = _numbers(packages.get("git", "").partition(":")[2])
    if version < wanted:
        raise GitMissing(f"has git {_dotted(version)}, not {_dotted(wanted)}")
    apt.get("download", *(name for name in packages if not _NOT_NEEDED.match(name)))
    root = os.path.join(apt.work, "root")
    for package in sorted(glob.glob(os.path.join(apt.work, "debs", "*.deb"))):
        _output(["dpkg-deb", "--extract", package, root], apt.work)
    final = os.path.join(cache, "git-" + _dotted(version))
    shutil.rmtree(final, ignore_errors=True)
    _wrap_programs(root, final)
    os.rename(root, final)
    path = os.path.join(final, "usr", "bin", "git")
    try:
        return Git(path, _version(path))
    except GitMissing:
        shutil.rmtree(final)  # a git that does not run here would be found in the cache the next time
        raise


def _wrap_programs(root: str, final: str) -> None:
    """Replace each program by a script that starts it with its own loader and libraries.

    Not LD_LIBRARY_PATH: the helper and everything else that git starts would inherit it.
    """
    loaders = [each for each in glob.glob(f"{root}/usr/lib/*/ld-linux*.so.*") if not os.path.islink(each)]
    if not loaders:
        raise GitMissing("the packages hold no dynamic loader for this kind of machine")
    loader = loaders[0].replace(root, final, 1)
    core = os.path.join(final, "usr", "lib", "git-core")
    os.mkdir(os.path.join(root, "programs"))
    for path in glob.glob(f"{root}/usr/lib/git-core/*") + glob.glob(f"{root}/usr/bin/git*"):
        if os.path.islink(path) or not _is_program(path):
            continue
        name = f"{os.path.basename(os.path.dirname(path))}-{os.path.basename(path)}"
        os.rename(path, os.path.join(root, "programs", name))
        words = [loader, "--library-path", os.path.dirname(loader), os.path.join(final, "programs", name)]
        start, program = shlex.join(words[:3]), shlex.quote(words[3])
        with open(path, "w", encoding="utf-8") as script:
            script.write(
                f"#!/bin/sh\nGIT_EXEC_PATH={shlex.quote(core)}\nexport GIT_EXEC_PATH\n"
                f'exec {start} --argv0 "$0" {program} "$@"\n'
            )
        os.chmod(path, 0o700)


def _is_program(path: str) -> bool:
    if not os.path.isfile(path):
        return False
    with open(path, "rb") as file:
        return file.read(4) == b"\x7fELF"


def _addresses() -> list[str]:
    """Where the machine's own apt gets Debian from; the archive's other suites are beside that one."""
    listed = _output(["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages"], "/")
    pairs = [line.split() for line in listed.split("\n") if line]
    return list(dict.fromkeys(pair[0] for pair in pairs if len(pair) == 2 and _DEBIAN_RELEASES.match(pair[1])))


def _version(path: str) -> tuple[int, ...]:
    return _numbers(_output([path, "--version"], "/").removeprefix("git version "))


def _numbers(text: str) -> tuple[int, ...]:
    found = re.match(r"\d+(\.\d+)*", text)
    return tuple(int(part) for part in found[0].split(".")) if found else ()


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def _output(command: list[str], folder: str) -> str:
    environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": folder, "LC_ALL": "C"}
    environment.update({name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")})
    try:
        answer = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=True, timeout=COMMAND_TIMEOUT_S
        )
    except (OSError, subprocess.SubprocessError) as exc:
        told = getattr(exc, "stderr", None) or str(exc)
        raise GitMissing(f"{os.path.basename(command[0])}: {str(told).strip()}") from exc
    return answer.stdout


def _cache() -> str:
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(base, "git-credential-bitbucket-tests")


if __name__ == "__main__":
    try:
        print(f"{machine_git()}: {machine_git().path}")  # noqa: T201 - a command's answer
        print(f"{newer_git()}: {newer_git().path}")  # noqa: T201 - a command's answer
    except GitMissing as missing:
        sys.exit(f"tests.git_versions: {missing}")
