"""token: the secret and nothing else, for pipes, and the right header for each of Bitbucket's doors."""

from base64 import b64decode
from typing import Any

import pytest
import requests
from atlassian import Bitbucket
from atlassian.bitbucket.cloud import Cloud

from tests.cli.listed import keep_consumer
from tests.cli.person import Person
from tests.cli.schemas import validated
from tests.fake_bitbucket import tokens
from tests.fake_bitbucket.client import FakeBitbucket
from tests.running import Runner
from tests.sandbox import keep

HELPER = "git-credential-bitbucket"


def test_it_prints_the_secret_and_nothing_else(keyed: Runner) -> None:
    """The narrowest place wins, as for git."""
    wide, narrow = tokens.access_token(), tokens.access_token()
    keep(keyed.env, "https://bitbucket.org/acme", wide)
    keep(keyed.env, "https://bitbucket.org/acme/app", narrow)
    for word, token in (("acme/other", wide), ("https://bitbucket.org/acme/app.git", narrow)):
        said = keyed(HELPER, "token", word)
        assert (said.stdout, said.stderr) == (token + "\n", "")


def test_an_id_names_one_credential(keyed: Runner) -> None:
    wide, narrow = tokens.access_token(), tokens.access_token()
    keep(keyed.env, "https://bitbucket.org/acme", wide)
    wide_id = keyed(HELPER, "status").stdout.splitlines()[1].split()[-1]
    keep(keyed.env, "https://bitbucket.org/acme/app", narrow)
    assert keyed(HELPER, "token", wide_id).stdout == wide + "\n"


def test_in_a_repository_it_is_the_repositorys(keyed: Runner) -> None:
    """By its remote, in whatever form; -v says for what. A remote elsewhere, or none, changes nothing."""
    wide, narrow = tokens.api_token(), tokens.access_token()
    keep(keyed.env, "https://bitbucket.org", wide, kind="api-token")
    keep(keyed.env, "https://bitbucket.org/acme/app", narrow)
    assert keyed(HELPER, "token").stdout == wide + "\n"
    keyed("git", "init", "--quiet")
    assert keyed(HELPER, "token").stdout == wide + "\n"
    keyed("git", "remote", "add", "origin", "https://bitbucket.org/acme/app.git")
    told = keyed(HELPER, "token")
    assert (told.stdout, told.stderr) == (narrow + "\n", "")
    assert "for https://bitbucket.org/acme/app\n" in keyed(HELPER, "-v", "token").stderr
    for url, expected in (("git@bitbucket.org:acme/app.git", narrow), ("https://example.com/acme/app.git", wide)):
        keyed("git", "remote", "set-url", "origin", url)
        assert keyed(HELPER, "token").stdout == expected + "\n"


def test_for_is_a_scope_everywhere(keyed: Runner) -> None:
    """The former --for git|api is told what replaces it."""
    refused = keyed(HELPER, "token", "--for", "git", check=False)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "--rest or --git" in refused.stderr


def test_an_api_tokens_header_is_each_doors_own(keyed: Runner, bitbucket: FakeBitbucket) -> None:
    """The email for REST, the fixed name for git: each gets 401 at the other door."""
    token = bitbucket.issue_api_token()
    keyed(HELPER, "login", "--api-token", "--host", bitbucket.url, stdin=f"{token}\nalice@example.com\n")
    words = (HELPER, "token", bitbucket.netloc, "--header")
    name, _, value = keyed(*words).stdout.strip().partition(": ")
    assert b64decode(value.removeprefix("Basic ")).decode() == f"alice@example.com:{token}"
    answer = requests.get(f"{bitbucket.api_url}/user", headers={name: value}, verify=bitbucket.ca_file, timeout=60)
    assert answer.status_code == 200
    value = keyed(*words, "--git").stdout.strip().partition("Basic ")[2]
    assert b64decode(value).decode() == f"x-bitbucket-api-token-auth:{token}"


def test_atlassians_clients_take_what_json_prints(keyed: Runner, bitbucket: FakeBitbucket) -> None:
    """An API token, an access token and a Data Center's personal token; and it is a source for another login."""
    bitbucket.create_repository("acme/app")
    bitbucket.create_repository("PROJ/app")
    for key, value in bitbucket.data_center_config():
        keyed("git", "config", "--global", key, value)
    login, site = (HELPER, "login", "--host"), bitbucket.url
    keyed(*login, site, "--api-token", stdin=f"{bitbucket.issue_api_token()}\nalice@example.com\n")
    keyed(*login, site, "--access-token", "--for", "acme/app", stdin=bitbucket.issue_access_token("acme/app"))
    keyed(*login, bitbucket.data_center_url(), "--access-token", stdin=bitbucket.issue_http_token("alice"))

    def told(scope: str) -> Any:  # noqa: ANN401 - JSON
        return validated("token", keyed(HELPER, "token", "--json", scope).stdout)

    base = bitbucket.api_url.removesuffix("/2.0")
    for scope in (site, f"{site}/acme/app"):
        cloud = Cloud(url=base, verify_ssl=bitbucket.ca_file, **told(scope)["rest"])  # type: ignore[no-untyped-call]  # it has no types
        assert (cloud.get("repositories/acme/app") or {})["full_name"] == "acme/app"
    url = bitbucket.data_center_url()
    server = Bitbucket(url=url, verify_ssl=bitbucket.ca_file, **told(url)["rest"])  # type: ignore[no-untyped-call]  # as above
    assert server.get_repo("PROJ", "app")["slug"] == "app"  # type: ignore[no-untyped-call]  # as above
    personal = told(url)
    assert (personal["username"], personal["kind"], personal["expires"]) == ("alice", "personal-token", None)
    command = f"exec:{keyed.env['PATH'].partition(':')[0]}/{HELPER} token --json {site}/acme/app"
    keyed(*login, site, "--access-token", "--for", "acme", "--from", command)
    assert told(f"{site}/acme/other")["token"] == told(f"{site}/acme/app")["token"]


def test_an_access_token_is_a_bearer_for_rest(keyed: Runner) -> None:
    token = tokens.access_token()
    keep(keyed.env, "https://bitbucket.org/acme", token)
    assert keyed(HELPER, "token", "--header", "acme").stdout == f"Authorization: Bearer {token}\n"


def test_an_api_token_without_its_email_says_what_rest_lacks(keyed: Runner) -> None:
    """The secret itself can be had all the same."""
    token = tokens.api_token()
    keep(keyed.env, "https://bitbucket.org", token, kind="api-token")
    refused = keyed(HELPER, "token", "--header", check=False)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "email" in refused.stderr
    assert keyed(HELPER, "token").stdout == token + "\n"
    assert validated("token", keyed(HELPER, "token", "--json").stdout)["rest"] is None


def test_without_a_credential_it_says_why_and_prints_nothing(keyed: Runner) -> None:
    refused = keyed(HELPER, "token", "acme/app", check=False)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "no credential for bitbucket.org/acme/app" in refused.stderr
    assert "login" in refused.stderr


def test_a_host_that_is_no_bitbucket_is_said_to_be_none(keyed: Runner) -> None:
    """No login would help; and nobody is asked for the vault's key before that is told."""
    keyed.env["GIT_CREDENTIAL_BITBUCKET_KEY"] = "no key"
    refused = keyed(HELPER, "token", "https://github.com/x/y", check=False)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "https://github.com is not configured as Bitbucket, so no secret is sent to it" in refused.stderr


def test_without_a_credential_a_build_is_told_what_it_can_do(keyed: Runner) -> None:
    keyed.env["CI"] = "true"
    assert "BITBUCKET_ACCESS_TOKEN" in keyed(HELPER, "token", "acme/app", check=False).stderr
    keyed(HELPER, "configure")
    assert "BITBUCKET_ACCESS_TOKEN" in keyed(HELPER, "explain", "acme/app", check=False).stdout
    keyed.env["BITBUCKET_CLIENT_ID"] = "key"
    assert "set BITBUCKET_CLIENT_SECRET as well" in keyed(HELPER, "explain", "acme/app", check=False).stdout


def test_a_token_about_to_end_is_renewed_first(keyed: Runner, bitbucket: FakeBitbucket) -> None:
    bitbucket.turn(token_lifetime=2)
    keep_consumer(keyed, bitbucket)
    first = keyed(HELPER, "token", bitbucket.netloc).stdout
    bitbucket.turn(token_lifetime=7200)
    keyed(HELPER, "refresh")
    assert keyed(HELPER, "token", bitbucket.netloc).stdout != first


@pytest.mark.parametrize("words", [(), ("acme/app",), ("deadbeefcafe",)])
def test_the_environments_token_comes_first_as_for_git(keyed: Runner, words: tuple[str, ...]) -> None:
    kept, given = tokens.api_token(), tokens.access_token()
    keep(keyed.env, "https://bitbucket.org", kept, kind="api-token")
    keyed.env["BITBUCKET_TOKEN"] = given
    assert keyed(HELPER, "token", *words).stdout == given + "\n"


def test_a_variable_tells_the_kind_where_the_prefix_does_not(keyed: Runner) -> None:
    """As for git; REST then needs the email, and what is missing is a variable, not a login."""
    keyed.env["BITBUCKET_API_TOKEN"] = token = tokens.oauth_token()
    refused = keyed(HELPER, "token", "--header", check=False)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "hint: set BITBUCKET_EMAIL" in refused.stderr
    keyed.env["BITBUCKET_EMAIL"] = "alice@example.com"
    value = keyed(HELPER, "token", "--header").stdout.strip().partition("Basic ")[2]
    assert b64decode(value).decode() == f"alice@example.com:{token}"
    value = keyed(HELPER, "token", "--header", "--git").stdout.strip().partition("Basic ")[2]
    assert b64decode(value).decode() == f"x-bitbucket-api-token-auth:{token}"


def test_the_environments_token_goes_to_no_host_that_is_not_ours(keyed: Runner) -> None:
    keyed.env["BITBUCKET_TOKEN"] = tokens.access_token()
    refused = keyed(HELPER, "token", "https://evil.example/acme", check=False)
    assert (refused.returncode, refused.stdout) == (1, "")


def test_a_locked_vault_is_unlocked_at_a_terminal(person: Person) -> None:
    """The dialogue is on the terminal; the pipe gets the secret alone."""
    token = tokens.access_token()
    with person.types("sh", "-c", f"{HELPER} login --no-verify --access-token --for acme && {HELPER} lock") as dialogue:
        for prompt, answer in (("New passphrase", "one two three"), ("Repeat passphrase", "one two three"),
                               ("token (not shown)", token), ("Expiry date", "")):  # fmt: skip
            dialogue.reads(prompt)
            dialogue.types(answer)
        dialogue.ends()
    with person.types("sh", "-c", f"{HELPER} token acme | tr A-Za-z B-ZAb-za; echo done") as dialogue:
        dialogue.reads("Passphrase of the vault")
        dialogue.types("one two three")
        shown = dialogue.ends()
    assert token not in shown
    rotated = token.translate(str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
                                            "BCDEFGHIJKLMNOPQRSTUVWXYZAbcdefghijklmnopqrstuvwxyza"))  # fmt: skip
    assert rotated in shown


def test_a_consumer_in_the_environment_serves_rest(keyed: Runner, bitbucket: FakeBitbucket) -> None:
    """As it serves git: its token is minted, before the vault is looked at."""
    consumer = bitbucket.add_consumer()
    keyed.env |= consumer.environment
    name, _, value = keyed(HELPER, "token", bitbucket.netloc, "--header").stdout.strip().partition(": ")
    assert value.startswith("Bearer ")
    answer = requests.get(f"{bitbucket.api_url}/user", headers={name: value}, verify=bitbucket.ca_file, timeout=60)
    assert answer.status_code == 200


def test_a_data_center_token_is_not_told_for_cloud(keyed: Runner) -> None:
    keyed.env["BITBUCKET_TOKEN"] = "BBDC-" + "x" * 44
    refused = keyed(HELPER, "token", "acme/app", check=False)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "holds a token of Bitbucket Data Center" in refused.stderr
