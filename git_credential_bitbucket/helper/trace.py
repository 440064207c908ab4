"""The trace of a `get`: the credentials that cover it, in the order of `explain`, and the answer. Never a secret."""

import json
import os

from git_credential_bitbucket import git_protocol, processes
from git_credential_bitbucket.bitbucket import token_kinds
from git_credential_bitbucket.client import messages
from git_credential_bitbucket.client.agent_client import AgentClient
from git_credential_bitbucket.errors import DaemonUnavailable

SHOWN_ATTRIBUTES = frozenset({"username", "password_expiry_utc", "quit"})


def trace_candidates(request: git_protocol.Request, data: bytes, client: AgentClient) -> None:
    """Trace each credential that covers git's request, and its outcome."""
    path = None
    if request.path is None:
        path = processes.asked_path(os.getpid(), request.protocol, request.host)
        messages.trace(f"git names no repository; its command line names {path or 'none'}")
    fields = [("asked_path", path)] if path else []
    try:
        reply = client.reply("explain", git_protocol.emit(fields) + data)
    except DaemonUnavailable as exc:  # `get` may succeed all the same
        messages.trace(exc.cause)
        return
    for key, value in git_protocol.parse_pairs(reply):
        if key == "candidate[]":
            told = json.loads(value)
            because = f", because {told['because']}" if told.get("because") else ""
            why = f": {told['why']}" if told["why"] else ""
            messages.trace(f"{told['kind']} {told['id']} for {told['scope']}: {told['outcome']}{because}{why}")
        elif key == "elsewhere[]":
            messages.trace(f"stored for other scopes: {value}")
        elif key in ("vault", "trouble", "error"):
            messages.trace(f"{key}: {value}")


def trace_answer(reply: bytes) -> None:
    """Trace the answer to git, without the secret."""
    told = []
    for key, value in git_protocol.parse_pairs(reply):
        if key in SHOWN_ATTRIBUTES:  # and even there a token may stand in place of a name
            is_token = token_kinds.recognise(value) != token_kinds.UNKNOWN
            told.append(f"{key}={'(a secret)' if is_token else value}")
    messages.trace(f"answer: {', '.join(told) or 'none'}")
