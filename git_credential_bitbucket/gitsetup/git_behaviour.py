"""What git does around its helpers: what it sends before it asks them, and what it does if none answers."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from git_credential_bitbucket import files, url_match
from git_credential_bitbucket.client import interactivity
from git_credential_bitbucket.config import git_bool
from git_credential_bitbucket.git_protocol import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from git_credential_bitbucket.git_config import GitConfig
    from git_credential_bitbucket.gitsetup.git_request import Url

MAX_NETRC_BYTES = 1 << 20
"""Usual ones have a few lines."""
_AUTHORIZATION = "authorization:"
LOCKED = "locked"


def sent_unasked(url: Url, here: GitConfig, env: Mapping[str, str]) -> list[str]:
    """What git sends to `url` before it asks a helper, in words; it asks a helper only after a rejection."""
    found = []
    if url.has_password:
        found.append("the password in the URL")
    if origin := header(url, here):
        found.append(f"the Authorization header that http.extraHeader sets ({origin}), with every request")
    if in_netrc(url, env):
        found.append("the entry for this host in ~/.netrc")
    return found


def header(url: Url, here: GitConfig) -> str | None:
    """The file that sets an Authorization header for `url` (`http.extraHeader`), as CI systems do in a repository."""
    wanted = url_match.normalise(f"{url.base}/{url.path}")
    found = None
    for entry in here.entries("http", "extraHeader"):
        if entry.url is not None:
            configured = url_match.normalise(entry.url, globs=True)
            if wanted is None or configured is None or url_match.match(wanted, configured) is None:
                continue
        if not entry.value:  # it clears what came before it (http.extraHeader in git-config(1))
            found = None
        elif entry.value.lower().startswith(_AUTHORIZATION):
            found = entry.origin if entry.scope != "command" else "command line or environment"
    return found


def in_netrc(url: Url, env: Mapping[str, str]) -> bool:
    """Whether ~/.netrc has a login for the host, which curl sends for git (CURLOPT_NETRC)."""
    try:
        content = files.read(os.path.join(env.get("HOME", ""), ".netrc"), MAX_NETRC_BYTES, follow=True)
    except OSError:
        return False
    words = os.fsdecode(content or b"").split()
    host = url.host.partition(":")[0]
    named = (words[at + 1].lower() for at, word in enumerate(words[:-1]) if word == "machine")
    return host in named or "default" in words[::2]


def next_step(state: str | None, url: str, here: GitConfig, env: Mapping[str, str]) -> str:
    """What happens if this program has no credential for `url`; `state` is why, None if git does not ask it."""
    if state != LOCKED and state not in interactivity.RESOLVED_BY_LOGIN:
        return own_prompt(here, env)
    who = interactivity.available_prompt(env, url)
    if who == interactivity.TERMINAL:
        what = "has you unlock the vault" if state == LOCKED else "asks how you want to authenticate"
        return f"git then waits while this program {what}, here at the terminal"
    if state == LOCKED and who == interactivity.NON_INTERACTIVE:
        forbidden = interactivity.reason_not_to_prompt(env, url)
        return f'git then stops with "told us to quit", because no one can be asked to unlock the vault: {forbidden}'
    return own_prompt(here, env)


def own_prompt(here: GitConfig, env: Mapping[str, str]) -> str:
    """What git does in this environment if no helper answers."""
    if (found := interactivity.askpass(env, here.value("core.askPass"))) is not None:
        return f"git then has {printable(found[1])} ask for a password ({found[0]})"
    if git_bool(env.get("GIT_TERMINAL_PROMPT", "1")) is False:
        return (
            'git then stops with "terminal prompts disabled": GIT_TERMINAL_PROMPT keeps it from asking. '
            "The missing credential is the cause, not the prompt"
        )
    if (terminal := interactivity.open_terminal()) is None:
        return (
            'git then stops with "could not read Username" or "terminal prompts disabled": there is no terminal. '
            "The missing credential is the cause, not the prompt"
        )
    os.close(terminal)
    return "git then asks for username and password at the terminal"
