"""The verbs with a Data Center: found by its own word, configured, logged in to at a terminal and without one."""

import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.cli.conftest import ROOT
from tests.cli.listed import listed
from tests.cli.person import Person
from tests.fake_bitbucket.client import FakeBitbucket
from tests.running import Runner
from tests.sockets import free_port

HELPER = "git-credential-bitbucket"


def test_a_login_finds_out_what_is_there_and_configures_it(keyed: Runner, bitbucket: FakeBitbucket) -> None:
    """At a terminal, from nothing; then git's lines as well, and they are taken back."""
    bitbucket.turn(dc_context="/bitbucket")
    bitbucket.create_person("carol")
    url, token = bitbucket.data_center_url(context="/bitbucket"), bitbucket.issue_http_token("carol")
    with Person({**keyed.env, "TERM": "xterm"}, keyed.folder).types(HELPER, "login", "--host", url) as dialogue:
        dialogue.reads(f"{url} is Bitbucket Data Center 9.4.1, with OAuth 2.0 and HTTP access tokens")
        dialogue.reads("your HTTP access token: for all repositories")
        dialogue.reads("How do you want to authenticate [2]: ")
        dialogue.types("")
        dialogue.reads(f"{url}/plugins/servlet/access-tokens/manage")
        dialogue.reads("HTTP access token (not shown): ")
        dialogue.types(token)
        dialogue.reads("Expiry date")
        dialogue.types("90d")
        shown = dialogue.ends()
    assert "Logged in: personal token for" in shown
    assert "of carol, expires" in shown
    assert f"configure --host {url}" in shown
    assert keyed("git", "config", f"credential.{url}.provider").stdout == "bitbucket-data-center\n"
    assert [one["bitbucket_username"] for one in listed(keyed)] == ["carol"]
    keyed(HELPER, "configure", "--host", url)
    url_at_git = url.replace("https://", "https://carol@") + "/scm/PROJ/app.git"
    filled = keyed("git", "credential", "fill", stdin=f"url={url_at_git}\n\n").stdout
    assert f"username=carol\npassword={token}\n" in filled
    keyed(HELPER, "unconfigure", "--host", url)
    assert keyed("git", "config", "--get-all", f"credential.{url}.helper", check=False).stdout == ""


def test_configure_marks_a_data_center_as_one(keyed: Runner, bitbucket: FakeBitbucket) -> None:
    """The server itself says what it is; a page's address is no host, and another path is none of its own."""
    url = bitbucket.data_center_url()
    refused = keyed(HELPER, "configure", "--host", url + "/elsewhere", check=True)
    assert f"{url} is Bitbucket Data Center" in refused.stdout
    assert keyed("git", "config", f"credential.{url}.provider").stdout == "bitbucket-data-center\n"
    again = keyed(HELPER, "configure", "--host", url).stdout
    assert "already" in again
    keyed(HELPER, "unconfigure")
    assert keyed("git", "config", f"credential.{url}.provider", check=False).stdout == ""


def test_a_token_is_refused_at_the_other_product(keyed: Runner, bitbucket: FakeBitbucket) -> None:
    for name, value in bitbucket.data_center_config():
        keyed("git", "config", "--global", name, value)
    for host, token in (
        (bitbucket.url, bitbucket.issue_http_token("alice")),
        (bitbucket.data_center_url(), bitbucket.issue_api_token()),
    ):
        refused = keyed(HELPER, "login", "--access-token", "--host", host, stdin=token, check=False)
        assert refused.returncode == 1
        assert "does not accept" in refused.stderr
    refused = keyed(HELPER, "login", "--client-credentials", "--host", bitbucket.data_center_url(), check=False)
    assert "has no such grant" in refused.stderr
    assert not [entry for entry in bitbucket.requests() if entry.auth]


def test_nothing_of_cloud_reaches_a_data_center_by_any_way(keyed: Runner, bitbucket: FakeBitbucket, home: Path) -> None:
    """A source, a consumer or a token in the environment, REST, a check, or git's own `store`."""
    for name, value in bitbucket.data_center_config():
        keyed("git", "config", "--global", name, value)
    url, token = bitbucket.data_center_url(), bitbucket.issue_api_token()
    request = f"protocol=https\nhost={urlsplit(url).netloc}\npath=scm/PROJ/app.git\n"
    consumer = {"BITBUCKET_CLIENT_ID": "key", "BITBUCKET_CLIENT_SECRET": "made-up"}
    for words, more in (
        (("get",), consumer),
        (("token", url), consumer),
        (("token", "--header", url), {"BITBUCKET_TOKEN": token}),
        (("explain", "--check", f"{url}/scm/PROJ/app.git"), {"BITBUCKET_TOKEN": token}),
        (("explain", "--check", f"{url}/scm/PROJ/app.git"), consumer),
    ):
        said = keyed(HELPER, *words, stdin=f"{request}\n", env={**keyed.env, **more}, check=False)
        assert ("never sent to Bitbucket Data Center" in said.stderr) == (words[0] != "explain"), words
        assert token not in said.stdout
    (home / "cloud").write_text(token)
    (home / "cloud").chmod(0o600)
    keyed("git", "config", "--global", f"credential.{url}.tokenFrom", f"file:{home / 'cloud'}")
    said = keyed(HELPER, "get", stdin=f"{request}\n", check=False)
    assert "never sent to Bitbucket Data Center" in said.stderr
    assert not said.stdout
    said = keyed(HELPER, "store", stdin=f"{request}username=alice\npassword={token}\n\n", check=False)
    assert "never sent to Bitbucket Data Center" in said.stderr
    assert [one for one in listed(keyed) if one["source"] is None] == []
    assert not [entry for entry in bitbucket.requests() if entry.auth or "client_credentials" in str(entry.form)]


@pytest.mark.parametrize(
    ("words", "kind"),
    [(("--account", "alice"), "personal-token"), (("--for", "PROJ"), "access-token"), ((), "")],
    ids=["owner", "project", "neither"],
)
def test_without_the_server_the_owner_must_be_named(
    keyed: Runner, bitbucket: FakeBitbucket, words: tuple[str, ...], kind: str
) -> None:
    """A guess would be a failed login of somebody's account."""
    for name, value in bitbucket.data_center_config():
        keyed("git", "config", "--global", name, value)
    token = bitbucket.issue_http_token("alice")
    command = ("login", "--access-token", "--no-verify", "--host", bitbucket.data_center_url(), *words)
    done = keyed(HELPER, *command, stdin=token, check=False)
    assert [one["kind"] for one in listed(keyed)] == ([kind] if kind else [])
    assert ("whose the token is" in done.stderr) == (not kind)


@pytest.mark.parametrize("rotates", [True, False], ids=["rotating", "lasting"])
def test_an_incoming_link_logs_in_and_renews(
    keyed: Runner, bitbucket: FakeBitbucket, home: Path, rotates: bool
) -> None:
    """With git-credential-manager's keys; the redirect to this computer is one that the administrator allowed."""
    bitbucket.turn(dc_context="/bitbucket", dc_https_redirects_only=False, rotate_refresh_tokens=rotates)
    url = bitbucket.data_center_url(context="/bitbucket")
    callback = f"http://127.0.0.1:{free_port()}/"
    link = bitbucket.add_consumer(callback=callback, scopes=("REPO_READ", "REPO_WRITE"))
    bitbucket.create_repository("PROJ/app")
    for name, value in (
        *bitbucket.data_center_config("/bitbucket"),
        ("credential.bitbucketDataCenterOAuthClientId", link.key),
        ("credential.bitbucketDataCenterOauthRedirectUri", callback),
    ):
        keyed("git", "config", "--global", name, value)
    keyed.env["GCM_BITBUCKET_DATACENTER_CLIENTSECRET"] = link.secret
    script = home / "browser"
    command = f"{sys.executable} -m tests.fake_bitbucket.browser --ca {bitbucket.ca_file}"
    script.write_text(f'#!/bin/sh\ncd {ROOT} && exec {command} "$1"\n')
    script.chmod(0o700)
    said = keyed(HELPER, "login", "--oauth", "--host", url, env={**keyed.env, "BROWSER": str(script)})
    assert "Logged in: OAuth login for" in said.stdout
    (asked,) = [entry for entry in bitbucket.requests("authorize") if entry.method == "GET"]
    assert (asked.query["code_challenge_method"], asked.query["scope"]) == ("S256", "REPO_READ REPO_WRITE")
    assert [one["bitbucket_username"] for one in listed(keyed)] == ["alice"]
    keyed(HELPER, "configure", "--host", url)
    for folder in ("first", "second"):
        keyed("git", "clone", "-q", bitbucket.data_center_url("PROJ/app", context="/bitbucket"), folder)
        keyed(HELPER, "refresh")
    grants = [entry.form["grant_type"] for entry in bitbucket.token_requests()]
    assert grants == ["authorization_code", "refresh_token", "refresh_token"]


def test_the_redirect_rule_is_told_before_the_browser_opens(keyed: Runner, bitbucket: FakeBitbucket) -> None:
    """Data Center wants https for it, and who makes the link must allow another."""
    for name, value in bitbucket.data_center_config():
        keyed("git", "config", "--global", name, value)
    command = (HELPER, "login", "--oauth", "--host", bitbucket.data_center_url())
    with Person({**keyed.env, "TERM": "xterm"}, keyed.folder).types(*command, columns=200) as dialogue:
        dialogue.reads("incoming link for an external application")
        dialogue.reads("http://localhost:34106/")
        dialogue.reads("atlassian.oauth2.provider.skip.redirect.url.https.requirement=true")
        dialogue.presses("c")
        dialogue.ends(130)
