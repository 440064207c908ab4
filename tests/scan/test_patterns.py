"""What a secret looks like: found in every form that people leave it in, and nothing else taken for one."""

import base64
import secrets
import time

import pytest

from git_credential_bitbucket.bitbucket import token_kinds
from git_credential_bitbucket.scan import patterns
from git_credential_bitbucket.scan.patterns import ASSIGNED, HEADER, NETRC, NPMRC, REFERENCE, TOKEN, URL
from tests.fake_bitbucket import tokens

MAKERS = {
    token_kinds.APP_PASSWORD: tokens.app_password,
    token_kinds.API_TOKEN: tokens.api_token,
    token_kinds.ACCESS_TOKEN: tokens.access_token,
    token_kinds.PERSONAL_TOKEN: tokens.http_token,
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
        "curl -H 'Authorization: Bearer <token>' https://api.bitbucket.org/2.0/user",
        "bitbucket.org: the bearer certificate-of-the-repository",
        *(f"bitbucket.org has basic {word}" for word in ("JKizRYyhOvdlyczEShgG", "authenticationOfUsers")),
        "_authToken=${NPM_TOKEN}",
        "//bitbucket.org/:_authToken=${BITBUCKET_TOKEN}",
    ],
)
def test_what_a_manual_or_a_program_says_is_no_secret(text: str) -> None:
    """Placeholders, variables, names."""
    assert [match for match in patterns.scan(text.encode()) if match.form != REFERENCE] == []


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("BITBUCKET_APP_PASSWORD: ${{ secrets.BITBUCKET_APP_PASSWORD }}", "BITBUCKET_APP_PASSWORD"),
        ("bb = Bitbucket(user, os.environ['MY_BITBUCKET_APP_PASSWORD_FILE'])", "MY_BITBUCKET_APP_PASSWORD_FILE"),
        ("curl -u $U:$APP_PASSWORD https://api.bitbucket.org/2.0/user", "APP_PASSWORD"),
        ('\tAppPassword string `yaml:"app_password"` // of Bitbucket', "AppPassword"),
        ("const c = {bitBucketAppPassword: ask()}", "bitBucketAppPassword"),
        ("# bitbucket\napp-password: !vault |", "app-password"),
        ("export BITBUCKET_APP_PASSWORD=", "BITBUCKET_APP_PASSWORD"),
    ],
)
def test_the_name_of_an_app_password_is_a_reference_to_one(text: str, name: str) -> None:
    """In code, YAML, shell and Go; once a line, and it holds no secret."""
    [found] = patterns.scan(text.encode())
    assert (found.form, found.name, bool(found.secret)) == (REFERENCE, name, False)


@pytest.mark.parametrize(
    "text",
    ["app_password = ask()", "bitbucket\nGMAIL_APP_PASSWORD=$1\nsmtp.appPassword = x", "BITBUCKET_APP_PASSWORD={}"],
)
def test_another_services_app_password_and_one_with_its_secret_are_no_references(text: str) -> None:
    """Others have app passwords too; and a secret is told as one."""
    scanned = patterns.scan(text.replace("{}", tokens.app_password()).encode())
    assert [match for match in scanned if match.form == REFERENCE] == []


def test_a_binary_file_refers_to_nothing() -> None:
    """A compiled program repeats what its source says; a secret in it counts all the same."""
    token = tokens.app_password()
    [found] = patterns.scan(f"BITBUCKET_APP_PASSWORD\0\n{token}".encode())
    assert found.secret.reveal() == token


def test_a_text_may_be_about_bitbucket_by_its_files_name() -> None:
    """bitbucket-pipelines.yml need not say so."""
    assert [found.name for found in patterns.scan(b"- deploy $APP_PASSWORD", is_bitbucket=True)] == ["APP_PASSWORD"]


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
    assert patterns.scan(f"https://alice:{secrets.token_hex(8)}@{host}/acme/app".encode()) == []


def test_a_host_that_is_opted_in_counts_with_its_port() -> None:
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


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "Basic"])
@pytest.mark.parametrize("around", ['curl -H "Authorization: {}" https://api.bitbucket.org/2.0/user', "{}"])
def test_a_header_of_unknown_kind_counts_where_bitbucket_is_named(scheme: str, around: str) -> None:
    """OAuth's tokens have no prefix; with what the header begins, all of it is cut out."""
    token = secrets.token_urlsafe(60) + "1a"
    value = base64.b64encode(f"alice:{token}".encode()).decode() if scheme == "Basic" else token
    text = around.format(f"{scheme} {value}").encode()
    found = patterns.scan(text)
    if around == "{}":
        assert found == []
        return
    [match] = found
    assert (match.form, match.secret.reveal(), match.kind) == (HEADER, token, "unknown")
    assert text[: match.start] + text[match.end :] == b'curl -H "" https://api.bitbucket.org/2.0/user'


def test_a_token_in_a_bearer_header_is_the_headers() -> None:
    """Of a kind that is known it counts anywhere; a header that lost its token alone would be sent as `Bearer `."""
    token = tokens.access_token()
    [found] = patterns.scan(f"\textraHeader = Authorization: Bearer {token}\n".encode())
    assert (found.form, found.secret.reveal(), found.account, found.start) == (HEADER, token, None, 15)


@pytest.mark.parametrize(
    ("line", "host", "account"),
    [
        ("//bitbucket.org/:_authToken={opaque}", "bitbucket.org", None),
        ("//npm.example/a/:_authToken={token}", "npm.example", None),
        ("_authToken={token}", "bitbucket.org", None),
        ("_auth={pair}", "bitbucket.org", "alice"),
        ('//npm.example:8443/:_auth = "{pair}"', "npm.example:8443", "alice"),
        ("//api.bitbucket.org/:_password={base64}", "bitbucket.org", None),
        ("//npm.example/:_authToken={opaque}", None, None),
        ("//npm.example/:_auth={opaque}", None, None),
    ],
)
def test_an_npmrc_is_read_registry_by_registry(line: str, host: str | None, account: str | None) -> None:
    """A secret of unknown kind counts for our hosts alone; `_auth` and `_password` are base64."""
    token, opaque = tokens.access_token(), "k3" + secrets.token_hex(16)
    values = {"token": token, "opaque": opaque, "base64": base64.b64encode(token.encode()).decode()}
    values["pair"] = base64.b64encode(f"alice:{token}".encode()).decode()
    found = patterns.scan(f"registry=https://npm.example/\n{line.format(**values)}\n".encode())
    expected = opaque if "{opaque}" in line else token
    assert [(m.form, m.host, m.account, m.secret.reveal()) for m in found] == (
        [] if host is None else [(NPMRC, host, account, expected)]
    )


@pytest.mark.parametrize(
    ("text", "account"),
    [
        ("BB_AUTH=alice@example.com:{}", "alice@example.com"),
        ("BITBUCKET_EMAIL='alice@example.com'\nBITBUCKET_API_TOKEN={}", "alice@example.com"),
        ('{{"bitbucket_username": "alice@example.com", "bitbucket_token": "{}"}}', "alice@example.com"),
        ("BITBUCKET_EMAIL=a@x.org\nBITBUCKET_EMAIL=b@x.org\nBITBUCKET_API_TOKEN={}", None),
    ],
)
def test_the_email_beside_an_api_token_is_its_account(text: str, account: str | None) -> None:
    """REST takes the token with no other name."""
    [found] = patterns.scan(text.format(tokens.api_token()).encode())
    assert (found.form, found.account) == (TOKEN, account)


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
        *(
            b"bitbucket_app_password= ",
            b"bitbucket gmail_app_password ",
            b"bitbucket.org Bearer aaaaaaaaaaaaaaaaaaaa1 ",
        ),
        *(b"//a/:_auth=AAAAAAAA\n", b"BITBUCKET_EMAIL=a@a.a\n", b"a@a.a:ATATT3"),
        b"BITBUCKET_EMAIL=a@a.a ATATT3" + b"aB1cD2eF3gH4iJ5" * 4 + b" ",
        *(b"https://a@a", b'[http "https://a', b"\n[", b"http.https://a.", b"machine a "),
        *(b"ATATT3" + bytes(range(0x61, 0x7B)) * 2 + b" ", b"JIRA_TOKEN=ATATT3" + bytes(range(0x61, 0x7B)) * 2 + b" "),
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


def test_a_data_centers_token_is_found_as_a_url_must_have_it() -> None:
    """`+` and `/` occur in it, so it is percent-encoded there; without its id inside it is told with a doubt."""
    token = "BBDC-" + base64.b64encode(b"012345678901:" + b"\xfb\xff" * 10).decode()
    encoded = token.replace("+", "%2B").replace("/", "%2f")
    text = f"clone https://alice:{encoded}@git.example/scm/PROJ/app.git".encode()
    for hosts in (("git.example",), ()):
        [found] = patterns.scan(text, hosts)
        assert (found.secret.reveal(), found.host, found.certain) == (token, "git.example", True)
        assert encoded.encode() in text[found.start : found.end]
    [found] = patterns.scan(b"BBDC-" + base64.b64encode(secrets.token_bytes(33)))
    assert not found.certain
