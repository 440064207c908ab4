"""OAuth login with a browser on this machine: opens it, waits for the redirect, shows the outcome there."""

import os
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

from git_credential_bitbucket import git_config
from git_credential_bitbucket.errors import Error
from git_credential_bitbucket.login import pages
from git_credential_bitbucket.login.loopback import listening

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from git_credential_bitbucket.login.authorization import Attempt
    from git_credential_bitbucket.login.pages import Page

TIMEOUT_S = 300.0
"""Long enough to sign in with a second factor; codes live ten minutes."""

_DESKTOPS = ("DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME")
_NOT_PASSED_ON = ("BITBUCKET_", "GIT_")
"""Prefixes of variables that a browser does not get: tokens, the vault's key, and what git set."""
_OPENERS = ("xdg-open", "open", "wslview", "gnome-open", "x-www-browser")


def log_in(
    attempt: "Attempt",
    *,
    redeem: "Callable[[str], Page]",
    show: "Callable[[str], None]",
    warn: "Callable[[str, str], None]",
    open_browser: bool = True,
    timeout_s: float = TIMEOUT_S,
) -> None:
    """Let the user consent, and `redeem` the redirect's query or fragment while the browser waits, to show the outcome.

    `show` is given the address to open, `warn` a cause and a hint should a program come that is not known to be this
    user's. What `redeem` raises is raised again, after the browser has shown it; so is `LoginFailed` (refused, too
    late, port taken). Whatever happens, the port is free again afterwards.
    """
    with listening(attempt, warn) as loopback:
        show(attempt.url)
        if open_browser:
            open_page(loopback.start_url, os.environ)
        answer = loopback.wait(timeout_s)
        try:
            page = redeem(answer)
        except Error as exc:
            loopback.conclude(pages.of_error(exc))
            raise
        loopback.conclude(page)


def can_open(env: "Mapping[str, str]") -> bool:
    """Whether a browser can be opened where the user sees it."""
    return _opener(env) is not None


def open_page(url: str, env: "Mapping[str, str]") -> bool:
    """Open `url` in the user's browser; False if there is none.

    Not by the `webbrowser` module: it starts text browsers on our terminal, lets programs write to our stdout, which
    belongs to git, and looks for them in the current directory, which belongs to the repository.
    """
    command = _opener(env)
    if command is None:
        return False
    words = [part.replace("%s", url) for part in command]
    if words == command:
        words.append(url)
    # The shell starts it in the background and ends, so that nothing waits for a browser that stays.
    shell = ["/bin/sh", "-c", 'exec </dev/null >/dev/null 2>&1; "$@" &', "sh", *words]
    passed_on = {name: value for name, value in env.items() if not name.startswith(_NOT_PASSED_ON)}
    return subprocess.run(shell, cwd="/", env=passed_on, start_new_session=True, check=False).returncode == 0


def _opener(env: "Mapping[str, str]") -> list[str] | None:
    """The command that opens a page: $BROWSER, else the desktop's, if there is a desktop."""
    for entry in env.get("BROWSER", "").split(":"):
        try:
            words = shlex.split(entry)
        except ValueError:  # a quote that does not end
            continue
        program = git_config.find_program(env, words[0]) if words else None
        if program is not None:
            return [program, *words[1:]]
    if sys.platform != "darwin" and not any(env.get(name) for name in _DESKTOPS):
        return None
    for name in _OPENERS:
        program = git_config.find_program(env, name)
        if program is not None:
            return [program]
    return None
