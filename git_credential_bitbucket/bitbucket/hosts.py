"""The list of hosts that may get a secret. Imports url_match only: a token from the environment obeys it on
the hot path.

bitbucket.org over https, exactly; any other only by name in git's configuration: `credential.<url>.provider =
bitbucket`.
"""

from git_credential_bitbucket import url_match

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from git_credential_bitbucket.errors import SettingsError
    from git_credential_bitbucket.git_config import GitConfig

CLOUD_PROTOCOL, CLOUD_HOST = "https", "bitbucket.org"
CLOUD_URL = f"{CLOUD_PROTOCOL}://{CLOUD_HOST}"
PROVIDER = "bitbucket"


def is_cloud(protocol: str, host: str) -> bool:
    """Whether this is Bitbucket Cloud itself, for which no configuration needs to be read."""
    return (protocol, host) == (CLOUD_PROTOCOL, CLOUD_HOST)


def is_bitbucket(settings: "GitConfig | None", protocol: str, host: str) -> bool:
    """Whether secrets may go to `host` (normalised as `git_protocol.parse` does) over `protocol`."""
    if is_cloud(protocol, host):
        return True
    if settings is None or not _is_plain(protocol, host):
        return False
    named = settings.credential(f"{protocol}://{host}", "provider", named=True)
    return named is not None and named.lower() == PROVIDER


def is_bitbucket_now(env: "Mapping[str, str]", protocol: str, host: str) -> bool:
    """As `is_bitbucket`, reading git's configuration where that decides. Raises `SettingsError` where that fails."""
    if is_cloud(protocol, host) or not _is_plain(protocol, host):
        return is_cloud(protocol, host)
    from git_credential_bitbucket import git_config  # lazy: it starts a process, and bitbucket.org needs none

    return is_bitbucket(git_config.read(env), protocol, host)


def configured_hosts(settings: "GitConfig") -> list[tuple[str, str]]:
    """Protocol and host of bitbucket.org, and of every host that git's configuration names."""
    found = [(CLOUD_PROTOCOL, CLOUD_HOST)]
    for address in settings.credential_urls():
        url = url_match.normalise(address)
        if url is not None and url.user is None:
            host = f"{url.host}:{url.port}" if url.port else url.host
            if is_bitbucket(settings, url.scheme, host):
                found.append((url.scheme, host))
    return list(dict.fromkeys(found))


def unconfigured_host(protocol: str, host: str) -> "SettingsError":
    """What to raise where a host is none of ours, with the setting that makes it one."""
    from git_credential_bitbucket.errors import SettingsError
    from git_credential_bitbucket.git_protocol import printable

    named = f"{protocol}://{printable(host)}"
    return SettingsError(
        f"{named} is not configured as Bitbucket, so no secret is sent to it",
        hint=provider_hint(named),
    )


def provider_hint(base: str) -> str:
    """How to configure `protocol://host` as Bitbucket."""
    import shlex  # lazy: only a hint needs it

    return f"if it is Bitbucket, run: git config --global {shlex.quote(f'credential.{base}.provider')} {PROVIDER}"


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
    return host == (f"{url.host}:{url.port}" if url.port else url.host)
