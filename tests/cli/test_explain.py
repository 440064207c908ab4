"""`explain` with real git: what it says is what `git credential fill` then gets, and why there is nothing."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from tests.cli.listed import keep_consumer, listed
from tests.cli.person import Person
from tests.cli.schemas import validated
from tests.fake_bitbucket import tokens
from tests.fake_bitbucket.client import FakeBitbucket
from tests.running import Runner
from tests.sandbox import keep

HELPER = "git-credential-bitbucket"
CLOUD = "https://bitbucket.org"


def explained(run: Runner, *words: str, code: int = 0, cwd: Path | None = None) -> dict[str, Any]:
    """The JSON document, which must come with that exit code."""
    done = run(HELPER, "explain", "--json", *words, check=False, cwd=cwd)
    assert done.returncode == code, done.stderr
    document: dict[str, Any] = validated("explain", done.stdout)
    return document


def filled(run: Runner, url: str) -> dict[str, str]:
    """What git itself gets for `url`."""
    done = run("git", "credential", "fill", stdin=f"url={url}\n\n")
    return dict(line.split("=", 1) for line in done.stdout.splitlines())


def kept(run: Runner, place: str) -> str:
    """An access token, kept for `place` of bitbucket.org; an API token for all of it if empty."""
    token = tokens.access_token() if place else tokens.api_token()
    keep(run.env, f"{CLOUD}/{place}".rstrip("/"), token, kind="access-token" if place else "api-token")
    return token


def test_the_winner_is_what_git_gets(configured: Runner) -> None:
    """For a repository, its workspace and the rest: the same username and the same token, masked."""
    for place in ("acme/app", "acme", "beta"):
        kept(configured, place)
    keep(configured.env, "https://bitbucket.org", tokens.api_token(), kind="api-token")
    for path, place, others in (
        ("acme/app.git", "bitbucket.org/acme/app", 3),
        ("acme/other.git", "bitbucket.org/acme", 2),
        ("gamma/x", "bitbucket.org", 1),
    ):
        document = explained(configured, f"{CLOUD}/{path}")
        answer = filled(configured, f"{CLOUD}/{path}")
        (winner,) = (one for one in document["candidates"] if one["wins"])
        assert winner["scope"] == place
        assert document["candidates"].index(winner) == 0
        assert len(document["candidates"]) == others
        assert document["answer"]["username"] == answer["username"]
        assert document["answer"]["secret"] == answer["password"][:5] + "…"
        assert document["asked"] == {"protocol": "https", "host": "bitbucket.org", "path": path}
    assert "scope is narrower" in explained(configured, "acme/app")["answer"]["because"]


def test_people_read_question_helpers_candidates_and_answer(configured: Runner, link: Path) -> None:
    token = kept(configured, "acme/app")
    said = configured(HELPER, "explain", "acme/app").stdout
    assert said.startswith(f"{CLOUD}/acme/app (as given)\n")
    assert "  protocol=https host=bitbucket.org path=acme/app\n" in said
    assert f"  1. ~/.local/bin/{link.name} (this program; ~/.gitconfig, global)\n" in said
    assert "  environment: no token\n" in said
    assert "  daemon: " in said
    assert "  vault: open\n" in said
    assert "  1. access token for bitbucket.org/acme/app, ATCTT…, expires: unknown, " in said
    assert "  username x-token-auth, password ATCTT…: the access token for bitbucket.org/acme/app\n" in said
    assert "  because it is the only candidate\n" in said
    assert token not in said


def test_what_was_rejected_is_passed_over_and_says_so(configured: Runner) -> None:
    """The next one wins, and the first one's cure is told."""
    narrow, wide = kept(configured, "acme/app"), kept(configured, "acme")
    configured(HELPER, "erase", stdin=f"protocol=https\nhost=bitbucket.org\npath=acme/app\npassword={narrow}\n\n")
    document = explained(configured, "acme/app")
    assert [(one["outcome"], one["wins"]) for one in document["candidates"]] == [
        ("passed over", False),
        ("answers", True),
    ]
    assert "suspended" in document["candidates"][0]["why"]
    assert "restore" in document["candidates"][0]["hint"]
    assert filled(configured, f"{CLOUD}/acme/app")["password"] == wide
    configured(HELPER, "erase", stdin=f"protocol=https\nhost=bitbucket.org\npath=acme/app\npassword={wide}\n\n")
    none = explained(configured, "acme/app", code=1)
    assert none["answer"] is None
    assert "suspended" in none["none"]["cause"]


def test_bitbucket_is_asked_as_git_asks_about_what_git_gets(configured: Runner, bitbucket: FakeBitbucket) -> None:
    """A token without access to the repository, or revoked, answers git all the same: only Bitbucket knows."""
    configured("git", "config", "--global", "http.proxy", bitbucket.proxy_url)
    bitbucket.create_repository("acme/app")
    bitbucket.create_repository("beta/app")
    token = bitbucket.issue_access_token("acme")
    keep(configured.env, "https://bitbucket.org/acme", token, scopes=["repository"])
    assert "verdict" not in explained(configured, "acme/app")
    assert explained(configured, "acme/app", "--check")["verdict"]["verdict"] == "valid"
    denied = configured(HELPER, "explain", "acme/missing", "--check", check=False)
    assert denied.returncode == 1
    assert "  hint: log in with an account or a token that has access: git-credential-bitbucket login --for acme\n" in (
        denied.stdout
    )
    configured.env["BITBUCKET_TOKEN"] = token
    said = configured(HELPER, "explain", "acme/app", "--check").stdout
    assert "Bitbucket says that it is valid\n" in said
    assert "lacks" not in said, "what the environment's token may do is not known"
    assert explained(configured, "beta/app", "--check", code=1)["verdict"]["verdict"] == "denied"
    bitbucket.revoke(token)
    assert explained(configured, "acme/app", "--check", code=1)["verdict"]["verdict"] == "rejected"
    del configured.env["BITBUCKET_TOKEN"]
    refused = configured(HELPER, "explain", "acme/app", "--check", check=False)
    assert refused.returncode == 1
    assert "  Bitbucket rejects it: " in refused.stdout
    assert "  hint: create a new token, then run: git-credential-bitbucket rotate " in refused.stdout
    assert "  the token lacks the OAuth scope repository:write, so git can fetch but not push\n" in refused.stdout
    assert explained(configured, "acme/app")["answer"], "nothing was changed by asking"


def test_the_account_that_git_asks_for_wins_among_equals(configured: Runner) -> None:
    """Complaint 11: the wrong account is chosen, and nobody knows why."""
    for name in ("alice", "bob"):
        configured(HELPER, "login", "--no-verify", "--api-token", "--account", name, stdin=tokens.api_token())
    accounts = {one["account"]: one["id"] for one in listed(configured)}
    if set(accounts) != {"alice", "bob"}:
        pytest.fail(f"kept for {sorted(map(str, accounts))}")
    for name in ("alice", "bob"):
        document = explained(configured, f"https://{name}@bitbucket.org/acme/app")
        assert document["asked"]["username"] == name
        assert document["answer"]["from"] == accounts[name]
        (other,) = document["dropped"]
        assert other["account"] != name
        assert f"git asks for {name}" in other["because"]


def test_an_oauth_login_due_for_renewal_is_said_to_be_renewed_first_and_is_not(
    configured: Runner, bitbucket: FakeBitbucket
) -> None:
    """Looking changes nothing: no request goes out."""
    configured(HELPER, "configure", "--host", bitbucket.url)
    bitbucket.turn(token_lifetime=1)
    keep_consumer(configured, bitbucket)
    before = bitbucket.mark()
    url = f"{bitbucket.url}/acme/app.git"
    deadline = time.monotonic() + 120
    while explained(configured, url)["answer"]["outcome"] == "answers":
        assert time.monotonic() < deadline, "its second does not end"
    document = explained(configured, url)
    assert document["answer"]["outcome"] == "renewed"
    assert document["candidates"][0]["kind"] == "client-credentials"
    assert "  renewed first\n" in configured(HELPER, "explain", url).stdout
    assert not bitbucket.token_requests(since=before)
    filled(configured, url)
    assert len(bitbucket.token_requests(since=before)) == 1


def test_the_remote_of_the_repository_is_the_default(configured: Runner, home: Path) -> None:
    """With `insteadOf` applied, and the name of the Clone button's URL."""
    work = home / "work"
    configured("git", "init", "--quiet", "clone")
    clone = work / "clone"
    configured("git", "config", "--global", "url.https://alice@bitbucket.org/.insteadOf", "bb:")
    configured("git", "remote", "add", "origin", "bb:acme/app.git", cwd=clone)
    kept(configured, "acme/app")
    document = explained(configured, cwd=clone)
    assert document["source"] == "the remote of this repository"
    assert document["url"] == "https://alice@bitbucket.org/acme/app.git"
    assert document["asked"]["username"] == "alice"
    assert document["answer"]["username"] == "x-token-auth"
    document = explained(configured, cwd=work)
    assert "no remote here" in document["source"]
    assert document["asked"] == {"protocol": "https", "host": "bitbucket.org"}


def test_a_repository_cannot_have_anything_run(configured: Runner, home: Path) -> None:
    """Its aliases, pager, hooks and fsmonitor stay where they are; its own helper line is shown, with its file."""
    configured("git", "init", "--quiet", "clone")
    clone, trace = home / "work" / "clone", home / "ran"
    bad = f"!touch {trace}"
    for key, value in (
        ("alias.ls-remote", bad),
        ("alias.config", bad),
        ("pager.ls-remote", f"touch {trace}"),
        ("core.pager", f"touch {trace}"),
        ("core.fsmonitor", f"touch {trace}"),
        ("core.sshCommand", f"touch {trace}"),
        (f"credential.{CLOUD}.helper", bad),
        (f"credential.{CLOUD}.provider", "bitbucket"),
    ):
        configured("git", "config", key, value, cwd=clone)
    configured("git", "remote", "add", "origin", f"{CLOUD}/acme/app.git", cwd=clone)
    kept(configured, "acme/app")
    (clone / "json.py").write_text(f"open({str(trace)!r}, 'w')")
    document = explained(configured, cwd=clone)
    assert not trace.exists()
    assert [(one["scope"], one["ours"]) for one in document["helpers"]] == [("global", True), ("local", False)]
    assert document["helpers"][1]["file"].endswith(".git/config")


def test_a_token_in_the_environment_wins_and_is_named(configured: Runner) -> None:
    kept(configured, "acme/app")
    token = configured.env["BITBUCKET_API_TOKEN"] = tokens.api_token()
    document = explained(configured, "acme/app")
    assert document["answer"]["from"] == "environment"
    assert document["environment"]["variable"] == "BITBUCKET_API_TOKEN"
    assert document["answer"]["username"] == filled(configured, f"{CLOUD}/acme/app")["username"]
    said = configured(HELPER, "explain", "acme/app").stdout
    assert "environment: BITBUCKET_API_TOKEN (API token ATATT…), used before any stored credential" in said
    assert token not in said


def test_the_line_of_the_tokens_file_that_answers_is_named(configured: Runner, home: Path) -> None:
    """For what it covers; the rest is the vault's. git and the verb `token` get the same."""
    kept(configured, "beta")
    (home / "tokens").touch(0o600)
    (home / "tokens").write_text(f"\nacme={tokens.access_token()}\nacme/app={tokens.api_token()}\n")
    configured.env["BITBUCKET_TOKENS_FILE"] = str(home / "tokens")
    document = explained(configured, "acme/app")
    assert document["environment"]["variable"] == "line 3 of BITBUCKET_TOKENS_FILE"
    given = filled(configured, f"{CLOUD}/acme/app")
    assert document["answer"]["username"] == given["username"]
    assert configured(HELPER, "token", "acme/app").stdout == f"{given['password']}\n"
    assert "environment: line 2 of BITBUCKET_TOKENS_FILE" in configured(HELPER, "explain", "acme/x").stdout
    document = explained(configured, "beta/x")
    assert document["environment"] is None
    assert document["answer"]["from"] != "environment"


def test_a_rejected_token_of_the_environment_is_said_to_be_suspended(configured: Runner) -> None:
    """The mark of an erase: for a minute nothing is offered, and this is why."""
    token = configured.env["BITBUCKET_TOKEN"] = tokens.access_token()
    request = "protocol=https\nhost=bitbucket.org\nusername=x-token-auth\n"
    configured("git", "credential", "reject", stdin=f"{request}password={token}\n\n")
    none = explained(configured, CLOUD, code=1)["none"]
    assert "rejected the secret in BITBUCKET_TOKEN" in none["cause"]
    assert none["hint"]


def test_no_credential_says_what_there_is_instead_and_what_git_does_then(configured: Runner) -> None:
    """Complaint 20: "terminal prompts disabled", and no cause."""
    kept(configured, "beta")
    document = explained(configured, "acme/app", code=1)
    assert document["elsewhere"] == ["bitbucket.org/beta"]
    assert document["none"]["cause"] == (
        "no credential covers bitbucket.org/acme/app; there are some for bitbucket.org/beta"
    )
    assert "git-credential-bitbucket login" in document["none"]["hint"]
    assert "terminal prompts disabled" in document["none"]["then"]
    assert "GIT_TERMINAL_PROMPT" in document["none"]["then"]
    del configured.env["GIT_TERMINAL_PROMPT"]
    assert "there is no terminal" in explained(configured, "acme/app", code=1)["none"]["then"]
    configured.env["GIT_ASKPASS"] = "/usr/bin/ksshaskpass"
    assert "GIT_ASKPASS" in explained(configured, "acme/app", code=1)["none"]["then"]


def test_a_locked_vault_is_the_cause_with_its_hint(configured: Runner) -> None:
    kept(configured, "acme/app")
    configured(HELPER, "lock")
    document = explained(configured, "acme/app", code=1)
    assert document["vault"]["state"] == "locked"
    assert "the vault was locked by hand" in document["none"]["cause"]
    assert "unlock" in document["none"]["hint"]


@pytest.mark.parametrize(
    ("locked", "forbidding", "foretold", "shown"),
    [
        (
            False,
            {},
            "git then waits while this program asks how you want to authenticate",
            "How do you want to authenticate",
        ),
        (False, {"GIT_TERMINAL_PROMPT": "0"}, "terminal prompts disabled", "terminal prompts disabled"),
        (False, {"CI": "true"}, "git then asks for username and password at the terminal", "Username for"),
        (True, {}, "git then waits while this program has you unlock the vault", "git needs a credential for"),
        (True, {"GIT_TERMINAL_PROMPT": "0"}, "no one can be asked to unlock the vault: GIT_TERM", "told us to quit"),
        (True, {"CI": "true"}, "no one can be asked to unlock the vault: CI is set", "told us to quit"),
    ],
)
def test_what_is_said_to_follow_is_what_follows(
    configured: Runner, locked: bool, forbidding: dict[str, str], foretold: str, shown: str
) -> None:
    """At a terminal this program asks; where it must not, git stops or asks by itself, and `explain` knows which."""
    if locked:
        kept(configured, "acme/app")
        configured(HELPER, "lock")
    person = Person({**configured.env, "GIT_TERMINAL_PROMPT": "1", "TERM": "dumb", **forbidding}, configured.folder)
    with person.types(HELPER, "explain", f"{CLOUD}/acme/app", columns=200) as dialogue:
        assert foretold in " ".join(dialogue.ends(1).split())
    with person.types("sh", "-c", f"echo url={CLOUD}/acme/app | git credential fill") as dialogue:
        dialogue.reads(shown)


def test_a_git_that_does_not_ask_us_is_told_of(keyed: Runner) -> None:
    kept(keyed, "acme/app")
    keyed("git", "config", "--global", "credential.helper", "cache")
    document = explained(keyed, "acme/app", code=1)
    assert "git asks cache for https://bitbucket.org, not git-credential-bitbucket" in document["none"]["cause"]
    assert document["none"]["hint"] == "run: git-credential-bitbucket configure"


def test_helpers_before_ours_and_what_git_sends_unasked_are_told(configured: Runner, home: Path) -> None:
    """An earlier helper's answer counts, and so do ~/.netrc and an Authorization header of a CI system."""
    kept(configured, "acme/app")
    file = home / ".gitconfig"
    file.write_text(file.read_text().replace("\thelper = \n", "\thelper = cache\n"))
    secret = tokens.api_token()
    (home / ".netrc").write_text(f"machine bitbucket.org login x password {secret}\n")
    configured("git", "config", "--global", f"http.{CLOUD}/.extraHeader", f"Authorization: Basic {secret}")
    for command in ("!f() { echo password=hunter2; }; f", "!/usr/bin/gh auth git-credential", "!P=hunter2 gh"):
        configured("git", "config", "--global", "--add", f"credential.{CLOUD}.helper", command)
    said = configured(HELPER, "explain", "acme/app").stdout
    assert "  1. cache (" in said
    assert "unless a helper that git asks first answers: cache" in said
    assert "  4. !/usr/bin/gh … (" in said
    assert "~/.netrc" in said
    assert "http.extraHeader" in said
    assert "hunter2" not in said
    assert secret not in said


@pytest.mark.parametrize("daemon", ["off", "running", "not running"])
def test_the_daemon_s_state_is_told(configured: Runner, daemon: str) -> None:
    """As it was before the question."""
    kept(configured, "acme/app")
    if daemon == "off":
        configured.env["GIT_CREDENTIAL_BITBUCKET_DAEMON"] = "off"
    elif daemon == "not running":
        configured(HELPER, "daemon", "stop")
    document = explained(configured, "acme/app")
    assert document["daemon"]["state"] == daemon
    assert document["answer"]["username"] == "x-token-auth"


@pytest.mark.parametrize("daemon", ["on", "off"])
def test_without_use_http_path_the_repository_at_work_is_seen(configured: Runner, daemon: str) -> None:
    """As git's own `get` finds it among its ancestors' words, from the daemon and where none may run."""
    narrow = kept(configured, "acme/app")
    kept(configured, "")
    configured("git", "config", "--global", f"credential.{CLOUD}.useHttpPath", "false")
    configured.env["GIT_CREDENTIAL_BITBUCKET_DAEMON"] = daemon
    document = explained(configured, f"{CLOUD}/acme/app")
    assert document["asked"] == {"protocol": "https", "host": "bitbucket.org"}
    assert document["answer"]["what"].endswith("bitbucket.org/acme/app")
    assert "without the repository" in configured(HELPER, "explain", f"{CLOUD}/acme/app").stdout
    # A shell that calls itself git and has the URL among its words stands for `git remote-https origin URL`.
    at_work = ["bash", "-c", 'exec -a git bash -c "git credential fill; true" git "$0"', f"{CLOUD}/acme/app"]
    done = configured(*at_work, stdin="protocol=https\nhost=bitbucket.org\n\n")
    assert f"password={narrow}\n" in done.stdout
    assert filled(configured, f"{CLOUD}/acme/app")["password"] != narrow


@pytest.mark.parametrize("address", ["git@bitbucket.org:acme/app.git", "ssh://git@bitbucket.org/acme/app"])
def test_ssh_is_told_apart(configured: Runner, address: str) -> None:
    none = explained(configured, address, code=1)["none"]
    assert "only for http and https" in none["cause"]
    assert none["hint"] == "use the https URL: git remote set-url origin https://bitbucket.org/acme/app.git"


@pytest.mark.parametrize(
    ("address", "cause"),
    [
        ("http://bitbucket.org/acme/app", "plain http"),
        ("https://bitbucket.org.evil.example/acme/app", "not configured as Bitbucket"),
        ("https://github.com/acme/app", "not configured as Bitbucket"),
    ],
)
def test_other_hosts_get_nothing(configured: Runner, address: str, cause: str) -> None:
    """And the setting is named that would change that."""
    kept(configured, "")
    document = explained(configured, address, code=1)
    assert cause in document["none"]["cause"]
    is_plain_http = "git remote set-url origin https://bitbucket.org/" in document["none"]["hint"]
    assert is_plain_http == address.startswith("http:")
    assert document["candidates"] == []


def test_a_secret_or_no_address_in_the_argument_is_refused(configured: Runner) -> None:
    """It is in the shell's history now."""
    token = tokens.api_token()
    for word, said in (
        (f"https://alice:{token}@bitbucket.org/acme/app", "history"),
        (token, "history"),
        ("https://alice:hunter2@bitbucket.org/a/b", "history"),
        ("not a url", "not a workspace or repository"),
    ):
        done = configured(HELPER, "explain", word, check=False)
        assert (done.returncode, done.stdout) == (1, "")
        assert said in done.stderr
        assert token not in done.stderr
        assert "hunter2" not in done.stderr


def test_a_secret_in_a_remote_is_told_of_and_not_shown(configured: Runner, home: Path) -> None:
    """Git sends it before it asks anybody."""
    token = tokens.access_token()
    configured("git", "init", "--quiet", "clone")
    clone = home / "work" / "clone"
    configured("git", "remote", "add", "origin", f"https://x-token-auth:{token}@bitbucket.org/acme/app.git", cwd=clone)
    kept(configured, "acme/app")
    done = configured(HELPER, "explain", cwd=clone)
    assert done.stdout.startswith("https://x-token-auth:…@bitbucket.org/acme/app.git (the remote of this repository)\n")
    assert "the password in the URL" in done.stdout
    assert token not in done.stdout + done.stderr


def test_control_characters_in_a_remote_do_not_reach_the_terminal(configured: Runner, home: Path) -> None:
    """A repository's remote is what somebody else wrote."""
    configured("git", "init", "--quiet", "clone")
    clone = home / "work" / "clone"
    configured("git", "remote", "add", "origin", f"{CLOUD}/acme/a%1b%5b2Jb", cwd=clone)
    done = configured(HELPER, "explain", cwd=clone, check=False)
    assert "\x1b" not in done.stdout + done.stderr
    assert done.returncode == 1
    configured("git", "remote", "set-url", "origin", f"{CLOUD}/acme/\u202eppa", cwd=clone)
    done = configured(HELPER, "explain", cwd=clone, check=False)
    assert "\u202e" not in done.stdout + done.stderr


def test_it_works_where_the_directory_is_gone(configured: Runner, home: Path) -> None:
    kept(configured, "acme/app")
    gone = home / "work" / "gone"
    gone.mkdir()
    script = f"rmdir {gone}; exec {HELPER} explain --json acme/app"
    assert json.loads(configured("sh", "-c", script, cwd=gone).stdout)["answer"]
    assert not os.path.exists(gone)
