"""whose: a secret of our shape that is another host's is told as that one's, and never moved to bitbucket.org."""

import base64
import os
from pathlib import Path

import pytest

from git_credential_bitbucket.scan import locations, patterns
from git_credential_bitbucket.scan.found_secret import KEYRING
from tests.cli.listed import listed
from tests.fake_bitbucket import tokens
from tests.running import Runner

HELPER = "git-credential-bitbucket"
LIKE_CLOUD = "bitbucket.org.corp.example"


def header(token: str) -> str:
    """As in http.extraHeader."""
    return f"Authorization: Basic {base64.b64encode(f'x-token-auth:{token}'.encode()).decode()}"


@pytest.mark.parametrize(
    ("template", "host"),
    [
        ("https://alice:{}@code.example/a/b", "code.example"),
        ("HTTPS://{}@Code.Example:443/a", "code.example"),
        ("https://alice:p@{}@[::1]:8443/a", "[::1]:8443"),
        ("https://code.example/hook?token={}&x=y", "code.example"),
        (f"https://alice:{{}}@{LIKE_CLOUD}/a/b", LIKE_CLOUD),
        ("curl https://code.example/ -u alice:{}", "bitbucket.org"),
        ("https://code.example\n{}", "bitbucket.org"),
        ("https://api.bitbucket.org/2.0?access_token={}", "bitbucket.org"),
    ],
)
def test_a_token_in_an_address_is_for_the_host_of_that(template: str, host: str) -> None:
    """Its prefix is Atlassian's, not bitbucket.org's."""
    [found] = patterns.scan(template.format(tokens.api_token()).encode())
    assert found.host == host


def test_a_header_is_for_the_host_of_its_section() -> None:
    """`[http "URL"]` ends where the next section begins; one without an address is for all."""
    text = "".join(
        f'[{section}]\n\tx = y\n\textraHeader = "{header(tokens.access_token())}"\n'
        for section in (
            'http "https://code.example:8443/a b=c"',
            "http",
            f'HTTP "https://me@{LIKE_CLOUD}"',
            'remote "x"',
        )
    )
    text += "".join(
        f"git -c http.https://{address}.extraheader='{header(tokens.access_token())}' fetch\n"
        for address in ("code.example/", "code.example:8443", "bitbucket.org/acme/app")
    )
    found = [(match.host, match.path) for match in patterns.scan(text.encode())]
    assert found == [
        ("code.example:8443", "a b=c"),
        ("bitbucket.org", None),
        (LIKE_CLOUD, None),
        ("bitbucket.org", None),
        ("code.example", None),
        ("code.example", None),
        ("bitbucket.org", "acme/app"),
    ]


def test_a_netrc_entry_is_for_its_machine() -> None:
    """Jira's tokens have the same shape."""
    jira, ours = tokens.api_token(), tokens.api_token()
    text = f"machine a.atlassian.net login a\npassword {jira}\nmachine bitbucket.org login a password {ours}\n"
    assert [f.host for f in patterns.scan(text.encode(), netrc=True)] == ["a.atlassian.net", "bitbucket.org"]


@pytest.mark.parametrize(
    ("service", "host"),
    [
        ("https://bitbucket.org", "bitbucket.org"),
        ("https://alice@api.bitbucket.org", "bitbucket.org"),
        (f"https://{LIKE_CLOUD}", LIKE_CLOUD),
        ("https://notbitbucket.org", "notbitbucket.org"),
    ],
)
def test_a_file_of_git_credential_manager_is_for_its_service(tmp_path: Path, service: str, host: str) -> None:
    """Exactly: a host whose name has bitbucket.org's in it is another."""
    text = f"{tokens.api_token()}\nservice={service}\naccount=alice\n".encode()
    place = locations.Location(str(tmp_path / "alice.credential"), KEYRING)
    hosts = (*patterns.CLOUD_HOSTS, LIKE_CLOUD, "notbitbucket.org")
    assert [found.match.host for found in locations.scan_text(text, place, hosts)] == [host]
    if host != "bitbucket.org":
        assert locations.scan_text(text, place, patterns.CLOUD_HOSTS) == []


@pytest.mark.parametrize(
    ("template", "product"),
    [
        ("export JIRA_API_TOKEN={}", "Jira"),
        ("export BITBUCKET_TOKEN=x; export MY_CONFLUENCE_PAT='{}'", "Confluence"),
        ("set -gx ATLASSIAN_API_TOKEN {}", "Atlassian"),
        ("JIRA_AUTH=alice@example.com:{}", "Jira"),
        ('jiraAuth: "alice@example.com:{}"', "Jira"),
        ('{{"jiraApiToken": "{}"}}', "Jira"),
        ("JIRA=https://a.atlassian.net TOKEN={}", None),
        ("ATLASSIAN_BITBUCKET_TOKEN={}", None),
        ("JIRA_API_TOKEN=\nTOKEN={}", None),
        ("# for jira\n{}", None),
    ],
)
def test_a_variable_s_name_says_which_product_a_token_is_for(template: str, product: str | None) -> None:
    """Jira's tokens look like Bitbucket's. The name that is nearest counts, and one that names Bitbucket is ours."""
    [found] = patterns.scan(template.format(tokens.api_token()).encode())
    assert found.product == product


def test_a_header_in_a_variable_of_another_product_is_that_ones() -> None:
    [found] = patterns.scan(f'CONFLUENCE_HEADER="{header(tokens.access_token())}"\n'.encode())
    assert found.product == "Confluence"


def test_what_is_named_for_another_product_is_told_and_left(alone: Runner, home: Path) -> None:
    """Jira's tools read it there; what is Bitbucket's in the same file is moved."""
    jira, ours = tokens.api_token(), tokens.api_token()
    profile = home / ".bashrc"
    profile.write_text(f"export JIRA_API_TOKEN={jira}\nexport BITBUCKET_API_TOKEN={ours}\n")
    assert ", named for Jira" in alone(HELPER, "audit", check=False).stdout
    said = alone(HELPER, "migrate").stdout
    assert profile.read_text() == f"export JIRA_API_TOKEN={jira}\nexport BITBUCKET_API_TOKEN=\n"
    assert "its variable is named for Jira" in said
    answer = alone(HELPER, "get", stdin="protocol=https\nhost=bitbucket.org\n").stdout
    assert f"password={ours}\n" in answer


def test_what_is_another_hosts_is_neither_moved_nor_taken_out(alone: Runner, home: Path) -> None:
    """To bitbucket.org git would send it from then on, and the other server would no longer get it; it is told."""
    jira, opted_in = tokens.api_token(), tokens.api_token()
    alone("git", "config", "--global", f"credential.https://{LIKE_CLOUD}.provider", "bitbucket")
    store = home / ".gcm" / "store" / "git" / "https" / LIKE_CLOUD
    store.mkdir(parents=True)
    (store / "alice.credential").write_text(f"{opted_in}\nservice=https://{LIKE_CLOUD}\naccount=alice\n")
    files = {
        home / ".git-credentials": f"https://alice:{jira}@a.atlassian.net\n",
        home / ".netrc": f"machine a.atlassian.net login alice password {jira}\n",
        home / ".gitconfig": (home / ".gitconfig").read_text()
        + f'[http "https://code.example"]\n\textraHeader = {header(os.urandom(20).hex())}\n',
    }
    for path, text in files.items():
        path.write_text(text)
    said = alone(HELPER, "migrate").stdout
    assert [one["scope"] for one in listed(alone)] == [LIKE_CLOUD]
    assert {path: path.read_text() for path in files} == files
    assert said.count("it is for another host") == 3
    assert "anew" not in said
    answer = alone(HELPER, "get", stdin="protocol=https\nhost=bitbucket.org\n", check=False).stdout
    assert "password=" not in answer
