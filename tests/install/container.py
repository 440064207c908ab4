"""A container as the recipes have it, without an engine: a chroot with git alone, and what is mounted into it.

As a program, it stands in for `docker`, with the recipes' options: `container.py ROOT CONFIG CA run|build …`.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

CA_FILE = "/etc/ca.pem"
"""The stand-in's certificate, inside."""
HOME = "/tmp"  # noqa: S108 - of a container that ends with its command
CHROOT = shutil.which("chroot", path="/usr/sbin:/usr/bin:/sbin") or "chroot"
IS_POSSIBLE = (
    sys.platform == "linux"
    and os.getuid() == 0
    and subprocess.run(["unshare", "--mount", "true"], check=False).returncode == 0
)
"""Whether this user may mount what a container has; not where this is a container itself, with fewer rights."""
PROGRAMS = ("git", "sh", "cat", "env")
_LIBRARY = re.compile(r"(?:=> )?(/\S+) \(0x")


def make(root: Path) -> Path:
    """A root directory with git, the little that its helper needs, and the libraries of both."""
    core = Path(subprocess.run(["git", "--exec-path"], capture_output=True, text=True, check=True).stdout.strip())
    wanted = {Path(shutil.which(name) or name): f"/bin/{name}" for name in PROGRAMS}
    wanted |= {core / name: f"{core}/{name}" for name in ("git", "git-remote-https", "git-credential-cache")}
    told = subprocess.run(["ldd", *map(str, wanted)], capture_output=True, text=True, check=True).stdout
    wanted |= {Path(name): name for name in _LIBRARY.findall(told)}
    for source, target in wanted.items():
        inside = root / target.lstrip("/")
        inside.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, inside)
    for name in ("bitbucket", "dev", "etc", "run", "tmp", "usr/share/git-core/templates"):
        (root / name).mkdir(parents=True)
    (root / "etc" / "gitconfig").touch()
    root.chmod(0o755)
    return root


def command(
    root: str, config: str, words: list[str], env: dict[str, str], mounts: dict[str, str], user: str = "0"
) -> list[str]:
    """The command that runs `words` in a container: `mounts` by their path inside; `config` is its git's own."""
    given = {"PATH": "/bin", "HOME": HOME, "GIT_TERMINAL_PROMPT": "0", **env}
    lines = ["set -e", f"mount -t tmpfs tmpfs {root}/run", f"mount -t tmpfs -o mode=1777 tmpfs {root}{HOME}"]
    for inside, outside in {"/etc/gitconfig": config, "/dev": "/dev", **mounts}.items():
        target = shlex.quote(root + inside)
        make_it = (
            f"mkdir -p {target}" if os.path.isdir(outside) else f"mkdir -p {os.path.dirname(target)}; : >>{target}"
        )
        lines += [make_it, f"mount --bind {shlex.quote(outside)} {target}"]
    settings = [f"{name}={value}" for name, value in given.items()]
    run = [CHROOT, f"--userspec={user}:{user}", root, "env", "-i", *settings, *words]
    return ["unshare", "--mount", "sh", "-c", "\n".join([*lines, f"exec {shlex.join(run)}"])]


def main(arguments: list[str]) -> int:
    """Do what `docker` is asked for; returns the exit code."""
    root, config, ca_file, verb, *words = arguments
    mounts = {CA_FILE: ca_file}
    env: dict[str, str] = {}
    user = "0"
    while words[0].startswith("-"):
        option = words.pop(0)
        value = "" if option == "--rm" else words.pop(0)
        if option == "--user":
            user = value
        elif option == "--env-file":
            env = dict(line.split("=", 1) for line in Path(value).read_text().splitlines())
        elif option == "-v":
            outside, inside, _ = value.split(":")
            mounts[inside] = outside
        elif option == "--secret":
            named = dict(part.split("=", 1) for part in value.split(","))
            mounts[f"/run/secrets/{named['id']}"] = named["src"]
    if verb == "run":
        return subprocess.run(command(root, config, words[1:], env, mounts, user), check=False).returncode
    text = Path(words[0], "Dockerfile").read_text()
    (line,) = re.findall(r"^RUN --mount=type=secret,id=bitbucket (.*)$", text, re.MULTILINE)
    return subprocess.run(command(root, config, ["sh", "-c", line], env, mounts, user), check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
