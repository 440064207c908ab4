"""The document of `explain`: git's request for a URL, and which credential answers it, or why none does.

Changes nothing, renews nothing, and never shows a secret.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from typing import TYPE_CHECKING

from git_credential_bitbucket import git_config, git_protocol
from git_credential_bitbucket.agent.naming import login_command
from git_credential_bitbucket.bitbucket import hosts, scopes
from git_credential_bitbucket.client import daemon_info, environment_tokens, interactivity, live_check
from git_credential_bitbucket.client.shared_client import query
from git_credential_bitbucket.diagnostics.status_report import vault_state
from git_credential_bitbucket.errors import DaemonDisabled, Error, Problem
from git_credential_bitbucket.gitsetup import git_behaviour, git_request
from git_credential_bitbucket.gitsetup.executable import is_this_program
from git_credential_bitbucket.gitsetup.other_helpers import shown_helper
from git_credential_bitbucket.ui import arguments

if TYPE_CHECKING:
    from git_credential_bitbucket.agent.status_views import Winner
    from git_credential_bitbucket.bitbucket.rest import VerdictView
    from git_credential_bitbucket.diagnostics.explain_view import Answer, DaemonView, Document, EnvironmentView, Helper


def explain(text: str | None, *, is_checked: bool = False) -> Document:
    """Everything that decides about `text`, or about the remote here; what Bitbucket says of it, if `is_checked`.

    Raises `Error`.
    """
    folder = git_request.folder_here()
    source, address, url = _address(text, folder)
    if url is None:
        return _not_asked(source, address)
    here = git_config.read_repository(os.environ, folder)
    lines = git_request.request_for(url, here)
    data = git_protocol.emit([*lines.items()])
    request = git_protocol.parse(data)
    document: Document = {
        "url": url.shown,
        "source": source,
        "asked": lines | ({"username": git_request.shown_name(lines["username"])} if "username" in lines else {}),
        "path_withheld": bool(url.path) and request.path is None,
        "beforehand": git_behaviour.sent_unasked(url, here, os.environ),
        "helpers": _helpers(url, here),
        "daemon": _daemon(),
        "environment": None,
        "vault": None,
        "candidates": [],
        "dropped": [],
        "elsewhere": [],
        "answer": None,
        "none": None,
    }
    problem = _not_for_us(request, document) or _fill_in(url, request, data, document)
    if problem is not None:
        state = None if document["vault"] is None else dict(query("why", [], data)).get("state")
        then = git_behaviour.next_step(state, url.shown, here, os.environ)
        document["none"] = {"cause": problem.cause, "hint": problem.hint or "", "then": then}
    elif is_checked:
        document["verdict"] = _verdict(url, data, document)
    return document


def _verdict(url: git_request.Url, data: bytes, document: Document) -> VerdictView | None:
    """What Bitbucket says of what git gets."""
    answer, tokens = document["answer"], []
    if answer is not None and answer["from"] == "environment":
        tokens = list(filter(None, [_found(url, data)]))
    ids = [answer["from"]] if answer is not None and not tokens else []
    names = scopes.names_of(url.path, url.host)
    repository = f"{url.base}/{'/'.join(names)}" if len(names) > 1 and url.protocol == "https" else None
    return next(iter(live_check.check(ids, tokens, url.base, repository).values()), None)


def _found(url: git_request.Url, data: bytes) -> environment_tokens.EnvironmentCredential | None:
    """What the environment has for this request."""
    path = [("path", url.path)] if sys.platform == "linux" and url.path and b"\npath=" not in data else []
    return environment_tokens.find(os.environ, git_protocol.parse(data + git_protocol.emit(path)))


def _address(text: str | None, folder: str) -> tuple[str, str, git_request.Url | None]:
    """Where the address is from, in words, the address, and its URL; None for one that git asks no helper about."""
    if text is not None:
        return "as given", text, git_request.parse_argument(text)
    found = git_request.remote(os.environ, folder)
    if found is None:
        return "no remote here, so bitbucket.org", hosts.CLOUD_URL, git_request.parse_url(hosts.CLOUD_URL)
    return "the remote of this repository", found, git_request.parse_url(found)


def _not_asked(source: str, address: str) -> Document:
    cause = "git asks credential helpers only for http and https URLs, and this is not one"
    path = "WORKSPACE/REPOSITORY"
    if (scope := arguments.parse_ssh(address)) is not None and scope.host == hosts.CLOUD_HOST and scope.path:
        path = scope.path.removesuffix(".git")
    hint = f"use the https URL: {shlex.join(['git', 'remote', 'set-url', 'origin', f'{hosts.CLOUD_URL}/{path}.git'])}"
    return {"url": None, "source": source, "asked": None, "answer": None, "none": {"cause": cause, "hint": hint}}


def _helpers(url: git_request.Url, here: git_config.GitConfig) -> list[Helper]:
    found = here.helpers(f"{url.base}/{url.path}")
    return [
        {"helper": shown_helper(value), "file": origin, "scope": scope, "ours": is_this_program(value)}
        for value, origin, scope in found
    ]


def _daemon() -> DaemonView:
    try:
        facts = daemon_info.daemon_facts(daemon_info.socket_path())
    except DaemonDisabled as exc:
        return {"state": "off", "detail": f"{exc.cause}; requests are answered in-process"}
    except Error as exc:
        return {"state": "trouble", "detail": exc.cause}
    if facts is None:
        return {"state": "not running", "detail": "git's next request starts it"}
    return {"state": "running", "detail": f"{facts['version']}, process {facts['pid']}"}


def _not_for_us(request: git_protocol.Request, document: Document) -> Error | Problem | None:
    """Why git's request does not reach this program; None where it does."""
    if not hosts.find_product_now(os.environ, request.protocol, request.host):
        if request.host == hosts.CLOUD_HOST:
            return Problem("this is plain http, and tokens are only sent over https", hosts.provider_hint(request.base))
        return hosts.unconfigured_host(request.protocol, request.host)
    if not any(one["ours"] for one in document["helpers"]):
        others = git_protocol.printable(", ".join(one["helper"] for one in document["helpers"]))
        cause = f"git has no credential helper configured for {request.base}"
        if others:
            cause = f"git asks {others} for {request.base}, not git-credential-bitbucket"
        host = hosts.host_option(request.protocol, request.host)
        return Problem(cause, f"run: git-credential-bitbucket configure{host}")
    return None


def _fill_in(
    url: git_request.Url, request: git_protocol.Request, data: bytes, document: Document
) -> Error | Problem | None:
    """Fill in what this program looks at, and its answer; returns why there is none."""
    # Where git does not name the repository, the process that answers reads it from /proc.
    fields = [] if request.path or sys.platform != "linux" else [("asked_path", url.path)]
    try:
        found = _found(url, data)
        if found is not None:
            document["environment"] = _environment_view(found)
            environment_tokens.check(found, request.base, os.environ)
    except Error as exc:
        document["environment"] = {**(document["environment"] or {}), "trouble": exc.cause}
        return exc
    answer = query("explain", fields, data)
    told = dict(answer)
    document["vault"] = vault_state(told)
    document["candidates"] = candidates = [json.loads(value) for key, value in answer if key == "candidate[]"]
    document["dropped"] = [json.loads(value) for key, value in answer if key == "dropped[]"]
    document["elsewhere"] = [value for key, value in answer if key == "elsewhere[]"]
    if found is not None:
        document["answer"] = _environment_answer(found)
        return None
    winner: Winner | None = next((one for one in candidates if one["wins"]), None)
    if winner is None:
        return _no_credential(request, data, document, fields)
    document["answer"] = {
        "from": winner["id"],
        "what": f"the {arguments.title(winner)}",
        "username": winner["username"],
        "secret": winner["secret"],
        "outcome": winner["outcome"],
        "because": winner["because"],
        "expires_at": winner["expires_at"],
    }
    return None


def _environment_view(found: environment_tokens.EnvironmentCredential) -> EnvironmentView:
    return {
        "variable": found.variable,
        "kind": found.kind,
        "username": found.username,
        "secret": found.secret.masked() if found.client_id is None else None,
    }


def _environment_answer(found: environment_tokens.EnvironmentCredential) -> Answer:
    minted = found.client_id is not None
    what = f"a token for the OAuth consumer in {found.variable}" if minted else f"the credential in {found.variable}"
    return {
        "from": "environment",
        "what": what,
        "username": found.username,
        "secret": None if minted else found.secret.masked(),
        "outcome": "minted" if minted else "answers",
        "because": "a token in the environment is used before any stored credential",
        "expires_at": None,
    }


def _no_credential(
    request: git_protocol.Request, data: bytes, document: Document, fields: list[tuple[str, str]]
) -> Problem:
    """Why nothing is offered: the vault's trouble, the best candidate's, or that there is none."""
    vault, login = document["vault"], login_command(request.base)
    if vault is not None and vault["trouble"]:
        return Problem(vault["trouble"], vault["hint"] or "see: git-credential-bitbucket status")
    refused = [one for one in document["candidates"] if one["outcome"] == "passed over"]
    if refused:
        return Problem(refused[0]["why"] or "it is not offered now", refused[0]["hint"] or f"run: {login}")
    if document["dropped"]:
        hint = "log in as that account, or remove the username from the URL"
        name = git_protocol.printable(request.username or "")
        return Problem(f"git asks for the username {name}, and no credential is known to belong to {name}", hint)
    where = git_protocol.printable("/".join(filter(None, (request.host, request.path))))
    unusable = environment_tokens.unusable(os.environ)
    if unusable is not None:
        return unusable
    told = dict(query("why", fields, data))
    hint = interactivity.ci_hint() or (told["hint"] if told.get("state") == "none" else f"run: {login}")
    if document["elsewhere"]:
        others = ", ".join(document["elsewhere"])
        if document["path_withheld"]:
            hint += "; git does not send the repository, so run: git-credential-bitbucket configure"
        return Problem(f"no credential covers {where}; there are some for {others}", hint)
    return Problem(f"no credential is stored for {where}", hint)
