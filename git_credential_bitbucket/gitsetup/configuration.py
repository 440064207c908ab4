"""`configure` and `unconfigure` for one host, and their reports. Uses the standard library only."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

from git_credential_bitbucket import url_match
from git_credential_bitbucket.bitbucket import hosts, scopes
from git_credential_bitbucket.errors import Error, SettingsError
from git_credential_bitbucket.gitsetup import config_writer
from git_credential_bitbucket.gitsetup.executable import helper_here, is_this_program, stable_path
from git_credential_bitbucket.gitsetup.other_helpers import OtherHelper, other_helpers, reset_after, shown_helper
from git_credential_bitbucket.ui.output import say, warn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from git_credential_bitbucket.git_config import GitConfig


def host_url(text: str) -> str | None:
    """A host as git's configuration names it, `https://HOST[:PORT]`, with a Data Center's context path.

    None if `text` is not a host's URL.
    """
    url = url_match.normalise(text)
    if url is None or url.scheme not in ("https", "http") or url.user is not None:
        return None
    context = url.path.rstrip("/")
    if context != scopes.context_of(url.path) or (url.host == hosts.CLOUD_HOST and context):
        return None
    return f"{url.scheme}://{url.host}" + (f":{url.port}" if url.port else "") + context


def configure(
    env: Mapping[str, str], host: str | None, username: str | None = None, *, system: bool, dry_run: bool
) -> None:
    """Have git ask this program about `host` (bitbucket.org if None), for `username` if given. Raises an `Error`."""
    url = host or hosts.CLOUD_URL
    path = stable_path(env)
    scope = config_writer.open_scope(env, system=system)
    url, product = _find_server(env, url, scope.read)
    others = other_helpers(scope.read, url)
    commands = config_writer.configure_commands(scope, url, helper_here(env), username, product)
    if dry_run:
        _tell(commands)
        return
    config_writer.run(commands, env)
    scope = config_writer.open_scope(env, system=system)
    left = {(n.value, n.origin) for n in other_helpers(scope.read, url)}
    silenced = [n for n in others if (n.value, n.origin) not in left]
    _report(scope, url, path, silenced, changed=bool(commands))
    if username is not None:
        say(f"  for the account {username} where a URL has no username")
    _warn(scope, url)
    if url.startswith("http:"):
        warn(f"{url} is plain http: anyone on the network can read the tokens", "use https if the host supports it")
    if system and path.startswith(os.path.expanduser("~") + "/"):
        warn(
            f"{path} is in a home directory, which other users may not be able to read",
            "install this program for all users",
        )


def unconfigure(env: Mapping[str, str], host: str | None, *, system: bool, dry_run: bool) -> None:
    """Remove what `configure` wrote for `host`, for all if None. Raises an `Error`."""
    scope = config_writer.open_scope(env, system=system)
    commands = config_writer.unconfigure_commands(scope, host)
    if dry_run:
        _tell(commands)
        return
    config_writer.run(commands, env)
    taken = [(origin, url) for origin, url in scope.ours() if host in (None, url)]
    for origin, url in taken:
        say(f"{url}: git no longer asks this program ({origin})")
        if username := scope.values(origin, url, config_writer.USERNAME):
            unset = ["git", "config", "--file", origin, "--unset-all", f"credential.{url}.{config_writer.USERNAME}"]
            say(f"  kept: git asks for the account {username[-1]}; to remove that, run: {shlex.join(unset)}")
    if not taken:
        say(f"nothing to remove from git's {scope.name} configuration" + (f" for {host}" if host else ""))


def _find_server(env: Mapping[str, str], url: str, settings: GitConfig) -> tuple[str, str]:
    """The URL and the provider's name of a host, by git's configuration, else as the server itself shows it.

    Where it cannot be asked, a Data Center, as all but bitbucket.org are. Raises `SettingsError` where it is asked, and
    nothing at a URL with a path says so.
    """
    base = scopes.host_of(url)
    if (known := hosts.find_product(settings, *scopes.split_host(base))) is not None:
        return (base + known[1] if url == base else url), known[0]
    if hosts.is_cloud(*scopes.split_host(url)):
        return url, hosts.PROVIDER
    try:
        from git_credential_bitbucket.bitbucket import data_center, rest  # lazy: requests costs 110 ms
    except ImportError:  # the one-file program has no requests
        return url, hosts.DATA_CENTER
    try:
        found = rest.within_deadline(lambda: data_center.detect(settings, url, env))
    except Error as exc:
        warn(f"{url} is assumed to be Bitbucket Data Center, and could not be asked: {exc.cause}", exc.hint)
        return url, hosts.DATA_CENTER
    if found is not None:
        say(str(found))
        return found.url, hosts.DATA_CENTER
    if url != base:
        raise SettingsError(f"{url} does not answer as Bitbucket Data Center", hint="give the URL of its start page")
    return url, hosts.PROVIDER


def _tell(commands: list[config_writer.Command]) -> None:
    """Print the commands of a dry run, quoted for a shell."""
    for words in commands:
        say(shlex.join(["git", *words]), is_whole=True)
    if not commands:
        say("# nothing to change")


def _report(scope: config_writer.Scope, url: str, path: str, silenced: list[OtherHelper], *, changed: bool) -> None:
    files = [origin for origin, configured in scope.ours() if configured == url]
    say(f"{url}: git {'asks' if changed else 'already asks'} {path}", is_whole=True)
    say(f"  configured in {files[-1] if files else 'git'}")
    for other in silenced:
        say(f"  no longer asked: {shown_helper(other.value)} ({other.origin}); `unconfigure` restores it")


def _warn(scope: config_writer.Scope, url: str) -> None:
    if not any(is_this_program(value) for value, _, _ in scope.read.helpers(url)):
        warn(
            f"git has no credential helper of this program configured for {url}: a later empty line resets the list",
            f"remove or move that line: {reset_after(scope.read)}",
        )
    for other in other_helpers(scope.read, url):
        warn(
            other.summary,
            f"remove that line, or move it above the section for {url}" if other.after else "remove that line",
        )
