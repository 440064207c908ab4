"""A whole request: `git credential fill`, as git asks before it talks to Bitbucket. The answer is masked."""

from __future__ import annotations

import subprocess
import time

from git_credential_bitbucket import git_config, git_protocol
from git_credential_bitbucket.client import messages
from git_credential_bitbucket.diagnostics.finding import OK, WRONG, DoctorContext, Finding
from git_credential_bitbucket.errors import Error
from git_credential_bitbucket.gitsetup import git_request
from git_credential_bitbucket.secret import Secret

CHECK = "round trip"
LIMIT_S = 60.0
"""The front end gives up after 40 s."""
_NO_PROMPTS = {"GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "", "SSH_ASKPASS": "", "GCM_INTERACTIVE": "never"}
_REPOSITORY = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_CONFIG", "GIT_PREFIX")


def look(context: DoctorContext) -> Finding:
    """Ask git, without a prompt. Runs at the root directory, so that no helper of the repository's own is run."""
    question = git_request.request_for(context.url, context.trusted)
    path = {"path": context.url.path} if context.url.path else {}
    data = git_protocol.emit([*(path | question).items()]) + b"\n"
    kept = {name: value for name, value in context.env.items() if name not in _REPOSITORY}
    env = {**kept, **_NO_PROMPTS, "LC_ALL": "C"}
    started = time.monotonic()
    try:
        fill = [git_config.find_git(context.env), "credential", "fill"]
        done = subprocess.run(fill, cwd="/", env=env, input=data, capture_output=True, timeout=LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        cause = f"`git credential fill` did not finish within {LIMIT_S:.0f} s"
        return Finding(CHECK, WRONG, cause, "see the lines above")
    except Error as exc:
        return Finding(CHECK, WRONG, exc.cause, exc.hint)
    took = (time.monotonic() - started) * 1000
    told = dict(git_protocol.parse_pairs(done.stdout))
    if not told.get("password"):
        return _no_answer(done.stderr.decode("utf-8", "replace"), context)
    secret = Secret(told["password"]).masked()
    username = git_protocol.printable(told.get("username", ""))
    return Finding(CHECK, OK, f"git gets username {username} and password {secret} in {took:.0f} ms")


def _no_answer(stderr: str, context: DoctorContext) -> Finding:
    """Our own line and hint, which go before git's, for they name the cause."""
    said: dict[str, str] = {}
    for line in stderr.split("\n"):
        for kind in ("error", "hint"):
            if line.startswith(f"{messages.NAME}: {kind}: "):
                said.setdefault(kind, line.partition(f": {kind}: ")[2])
    cause = said.get("error") or "no helper answers, and none says why"
    hint = said.get("hint") or f"see: {messages.NAME} explain {context.url.base}"
    return Finding(
        CHECK, WRONG, f"git gets nothing: {git_protocol.printable(cause, 1000)}", git_protocol.printable(hint, 1000)
    )
