"""Secrets and usernames in the URLs of git's configuration, in headers, in ~/.netrc.

Never shows an address with its secret, and never removes a secret: it may be the only copy.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from git_credential_bitbucket.bitbucket import hosts, token_kinds
from git_credential_bitbucket.diagnostics.finding import NOTE, OK, WRONG, DoctorContext, Finding, Fix
from git_credential_bitbucket.errors import Error
from git_credential_bitbucket.gitsetup import config_writer, git_behaviour, git_request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from git_credential_bitbucket.git_config import Entry

_TAKE_OUT = "remove it: git-credential-bitbucket migrate; if it is still there, remove it by hand"
_REMOVE_HEADER = "to remove it, run: git-credential-bitbucket migrate; leave it if your CI system set it for this job"
CHECK = "addresses"
FOREIGN = "foreign addresses"
_VALUES = (("remote", "url"), ("remote", "pushurl"), ("submodule", "url"))
_BASES = (("url", "insteadOf"), ("url", "pushInsteadOf"))
_TOKEN_NAMES = frozenset({token_kinds.ACCESS_TOKEN_USERNAME, token_kinds.API_TOKEN_USERNAME})


def look(context: DoctorContext) -> Iterator[Finding]:
    """All addresses that lead to a Bitbucket, and what git sends without asking."""
    found = [finding for entry, text in _addresses(context) for finding in _check_address(context, entry, text)]
    origin = git_behaviour.header(context.url, context.here)
    if origin is not None:
        cause = f"git sends an Authorization header of http.extraHeader with every request ({origin})"
        found.append(Finding(CHECK, NOTE, cause, _REMOVE_HEADER))
    if git_behaviour.in_netrc(context.url, context.env):
        cause = "~/.netrc has an entry for this host, in plain text, and git sends it before it asks a helper"
        found.append(Finding(CHECK, WRONG, cause, _TAKE_OUT))
    yield from found
    if not found:
        yield Finding(CHECK, OK, "no secret in a URL, a header or ~/.netrc")
    yield _foreign_addresses(context)


def _foreign_addresses(context: DoctorContext) -> Finding:
    """Whether git accepts URLs with a password from any source, a repository's `.gitmodules` included (git 2.37)."""
    if (context.trusted.value("transfer.credentialsInUrl") or "").lower() == "die":
        return Finding(FOREIGN, OK, "git refuses URLs with a password")
    cause = "git accepts URLs with a password, even those in a repository's .gitmodules"
    hint = "to have git refuse them (2.37 or later): git config --global transfer.credentialsInUrl die"
    limit = "this stops neither a redirect to such a URL, nor git-lfs, which reads .lfsconfig"
    return Finding(FOREIGN, NOTE, cause, f"{hint}; {limit}")


def _addresses(context: DoctorContext) -> Iterator[tuple[Entry, str]]:
    for section, key in _VALUES:
        yield from ((entry, entry.value) for entry in context.here.entries(section, key))
    for section, key in _BASES:
        yield from ((entry, entry.url) for entry in context.here.entries(section, key) if entry.url)


def _check_address(context: DoctorContext, entry: Entry, text: str) -> Iterator[Finding]:
    url = _parse_bitbucket_url(context, text)
    if url is None:
        return
    where = f"{_named(entry)} ({entry.origin})"
    if url.has_password or git_request.is_secret(url.username or ""):
        hint = "revoke it, and remove it: git-credential-bitbucket migrate"
        yield Finding(CHECK, WRONG, f"there is a secret in the URL of {where}: {url.shown}", hint)
    elif url.username in _TOKEN_NAMES:
        cause = f"{url.username} is the username in the URL of {where}; which username is right depends on the token"
        yield Finding(CHECK, NOTE, cause, _hint(context, entry, text), _fix_username(context, entry, text))


def _parse_bitbucket_url(context: DoctorContext, text: str) -> git_request.Url | None:
    try:
        url = git_request.parse_url(text)
    except Error:  # git refuses it
        return None
    if url is None:
        return None
    # Over http, too: a secret in it is as bad.
    return url if hosts.find_product(context.trusted, "https", url.host) else None


def _named(entry: Entry) -> str:
    if entry.section == "url":
        return f"url.….{entry.key}"
    return f"{entry.section} {entry.url}"


def _hint(context: DoctorContext, entry: Entry, text: str) -> str:
    """The command to run in this directory that removes the username from the URL."""
    if entry.scope == "command":
        return "remove it where it is set: git's option -c, or GIT_CONFIG_… in the environment"
    address = _without_username(text)
    old = [config_writer.pattern(text)] if len(_same_entries(context, entry)) > 1 else []
    if entry.section == "remote" and entry.scope == "local":
        push = ["--push"] if entry.key == "pushurl" else []
        return f"run: {shlex.join(['git', 'remote', 'set-url', *push, entry.url or '', address, *old])}"
    if entry.section == "url":  # there the address is the section's name
        words = ["--rename-section", f"url.{entry.url}", f"url.{address}"]
    else:
        words = [f"{entry.section}.{entry.url}.{entry.key}", address, *old]
    return f"run: git config --file {_shell_path(context, entry.origin)} {shlex.join(words)}"


def _shell_path(context: DoctorContext, origin: str) -> str:
    """A file's path for a shell; the home directory as the ~ that the report makes of it, which must not be quoted."""
    path, home = context.path(origin), context.env.get("HOME", "").rstrip("/") + "/"
    return f"~/{shlex.quote(path.removeprefix(home))}" if path.startswith(home) else shlex.quote(path)


def _same_entries(context: DoctorContext, entry: Entry) -> list[Entry]:
    same = context.here.entries(entry.section, entry.key)
    return [e for e in same if (e.origin, e.url) == (entry.origin, entry.url)]


def _fix_username(context: DoctorContext, entry: Entry, text: str) -> Fix | None:
    if entry.section == "url" or entry.scope == "command" or len(_same_entries(context, entry)) != 1:
        return None
    name = f"{entry.section}.{entry.url}.{entry.key}"
    command = ["config", "--file", context.path(entry.origin), name, _without_username(text)]
    return Fix(
        f"removed the username from the URL of {_named(entry)}", lambda: config_writer.run([command], context.env)
    )


def _without_username(text: str) -> str:
    protocol, _, rest = text.partition("://")
    authority, slash, path = rest.partition("/")
    return f"{protocol}://{authority.rpartition('@')[2]}{slash}{path}"
