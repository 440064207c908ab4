"""providers.py and hosts.py with real git configuration: who may get a secret, and over which way."""

from pathlib import Path

import pytest

from git_credential_bitbucket import git_config
from git_credential_bitbucket.bitbucket import hosts, providers
from git_credential_bitbucket.errors import SettingsError

HOST = "bb.example:8443"
BASE = f"https://{HOST}"
OPTED_IN = f'[credential "{BASE}"]\n\tprovider = bitbucket\n'


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """An environment built up: a home of its own, no system configuration."""
    return {"HOME": str(tmp_path), "PATH": "/usr/local/bin:/usr/bin:/bin", "GIT_CONFIG_NOSYSTEM": "1"}


def find(env: dict[str, str], text: str, *, host: str = HOST, protocol: str = "https") -> providers.Provider | None:
    """The provider of `host` with `text` as the global configuration."""
    Path(env["HOME"], ".gitconfig").write_text(text, encoding="utf-8")
    return providers.find(git_config.read(env), protocol, host, env)


def found(env: dict[str, str], text: str, *, host: str = HOST) -> providers.Provider:
    """As `find`, where there must be one."""
    provider = find(env, text, host=host)
    assert provider is not None
    return provider


@pytest.mark.parametrize(
    ("protocol", "host"),
    [
        ("http", "bitbucket.org"),
        ("ssh", "bitbucket.org"),
        ("HTTPS", "bitbucket.org"),
        ("https", "bitbucket.org."),
        ("https", "api.bitbucket.org"),
        ("https", "bitbucket.org.evil.example"),
        ("https", "bitbucket.org:8443"),
        ("https", "bitbucket.org/x"),
        ("https", "x@bitbucket.org"),
        ("https", "bitbucket.org\u2028"),
        ("https", "b\u0131tbucket.org"),
        ("https", ""),
    ],
)
def test_only_bitbucket_org_itself_is_ours_without_a_setting(env: dict[str, str], protocol: str, host: str) -> None:
    """Exactly https and exactly bitbucket.org; nothing that resembles it."""
    assert providers.find(None, protocol, host, env) is None
    assert find(env, "", host=host, protocol=protocol) is None
    assert hosts.find_product(None, "https", "bitbucket.org")


def test_another_host_is_ours_by_name_only(env: dict[str, str]) -> None:
    """Port and scheme count; a sub-domain, a wildcard, a path or a setting for all hosts does not opt a host in."""
    assert find(env, OPTED_IN) is not None
    assert find(env, OPTED_IN, host="bb.example") is None
    assert find(env, OPTED_IN, protocol="http") is None
    assert find(env, OPTED_IN, host=f"sub.{HOST}") is None
    assert find(env, "[credential]\n\tprovider = bitbucket\n") is None
    assert find(env, '[credential "https://*.example:8443"]\n\tprovider = bitbucket\n') is None
    assert find(env, f'[credential "{BASE}/acme"]\n\tprovider = bitbucket\n') is None
    assert find(env, f'[credential "{BASE}"]\n\tprovider = github\n') is None
    assert find(env, '[credential "HTTPS://BB.example:8443/"]\n\tProvider = Bitbucket\n') is not None


@pytest.mark.parametrize(
    "host", [f"{HOST}/.evil.example", f"alice@{HOST}", f"{HOST}?x", f"{HOST}#x", f"{HOST}/", "bb.example:08443"]
)
def test_a_host_with_more_in_it_is_not_the_host(env: dict[str, str], host: str) -> None:
    """Git unescapes URLs, so a request's host can hold a slash: it must not pass for a path on an opted-in host."""
    assert find(env, OPTED_IN, host=host) is None


def test_bitbucket_cloud_s_endpoints_are_built_in(env: dict[str, str]) -> None:
    """With no setting at all, everything is Bitbucket's own, and no more scopes than git needs."""
    provider = providers.find(None, "https", "bitbucket.org", env)
    assert provider is not None
    assert provider.endpoint == providers.CLOUD
    assert provider.scopes == ("repository", "repository:write")
    assert provider.client_id is None
    providers.check_oauth(provider)


def test_an_opted_in_host_is_shaped_like_the_cloud(env: dict[str, str]) -> None:
    """Its endpoints are Bitbucket's paths on that host, unless configured."""
    endpoint = found(env, OPTED_IN).endpoint
    assert endpoint.authorize_url == f"{BASE}/site/oauth2/authorize"
    assert endpoint.token_url == f"{BASE}/site/oauth2/access_token"
    assert endpoint.api_url == f"{BASE}/2.0"


def test_endpoints_and_consumer_are_configurable(env: dict[str, str]) -> None:
    """The names of git-credential-oauth, whole URLs and paths on the host alike."""
    provider = found(
        env,
        OPTED_IN + "\toauthAuthURL = /auth\n\toauthTokenURL = https://sso.example/token\n"
        "\tapiURL = https://api.example/2.0/\n\toauthRedirectURI = http://127.0.0.1:31415/cb\n"
        "\toauthClientId = key\n\toauthClientSecret = hush\n\toauthScopes = repository, account\n",
    )
    assert provider.endpoint.authorize_url == f"{BASE}/auth"
    assert provider.endpoint.token_url == "https://sso.example/token"
    assert provider.endpoint.api_url == "https://api.example/2.0"
    assert provider.redirect_uri == "http://127.0.0.1:31415/cb"
    assert provider.client_id == "key"
    assert provider.client_secret is not None
    assert provider.client_secret.reveal() == "hush"
    assert provider.scopes == ("repository", "account")
    assert "hush" not in repr(provider)


def test_names_of_git_credential_manager_are_understood(env: dict[str, str]) -> None:
    """Its Bitbucket consumer and its generic OAuth endpoints."""
    provider = found(
        env,
        "[credential]\n\tbitbucketDevClientId = key\n\tbitbucketDevClientSecret = hush\n"
        "\tbitbucketDevRedirectUri = http://localhost:46337/\n"
        + OPTED_IN
        + "\toauthAuthorizeEndpoint = /a\n\toauthTokenEndpoint = /t\n",
    )
    assert (provider.client_id, provider.redirect_uri) == ("key", "http://localhost:46337/")
    assert (provider.endpoint.authorize_url, provider.endpoint.token_url) == (f"{BASE}/a", f"{BASE}/t")


def test_another_host_s_endpoints_are_never_used_for_bitbucket_org(env: dict[str, str]) -> None:
    """A token endpoint that is set for all hosts does not get bitbucket.org's refresh tokens."""
    text = "[credential]\n\toauthTokenURL = https://gitlab.example/oauth/token\n\toauthAuthURL = /x\n"
    assert found(env, text, host="bitbucket.org").endpoint == providers.CLOUD


def test_no_scope_at_all_can_be_asked_for(env: dict[str, str]) -> None:
    """An empty setting means: whatever the consumer has."""
    assert found(env, OPTED_IN + "\toauthScopes =\n").scopes == ()


def test_the_ca_is_the_one_that_git_would_use(env: dict[str, str]) -> None:
    """GIT_SSL_CAINFO, then http.<url>.sslCAInfo, then http.sslCAInfo, else the system's."""
    general = "[http]\n\tsslCAInfo = /general\n"
    special = f'[http "{BASE}"]\n\tsslCAInfo = ~/special\n'
    assert found(env, OPTED_IN).endpoint.ca_file is None
    assert found(env, OPTED_IN + general).endpoint.ca_file == "/general"
    assert found(env, OPTED_IN + special + general).endpoint.ca_file == env["HOME"] + "/special"
    assert found(env, OPTED_IN + general).endpoint.ca_from == "http.sslCAInfo in git's configuration"
    env["GIT_SSL_CAINFO"] = "/variable"
    endpoint = found(env, OPTED_IN + special + general).endpoint
    assert (endpoint.ca_file, endpoint.ca_from) == ("/variable", "GIT_SSL_CAINFO in the environment")


@pytest.mark.parametrize("value", ["false", "False", "no", "off", "0", ""])
def test_verification_turned_off_is_refused_for_oauth(env: dict[str, str], value: str) -> None:
    """A static token's owner may do as git lets him, but no login or renewal runs unverified."""
    with pytest.raises(SettingsError, match=r"http\.sslVerify"):
        providers.check_oauth(found(env, OPTED_IN + f"[http]\n\tsslVerify = {value}\n"))


def test_the_environment_turning_verification_off_is_refused_too(env: dict[str, str]) -> None:
    """Git obeys GIT_SSL_NO_VERIFY whatever its value; OAuth does not."""
    env["GIT_SSL_NO_VERIFY"] = ""
    with pytest.raises(SettingsError, match="GIT_SSL_NO_VERIFY"):
        providers.check_oauth(found(env, OPTED_IN))


def test_what_is_told_of_an_address_is_fit_for_a_terminal(env: dict[str, str]) -> None:
    """A setting may hold an escape and a password; neither is shown as it is."""
    mixed = found(env, OPTED_IN + '\toauthTokenURL = "http://alice:hush@bb\x1bc.example/token"\n')
    with pytest.raises(SettingsError) as refused:
        providers.check_oauth(mixed)
    assert "http://bb\\x1bc.example" in refused.value.cause
    assert "hush" not in refused.value.cause


@pytest.mark.parametrize("setting", ["oauthAuthURL", "oauthTokenURL", "oauthRevokeURL", "apiURL"])
@pytest.mark.parametrize("address", ["https://alice:hush@[::1/x", "https://[one]/x", "https://bb.example:port/x"])
def test_an_address_that_is_none_is_told_by_its_setting(env: dict[str, str], setting: str, address: str) -> None:
    """The host is found all the same, for a static token needs none of them; OAuth is refused, without a password."""
    provider = found(env, OPTED_IN + f'\t{setting} = "{address}"\n')
    with pytest.raises(SettingsError, match="is not a valid server address") as refused:
        providers.check_oauth(provider)
    assert f"credential.{BASE}.{setting}" in (refused.value.hint or "")
    assert "hush" not in refused.value.cause


def test_a_proxy_that_is_no_address_is_told_as_well(env: dict[str, str]) -> None:
    """It may come from git's configuration or the environment."""
    env["https_proxy"] = "http://alice:hush@[::1"
    with pytest.raises(SettingsError, match=r"^http://\[::1 is not a valid server address") as refused:
        providers.check_oauth(found(env, OPTED_IN))
    assert "https_proxy" in (refused.value.hint or "")


def test_a_host_in_brackets_that_is_no_address_raises_nothing(env: dict[str, str]) -> None:
    """Git takes it for a URL."""
    provider = find(env, '[credential "https://[1]"]\n\tprovider = bitbucket\n', host="[1]")
    assert provider is not None
    with pytest.raises(SettingsError, match="is not a valid server address"):
        providers.check_oauth(provider)


def test_oauth_never_runs_over_http(env: dict[str, str]) -> None:
    """An http host may be opted in for static tokens; an http endpoint or host is refused for OAuth."""
    http = find(env, '[credential "http://bb.example"]\n\tprovider = bitbucket\n', host="bb.example", protocol="http")
    assert http is not None
    mixed = found(env, OPTED_IN + "\toauthTokenURL = http://bb.example/token\n")
    for provider in (http, mixed):
        with pytest.raises(SettingsError, match="is plain http"):
            providers.check_oauth(provider)


@pytest.mark.parametrize(
    ("config", "variables", "expected"),
    [
        ("", {}, None),
        ("", {"https_proxy": "http://v:1"}, "http://v:1"),
        ("", {"HTTPS_PROXY": "http://v:1"}, "http://v:1"),
        ("", {"http_proxy": "http://v:1"}, None),
        ("", {"ALL_PROXY": "http://v:1"}, "http://v:1"),
        ("[http]\n\tproxy = http://c:1\n", {"https_proxy": "http://v:1"}, "http://c:1"),
        ("[http]\n\tproxy =\n", {"https_proxy": "http://v:1"}, None),
        (f'[http]\n\tproxy = http://c:1\n[http "{BASE}"]\n\tproxy = http://s:1\n', {}, "http://s:1"),
        ("", {"https_proxy": "http://v:1", "no_proxy": "other,.example"}, None),
        ("", {"https_proxy": "http://v:1", "NO_PROXY": "*"}, None),
        ("", {"https_proxy": "http://v:1", "no_proxy": "b.example"}, "http://v:1"),
        ("[http]\n\tproxy = http://c:1\n", {"no_proxy": "bb.example"}, None),
    ],
)
def test_the_proxy_is_the_one_that_git_would_use(
    env: dict[str, str], config: str, variables: dict[str, str], expected: str | None
) -> None:
    """Configuration before variables, an empty one means none, no_proxy goes by whole labels."""
    env |= variables
    assert found(env, OPTED_IN + config).endpoint.proxy == expected


def test_an_endpoint_comes_back_from_its_record() -> None:
    """What is kept with a credential is enough, and a proxy's password does not show in its repr."""
    endpoint = providers.Endpoint("https://a", "https://t", "https://r", "https://i", "/ca", "http://u:hush@p:1")
    assert providers.Endpoint.from_record(endpoint.to_record()) == endpoint
    assert "hush" not in repr(endpoint)
    with pytest.raises(SettingsError):
        providers.Endpoint.from_record({"token_url": "https://t"})


def test_a_configuration_that_cannot_be_read_decides_about_every_host_but_bitbucket_org(env: dict[str, str]) -> None:
    """Whoever looks a host up, at once or by what was read before: bitbucket.org needs no configuration."""
    Path(env["HOME"], ".gitconfig").write_text("[broken")
    cloud = providers.find_now(env, "https", "bitbucket.org")
    assert cloud is not None
    assert cloud.endpoint == providers.CLOUD
    with pytest.raises(SettingsError, match="git cannot read its configuration") as caught:
        providers.find_now(env, "https", "git.example")
    assert providers.find(caught.value, "https", "bitbucket.org", env) == cloud
    with pytest.raises(SettingsError, match="git cannot read its configuration"):
        providers.find(caught.value, "https", "git.example", env)
    assert hosts.find_product_now(env, "https", "bitbucket.org")
    with pytest.raises(SettingsError):
        hosts.find_product_now(env, "https", "git.example")
