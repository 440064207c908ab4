"""The list of hosts that may get a secret. Imports url_match and scopes only: the hot path obeys it, too.

bitbucket.org over https, exactly; any other only by name in git's configuration: `credential.<url>.provider` is
`bitbucket-data-center`, or `bitbucket` for what is shaped like Cloud.
"""

from git_credential_bitbucket import url_match
from git_credential_bitbucket.bitbucket import scopes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from git_credential_bitbucket.errors import SettingsError
    from git_credential_bitbucket.git_config import GitConfig

CLOUD_PROTOCOL, CLOUD_HOST = "https", scopes.CLOUD_HOST
CLOUD_URL = f"{CLOUD_PROTOCOL}://{CLOUD_HOST}"
PROVIDER = "bitbucket"
DATA_CENTER = "bitbucket-data-center"


def is_cloud(protocol: str, host: str) -> bool:
    """Whether this is Bitbucket Cloud itself, for which no configuration needs to be read."""
    return (protocol, host) == (CLOUD_PROTOCOL, CLOUD_HOST)


def find_product(settings: "GitConfig | None", protocol: str, host: str) -> tuple[str, str] | None:
    """`PROVIDER` or `DATA_CENTER`, and its context path, where secrets may go to `host` over `protocol`; else None.

    `host` is as in a `git_protocol.Request`. A Data Center's `<url>` may have a context path; the last line counts.
    """
    if is_cloud(protocol, host):
        return PROVIDER, ""
    if settings is None or not _is_plain(protocol, host):
        return None
    found = None
    for entry in settings.entries("credential", "provider"):
        url = url_match.normalise(entry.url) if entry.url is not None else None
        if url is None or url.user is not None or (url.scheme, _host_of(url)) != (protocol, host):
            continue
        named = entry.value.lower()
        if named == DATA_CENTER:
            found = named, scopes.context_of(url.path)
        elif url.path == "/":
            found = (named, "") if named == PROVIDER else None
    return found


def find_product_now(env: "Mapping[str, str]", protocol: str, host: str) -> tuple[str, str] | None:
    """As `find_product`, reading git's configuration where that decides. Raises `SettingsError` where that fails."""
    if is_cloud(protocol, host) or not _is_plain(protocol, host):
        return find_product(None, protocol, host)
    from git_credential_bitbucket import git_config  # lazy: it starts a process, and bitbucket.org needs none

    return find_product(git_config.read(env), protocol, host)


def configured_hosts(settings: "GitConfig") -> list[tuple[str, str]]:
    """Protocol and host of bitbucket.org, and of every host that git's configuration names."""
    found = [(CLOUD_PROTOCOL, CLOUD_HOST)]
    for address in settings.credential_urls():
        url = url_match.normalise(address)
        if url is not None and url.user is None and find_product(settings, url.scheme, _host_of(url)):
            found.append((url.scheme, _host_of(url)))
    return list(dict.fromkeys(found))


def unconfigured_host(protocol: str, host: str) -> "SettingsError":
    """What to raise where a host is none of ours, with the setting that makes it one."""
    from git_credential_bitbucket.errors import SettingsError
    from git_credential_bitbucket.git_protocol import printable

    named = f"{protocol}://{printable(host)}"
    cause = f"{named} is not configured as Bitbucket, so no secret is sent to it"
    return SettingsError(cause, hint=provider_hint(named))


def provider_hint(base: str) -> str:
    """How to configure `protocol://host` as Bitbucket."""
    import shlex  # lazy: only a hint needs it

    if base == f"http://{CLOUD_HOST}":
        return f"use https, for example: git remote set-url origin {CLOUD_URL}/WORKSPACE/REPOSITORY.git"
    return f"if it is Bitbucket, run: git config --global {shlex.quote(f'credential.{base}.provider')} {DATA_CENTER}"


def host_option(protocol: str, host: str) -> str:
    """The option of `configure` and `login` that names this host; empty for bitbucket.org."""
    import shlex  # lazy: only a hint needs it

    return "" if is_cloud(protocol, host) else f" --host {shlex.quote(f'{protocol}://{host}')}"


def _is_plain(protocol: str, host: str) -> bool:
    """Whether `host` is a host and port and nothing else.

    git unescapes what stands in a URL, so a request's host may hold slashes, an `@` or a query. Put together
    again, `good.example/.evil.example` would be matched as a path on good.example.
    """
    url = url_match.normalise(f"{protocol}://{host}")
    if url is None or url.user is not None or url.path != "/":
        return False
    return host == _host_of(url)


def _host_of(url: url_match.NormalUrl) -> str:
    """Host and port, as a request names them."""
    return f"{url.host}:{url.port}" if url.port else url.host
