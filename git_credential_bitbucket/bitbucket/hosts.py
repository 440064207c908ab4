"""The list of hosts that may get a secret. Imports urlmatch only: a token from the environment obeys it on
the hot path.

bitbucket.org over https, exactly; any other only by name in git's configuration: `credential.<url>.provider =
bitbucket`.
"""

from git_credential_bitbucket import urlmatch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from git_credential_bitbucket.settings import Settings

CLOUD_PROTOCOL, CLOUD_HOST = "https", "bitbucket.org"
CLOUD_URL = f"{CLOUD_PROTOCOL}://{CLOUD_HOST}"
PROVIDER = "bitbucket"


def is_cloud(protocol: str, host: str) -> bool:
    """Whether this is Bitbucket Cloud itself, for which no configuration needs to be read."""
    return (protocol, host) == (CLOUD_PROTOCOL, CLOUD_HOST)


def is_ours(settings: "Settings | None", protocol: str, host: str) -> bool:
    """Whether secrets may go to `host` (normalised as `wire.parse` does) over `protocol`."""
    if is_cloud(protocol, host):
        return True
    if settings is None or not _is_plain(protocol, host):
        return False
    named = settings.credential(f"{protocol}://{host}", "provider", named=True)
    return named is not None and named.lower() == PROVIDER


def _is_plain(protocol: str, host: str) -> bool:
    """Whether `host` is a host and port and nothing else.

    git unescapes what stands in a URL, so a request's host may hold slashes, an `@` or a query. Put together
    again, `good.example/.evil.example` would be matched as a path on good.example.
    """
    url = urlmatch.normalise(f"{protocol}://{host}")
    if url is None or url.user is not None or url.path != "/":
        return False
    return host == (f"{url.host}:{url.port}" if url.port else url.host)
