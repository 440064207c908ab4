"""Where a host's OAuth and REST endpoints are, how they are reached, and which consumer logs in there.

Owns the names of all settings about that. Opens no connection. Names follow what people have in their configuration:
git-credential-oauth's (`oauthClientId`, `oauthAuthURL`, …, also as a path on the host) and git-credential-manager's
(`bitbucketDevClientId`, `oauthAuthorizeEndpoint`, …).
"""

from typing import NamedTuple

from git_credential_bitbucket.bitbucket import hosts
from git_credential_bitbucket.config import git_bool
from git_credential_bitbucket.errors import SettingsError
from git_credential_bitbucket.git_protocol import printable
from git_credential_bitbucket.secret import Secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from git_credential_bitbucket.git_config import GitConfig

DEFAULT_REDIRECT_URI = "http://localhost:34106/"
"""One fixed port, git-credential-manager's: the consumer registers exactly this; Bitbucket matches it as a prefix."""
DEFAULT_SCOPES = ("repository", "repository:write")
"""What fetch and push need, and nothing more (developer.atlassian.com/cloud/bitbucket/rest/intro, OAuth scopes)."""


class Endpoint(NamedTuple):
    """How to reach one Bitbucket. Kept with each credential: the daemon does not see its caller's configuration.

    `api_url` ends before `/user`. `product` is the provider's name in `hosts`; below `git_url` the repositories are,
    where they are not directly below the host. `authtype` is Bearer where git is to use that. `ca_file` is a file or
    directory of CAs, None for the system's; `ca_from` says what names it. `proxy` may hold a password: never show it.
    """

    authorize_url: str
    token_url: str
    revoke_url: str
    api_url: str
    ca_file: str | None = None
    proxy: str | None = None
    ca_from: str | None = None
    product: str = hosts.PROVIDER
    git_url: str | None = None
    authtype: str | None = None

    def __repr__(self) -> str:
        return f"Endpoint({self.api_url})"

    @property
    def identity_url(self) -> str:
        """Where REST says whose a token is."""
        return self.api_url + ("/application-properties" if self.product == hosts.DATA_CENTER else "/user")

    def clone_url(self, scope: str) -> str:
        """The URL from which git clones the repository of `scope`."""
        if self.git_url is None:
            return f"{scope}.git"
        return f"{self.git_url}/{scope.split('/', 3)[3]}.git"

    def to_record(self) -> dict[str, str | None]:
        """As a JSON object."""
        return self._asdict()

    @classmethod
    def from_record(cls, record: "Mapping[str, object]") -> "Endpoint":
        """From a JSON object; raises `SettingsError` if it is none of ours, for a guessed host would get the token."""
        text = {name: value for name, value in record.items() if name in cls._fields and isinstance(value, str)}
        try:
            return cls(**text)
        except TypeError:  # one of the four URLs is missing
            raise SettingsError("a stored credential has no address of its Bitbucket", hint="log in again") from None


class Provider(NamedTuple):
    """A host of ours: its endpoints, and the OAuth consumer that is configured for it, if one is.

    `context` is a Data Center's context path: empty, or `/bitbucket`, say.
    `token_from` refers to a token for the host (`secret_sources`). `unverified_by` names the setting that turns TLS
    verification off for git, if one does.
    """

    protocol: str
    host: str
    endpoint: Endpoint
    redirect_uri: str = DEFAULT_REDIRECT_URI
    client_id: str | None = None
    client_secret: Secret | None = None
    scopes: tuple[str, ...] = DEFAULT_SCOPES
    unverified_by: str | None = None
    token_from: str | None = None
    context: str = ""

    @property
    def base_url(self) -> str:
        """The address of the web interface, with a Data Center's context path."""
        return f"{self.protocol}://{self.host}{self.context}"


def _shaped_like_cloud(base: str) -> Endpoint:
    """developer.atlassian.com/cloud/bitbucket/oauth-2; revocation is undocumented, logout treats it so."""
    return Endpoint(
        authorize_url=base + "site/oauth2/authorize",
        token_url=base + "site/oauth2/access_token",
        revoke_url=base + "site/oauth2/revoke",
        api_url=base + "2.0",
    )


CLOUD = _shaped_like_cloud(f"{hosts.CLOUD_URL}/")._replace(api_url="https://api.bitbucket.org/2.0")


def find_now(env: "Mapping[str, str]", protocol: str, host: str) -> Provider | None:
    """As `find`, git's configuration read on the spot."""
    from git_credential_bitbucket import git_config  # lazy: the daemon reads them in a job of its own

    try:
        return find(git_config.read(env), protocol, host, env)
    except SettingsError as exc:
        return find(exc, protocol, host, env)


def current_endpoint(env: "Mapping[str, str]", protocol: str, host: str, kept: Endpoint) -> Endpoint:
    """How to reach a host by git's configuration as it is now; what a login saw is the fallback, proxy and CA included.

    A proxy or a CA that changed since the login must not end every renewal.
    """
    try:
        provider = find_now(env, protocol, host)
    except SettingsError:
        return kept
    if provider is None:
        return kept
    now = provider.endpoint
    if now.ca_file is None:
        now = now._replace(ca_file=kept.ca_file, ca_from=kept.ca_from)
    return now if now.proxy is not None else now._replace(proxy=kept.proxy)


def find(
    settings: "GitConfig | SettingsError | None", protocol: str, host: str, env: "Mapping[str, str]"
) -> Provider | None:
    """The provider of `host` (normalised as `git_protocol.parse` does), or None if the host is no configured Bitbucket.

    Without `settings` only bitbucket.org is. The error that kept them from being read is raised for every other host.
    What is wrong with the settings for OAuth is `check_oauth`'s to say, because a static token needs none of them.
    """
    if isinstance(settings, SettingsError):
        if not hosts.is_cloud(protocol, host):
            raise settings
        settings = None
    found = hosts.find_product(settings, protocol, host)
    if found is None:
        return None
    product, context = found
    base = f"{protocol}://{host}{context}/"
    standard = CLOUD if hosts.is_cloud(protocol, host) else _SHAPES[product](base)
    keys = _KEYS[product]

    def read(*names: str, named: bool = False) -> str | None:
        """The first that is set for the host or for all; or for this host by name."""
        values = (settings.credential(base, name, named=named) for name in names) if settings is not None else ()
        return next((value for value in values if value is not None), None)

    def address(usual: str, *names: str) -> str:
        given = read(*names, named=True)  # an endpoint must never be another host's
        return _joined(base, given) if given else usual

    def variable(name: str) -> str | None:
        return (keys.variable and env.get(keys.variable + name)) or None

    ca_file, ca_from = _ca(settings, base, env)
    endpoint = Endpoint(
        authorize_url=address(standard.authorize_url, "oauthAuthURL", "oauthAuthorizeEndpoint"),
        token_url=address(standard.token_url, "oauthTokenURL", "oauthTokenEndpoint"),
        revoke_url=address(standard.revoke_url, "oauthRevokeURL"),
        api_url=address(standard.api_url, "apiURL").rstrip("/"),
        ca_file=ca_file,
        ca_from=ca_from,
        proxy=_proxy(settings, base, env),
        product=standard.product,
        git_url=standard.git_url,
        authtype="Bearer" if (read("authtype", named=True) or "").lower() == "bearer" else None,
    )
    secret = read("oauthClientSecret", keys.secret) or variable("CLIENTSECRET")
    redirect = read("oauthRedirectURI", "oauthRedirectURL", keys.redirect) or variable("OAUTH_REDIRECTURI")
    scopes = read("oauthScopes")
    return Provider(
        protocol=protocol,
        host=host,
        endpoint=endpoint,
        redirect_uri=redirect or DEFAULT_REDIRECT_URI,
        client_id=read("oauthClientId", keys.client_id) or variable("CLIENTID"),
        client_secret=Secret(secret) if secret else None,
        scopes=keys.scopes if scopes is None else tuple(scopes.replace(",", " ").split()),
        unverified_by=_unverified_by(settings, base, env),
        token_from=read("tokenFrom", named=True) or None,
        context=context,
    )


def data_center_endpoint(settings: "GitConfig | None", base: str, env: "Mapping[str, str]") -> Endpoint:
    """How to reach the Data Center at `base`, if there is one: to find out, for it may get no secret yet."""
    ca_file, ca_from = _ca(settings, base, env)
    proxy = _proxy(settings, base, env)
    return _shaped_like_data_center(base)._replace(ca_file=ca_file, ca_from=ca_from, proxy=proxy)


def origin(url: str) -> str:
    """Scheme, host and port of `url`, as it may be shown: a proxy's URL may hold a password, or lack its scheme."""
    scheme, _, rest = with_scheme(url).partition("://")  # not urlsplit, which refuses what is to be told of here
    authority = rest.partition("/")[0].partition("?")[0].partition("#")[0]
    return printable(f"{scheme.lower()}://{authority.rpartition('@')[2]}")


def check_addresses(provider: Provider) -> None:
    """Raise `SettingsError` with the name of the setting whose address is none."""
    endpoint, named = provider.endpoint, f"credential.{provider.protocol}://{provider.host}"
    for url, setting in (
        (endpoint.authorize_url, f"{named}.oauthAuthURL (or oauthAuthorizeEndpoint)"),
        (endpoint.token_url, f"{named}.oauthTokenURL (or oauthTokenEndpoint)"),
        (endpoint.revoke_url, f"{named}.oauthRevokeURL"),
        (endpoint.api_url, f"{named}.apiURL"),
        (endpoint.proxy, "http.proxy, or the variable https_proxy"),
    ):
        if url and not _is_address(with_scheme(url)):
            raise SettingsError(
                f"{origin(url)} is not a valid server address", hint=f"correct {printable(setting, 1000)}"
            )


def check_oauth(provider: Provider) -> None:
    """Raise `SettingsError` if OAuth may not run there: over http, without verified TLS, or at no valid address."""
    check_addresses(provider)
    endpoint = provider.endpoint
    for url in (f"{provider.protocol}://{provider.host}", endpoint.authorize_url, endpoint.token_url):
        require_https(url)
    if provider.unverified_by:
        hint = "remove that setting and set http.sslCAInfo to the server's CA instead"
        raise SettingsError(f"{provider.unverified_by} turns TLS verification off, which OAuth requires", hint=hint)


def require_https(url: str) -> None:
    """Raise `SettingsError` unless `url` is https."""
    if not url.lower().startswith("https://"):
        hint = "use https, also in credential.<url>.oauthAuthURL, oauthTokenURL and apiURL"
        raise SettingsError(f"OAuth requires https, and {origin(url)} is plain http", hint=hint)


def _joined(base: str, text: str) -> str:
    """`text` from `base` on; as it is where it is no address, for `check_addresses` to tell."""
    from urllib.parse import urljoin  # lazy: 3 ms of a daemon's start, and few settings name an address

    try:
        return urljoin(base, text)
    except ValueError:
        return text


def _is_address(url: str) -> bool:
    from urllib.parse import urlsplit  # lazy: as above

    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0  # to ask for the port is to have it checked
    except ValueError:
        return False


def with_scheme(url: str) -> str:
    """A proxy's URL with its scheme, which is http where none is given, as for curl."""
    return url if "://" in url else f"http://{url}"


def _shaped_like_data_center(base: str) -> Endpoint:
    """confluence.atlassian.com/bitbucketserver, Bitbucket OAuth 2.0 provider API; revocation is undocumented."""
    return Endpoint(
        authorize_url=base + "rest/oauth2/latest/authorize",
        token_url=base + "rest/oauth2/latest/token",
        revoke_url=base + "rest/oauth2/latest/revoke",
        api_url=base + "rest/api/1.0",
        product=hosts.DATA_CENTER,
        git_url=base + "scm",
    )


class _Keys(NamedTuple):
    """git-credential-manager's names for an OAuth consumer's settings, and the OAuth scopes that git needs.

    `variable` begins the names of its variables (its BitbucketConstants and DataCenterConstants).
    """

    client_id: str
    secret: str
    redirect: str
    variable: str
    scopes: tuple[str, ...]


_SHAPES = {hosts.PROVIDER: _shaped_like_cloud, hosts.DATA_CENTER: _shaped_like_data_center}
_KEYS = {
    hosts.PROVIDER: _Keys(
        "bitbucketDevClientId", "bitbucketDevClientSecret", "bitbucketDevRedirectUri", "", DEFAULT_SCOPES
    ),
    hosts.DATA_CENTER: _Keys(
        "bitbucketDataCenterOAuthClientId",
        "bitbucketDataCenterOAuthClientSecret",
        "bitbucketDataCenterOauthRedirectUri",
        "GCM_BITBUCKET_DATACENTER_",
        ("REPO_READ", "REPO_WRITE"),
    ),
}


def _http(settings: "GitConfig | None", url: str, key: str) -> str | None:
    return settings.http(url, key) if settings is not None else None


def _ca(settings: "GitConfig | None", url: str, env: "Mapping[str, str]") -> tuple[str | None, str | None]:
    """The CA that git would use, and what names it: variables win over configuration (git's http.c, http_init)."""
    for variable, key in (("GIT_SSL_CAINFO", "sslCAInfo"), ("GIT_SSL_CAPATH", "sslCAPath")):
        for found, named_by in (
            (env.get(variable), f"{variable} in the environment"),
            (_http(settings, url, key), f"http.{key} in git's configuration"),
        ):
            if found:
                return (env.get("HOME", "") + found[1:] if found.startswith("~/") else found), named_by
    return None, None


def _unverified_by(settings: "GitConfig | None", url: str, env: "Mapping[str, str]") -> str | None:
    if "GIT_SSL_NO_VERIFY" in env:  # any value counts, also an empty one (git's http.c)
        return "GIT_SSL_NO_VERIFY in the environment"
    verified = _http(settings, url, "sslVerify")
    if verified is not None and git_bool(verified) is False:
        return "http.sslVerify in git's configuration"
    return None


def _proxy(settings: "GitConfig | None", url: str, env: "Mapping[str, str]") -> str | None:
    """The proxy that git would use: its configuration (empty: none), else the usual variables as curl reads them."""
    exempt = env.get("no_proxy", env.get("NO_PROXY", ""))
    if exempt and _is_exempt(_hostname(url), exempt):
        return None
    configured = _http(settings, url, "proxy")
    if configured is not None:
        return configured or None
    for name in (f"{url.partition(':')[0]}_proxy", "all_proxy"):
        # HTTP_PROXY in upper case may be a CGI client's header, and curl does not read it either.
        value = env.get(name) or (env.get(name.upper()) if name != "http_proxy" else None)
        if value:
            return value
    return None


def _hostname(url: str) -> str:
    from urllib.parse import urlsplit  # lazy: as above

    try:
        return urlsplit(url).hostname or ""
    except ValueError:  # brackets around what is no IPv6 address
        return ""


def _is_exempt(host: str, no_proxy: str) -> bool:
    """Whether `no_proxy` (names and domains with comma or blank between, or `*`) exempts `host`, as curl decides."""
    for name in no_proxy.replace(",", " ").split():
        domain = name.lower().removeprefix("*").lstrip(".")
        if name == "*" or host == domain or (domain and host.endswith("." + domain)):
            return True
    return False
