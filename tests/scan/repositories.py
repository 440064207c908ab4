"""Owns the repositories of the audit's tests: made at run time by git fast-import, of any size, with secrets in them.

`python -m tests.scan.repositories DIRECTORY [COMMITS]` makes a large one and tells how long its audit takes.
"""

import random
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

FILES = 2000
FILES_A_COMMIT = 3
LINES_A_FILE = 120
COMMITS_A_BRANCH = 500


@dataclass
class Change:
    """A commit yet to be: what is written into which file, and what is removed."""

    files: dict[str, bytes] = field(default_factory=dict)
    message: bytes = b"change"
    removed: tuple[str, ...] = ()


def make(folder: Path, env: Mapping[str, str], changes: Iterator[Change] | list[Change]) -> Path:
    """A repository with these commits on `main`, the last of them checked out."""
    folder.mkdir(parents=True)
    git(folder, env, "init", "--quiet", "--initial-branch=main")
    with subprocess.Popen(
        ["git", "fast-import", "--quiet", "--force"], cwd=folder, env=dict(env), stdin=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        for number, change in enumerate(changes):
            message = change.message
            lines = [
                b"commit refs/heads/main",
                b"committer Alice <alice@example.com> %d +0000" % (1_500_000_000 + 60 * number),
                b"data %d\n%s" % (len(message), message),
            ]
            for path, content in change.files.items():
                lines += [b"M 100644 inline %s" % path.encode(), b"data %d\n%s" % (len(content), content)]
            lines += [b"D %s" % path.encode() for path in change.removed]
            process.stdin.write(b"\n".join(lines) + b"\n")
        process.stdin.close()
        assert process.wait() == 0
    git(folder, env, "reset", "--quiet", "--hard", "main")
    return folder


def git(folder: Path, env: Mapping[str, str], *words: str) -> str:
    """Run git there."""
    return subprocess.run(["git", *words], cwd=folder, env=dict(env), check=True, capture_output=True, text=True).stdout


def long_history(commits: int, secrets: Mapping[int, bytes], seed: int = 1) -> Iterator[Change]:
    """A history as a product's is: source files of some kB, a few lines of a few files changed in each commit.

    `secrets` are lines that a commit of that number has in a file of its own, and the next one has no more.
    """
    chance = random.Random(seed)
    words = [bytes(chance.choices(b"abcdefghijklmnopqrstuvwxyz_", k=chance.randint(2, 12))) for _ in range(4000)]

    def line() -> bytes:
        return b"    " + b" ".join(chance.choices(words, k=7)) + b"\n"

    files = [[line() for _ in range(LINES_A_FILE)] for _ in range(FILES)]
    for number in range(commits):
        change = Change(message=line().strip())
        for _ in range(FILES_A_COMMIT):
            which = chance.randrange(FILES)
            files[which][chance.randrange(LINES_A_FILE)] = line()
            change.files[f"src/part{which % 40}/file{which}.py"] = b"".join(files[which])
        if number in secrets:
            change.files["settings.env"] = b"# settings\n" + secrets[number] + b"\n"
        if number - 1 in secrets:
            change.removed = ("settings.env",)
        yield change


def _bench(folder: Path, commits: int) -> None:
    from git_credential_bitbucket.scan import history
    from git_credential_bitbucket.scan import safe_git as safe
    from git_credential_bitbucket.scan.patterns import CLOUD_HOSTS
    from tests.fake_bitbucket import tokens

    env = {"HOME": str(folder), "PATH": "/usr/local/bin:/usr/bin:/bin", "GIT_CONFIG_NOSYSTEM": "1"}
    if not (folder / "repository").exists():
        secret = b"BITBUCKET_APP_PASSWORD=" + tokens.app_password().encode()
        make(folder / "repository", env, long_history(commits, {commits // 2: secret}))
    repository = safe.find(str(folder / "repository"), env)
    assert repository is not None
    started = time.monotonic()
    found, _ = history.scan_history(repository, CLOUD_HOSTS)
    took = time.monotonic() - started
    print(f"{commits} commits, {len(found)} findings, {took:.1f} s")  # noqa: T201 - a command's answer
    for finding in found:
        print(finding.where, finding.what)  # noqa: T201 - as above


if __name__ == "__main__":
    _bench(Path(sys.argv[1]).absolute(), int(sys.argv[2]) if len(sys.argv) > 2 else 50_000)
