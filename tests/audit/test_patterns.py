"""What a secret looks like: found in every form that people leave it in, and nothing else taken for one."""

import base64
import secrets
import time

import pytest

from git_credential_bitbucket.audit import patterns
from git_credential_bitbucket.audit.patterns import ASSIGNED, HEADER, NETRC, TOKEN, URL
from git_credential_bitbucket.bitbucket import kinds
from tests.standin import tokens

MAKERS = {
    kinds.APP_PASSWORD: tokens.app_password,
    kinds.API_TOKEN: tokens.api_token,
    kinds.ACCESS_TOKEN: tokens.access_token,
}


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("around", ["{}", "x = '{}'", "a\\n{}", "# {}.", "TOKEN={}\n", "({})", '"{}",'])
def test_a_token_is_found_wherever_it_stands(kind: str, around: str) -> None:
    """Its checksum makes it certain, also where an escape's letter stands right before it."""
    token = MAKERS[kind]()
    [found] = patterns.scan(around.format(token).encode())
    assert (found.kind, found.secret.reveal(), found.certain) == (kind, token, True)
    assert around.format(token).encode()[found.start : found.end] == token.encode()


def test_a_token_followed_by_what_could_belong_to_it_is_cut_at_its_checksum() -> None:
    """The run of characters is longer, the usual length fits."""
    token = tokens.app_password()
    [found] = patterns.scan(f"{token}-suffix".encode())
    assert found.secret.reveal() == token


def test_a_token_that_is_cut_short_is_told_with_a_doubt() -> None:
    """Its checksum does not fit; it may be one all the same."""
    [found] = patterns.scan(tokens.access_token()[:-1].encode())
    assert not found.certain


@pytest.mark.parametrize(
    "text",
    [
        "ATBBxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "ATATT3xFfGF0...",
        "COMBATBBrigadeofTheNineteenthCenturyAndSoOn1",
        "https://x-token-auth:$TOKEN@bitbucket.org/acme/app",
        "https://x-token-auth:${BITBUCKET_TOKEN}@bitbucket.org/acme/app",
        "https://user:<app-password>@bitbucket.org/acme/app",
        "https://x-token-auth:{token}@bitbucket.org/acme/app",
        "https://alice@bitbucket.org/acme/app.git",
        "git@bitbucket.org:acme/app.git",
        "BITBUCKET_APP_PASSWORD: ${{ secrets.BITBUCKET_APP_PASSWORD }}",
        "BITBUCKET_APP_PASSWORD=$(pass show bitbucket)",
        "bitbucket: app_password = get_app_password1()",
        'os.environ["BITBUCKET_APP_PASSWORD"]',
        'bitbucket app_password = "changeme"',
        "BITBUCKET_TOKEN=your-token-goes-here1",
        "export BITBUCKET_APP_PASSWORD=",
        "bitbucket\nGMAIL_APP_PASSWORD=a1b2c3d4e5f6g7h8",
    ],
)
def test_what_a_manual_or_a_program_says_is_no_secret(text: str) -> None:
    """Placeholders, variables, names."""
    assert patterns.scan(text.encode()) == []


def test_a_url_gives_its_name_password_and_repository() -> None:
    """Also percent-encoded, as git credential-store writes it; what is cut leaves a URL that works."""
    token = tokens.access_token()
    text = f"url = https://x-token-auth:{token.replace('=', '%3d')}@Bitbucket.org/acme/app.git\n".encode()
    [found] = patterns.scan(text)
    assert (found.form, found.account, found.path, found.kind) == (URL, "x-token-auth", "acme/app.git", "access-token")
    assert found.secret.reveal() == token
    assert text[: found.start] + text[found.end :] == b"url = https://Bitbucket.org/acme/app.git\n"


def test_a_token_as_a_urls_name_is_found_too() -> None:
    """`https://TOKEN@host` and `https://TOKEN:x-oauth-basic@host`."""
    token = tokens.api_token()
    for userinfo in (token, f"{token}:x-oauth-basic", f"{token}:"):
        [found] = patterns.scan(f"https://{userinfo}@bitbucket.org/acme/app".encode())
        assert (found.secret.reveal(), found.account) == (token, None)


@pytest.mark.parametrize(
    "host", ["bitbucket.org.evil.example", "notbitbucket.org", "bitbucket.org:8443", "github.com", "bitbucket.orgs"]
)
def test_a_url_of_another_host_is_not_ours(host: str) -> None:
    """Exactly the hosts that are named."""
    assert patterns.scan(f"https://alice:{secrets.token_hex(8)}@{host}/acme/app".encode()) == []


def test_a_host_that_is_opted_in_counts_with_its_port() -> None:
    """As git's configuration names it."""
    password = secrets.token_hex(8)
    [found] = patterns.scan(f"https://alice:{password}@localhost:8443/a/b".encode(), ("localhost:8443",))
    assert (found.host, found.secret.reveal()) == ("localhost:8443", password)


@pytest.mark.parametrize(
    "template",
    [
        "BITBUCKET_APP_PASSWORD={}",
        "export BITBUCKET_APP_PASSWORD='{}'",
        '  BITBUCKET_TOKEN: "{}"',
        '# bitbucket\n{{"app_password": "{}"}}',
        "bitbucket.appPassword = {}",
        "set -x MY_BITBUCKET_CLIENT_SECRET := {}",
    ],
)
def test_a_value_given_to_a_telling_name_is_found(template: str) -> None:
    """In the notations of shells, YAML, JSON and properties."""
    value = "k3" + secrets.token_hex(16)
    [found] = patterns.scan(template.format(value).encode())
    assert (found.form, found.secret.reveal()) == (ASSIGNED, value)


def test_an_authorization_header_is_decoded() -> None:
    """As people put it into http.extraHeader."""
    token = tokens.access_token()
    encoded = base64.b64encode(f"x-token-auth:{token}".encode()).decode()
    [found] = patterns.scan(f"\textraHeader = Authorization: Basic {encoded}\n".encode())
    assert (found.form, found.secret.reveal(), found.account) == (HEADER, token, "x-token-auth")


def test_a_netrc_is_read_entry_by_entry() -> None:
    """Over lines or on one, quoted or not; another machine's password is none of our business."""
    token, password = tokens.app_password(), secrets.token_hex(8)
    text = f"machine github.com login a password b2345678\nmachine bitbucket.org\n  login alice\n  password {token}\n"
    text += f'machine api.bitbucket.org login "alice" password "{password}" \ndefault login x password y\n'
    first, second = patterns.scan(text.encode(), netrc=True)
    assert [(m.form, m.account) for m in (first, second)] == [(NETRC, "alice"), (NETRC, "alice")]
    assert (first.secret.reveal(), second.secret.reveal()) == (token, password)
    left = text.encode()[: first.start] + text.encode()[first.end : second.start] + text.encode()[second.end :]
    assert patterns.scan(left, netrc=True) == []
    assert b"machine github.com login a password b2345678\n" in left
    assert b"default login x password y" in left


def test_each_secret_is_told_once_in_its_most_telling_form() -> None:
    """A token in a URL in a variable is one finding."""
    text = f'BITBUCKET_URL_TOKEN="https://alice:{tokens.app_password()}@bitbucket.org/a/b"'
    assert [m.form for m in patterns.scan(text.encode())] == [URL]
    assert [m.form for m in patterns.scan(f"BITBUCKET_TOKEN={tokens.api_token()}".encode())] == [TOKEN]


@pytest.mark.parametrize(
    "piece",
    [
        *(b"ATBB", b"https://a:", b"https://bitbucket.org", b"BITBUCKET_", b"basic AAAA", b'machine "'),
        *(b"app_password= ", b"https://a@a", b'[http "https://a', b"\n[", b"http.https://a.", b"machine a "),
    ],
)
def test_a_hostile_text_takes_no_longer_than_a_long_one(piece: bytes) -> None:
    """Nothing in the expressions grows faster than the text; the bound is generous, quadratic would be minutes."""
    started = time.process_time()
    patterns.scan(piece * (1_000_000 // len(piece)) + b" " + tokens.api_token().encode(), netrc=True)
    assert time.process_time() - started < 20


def test_a_path_that_holds_a_token_is_not_shown_with_it() -> None:
    """People name files in strange ways."""
    token = tokens.api_token()
    assert token[:12] not in patterns.redacted(f"backup/{token}.txt")
