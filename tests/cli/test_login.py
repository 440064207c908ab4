"""login at a terminal and from a pipe, against the stand-in, a real daemon and a real vault file."""

import time
from pathlib import Path

import pytest

from tests.cli.listed import listed
from tests.cli.person import Person
from tests.fake_bitbucket import tokens
from tests.fake_bitbucket.client import ConsumerKey, FakeBitbucket
from tests.running import Runner

HELPER = "git-credential-bitbucket"
PASSPHRASE = "correct horse battery staple"


def vault_of(home: Path) -> Path:
    """Where the vault is, or would be."""
    return home / ".local" / "share" / HELPER / "vault"


def test_a_first_login_guides_from_nothing_to_a_token_in_an_encrypted_vault(
    person: Person, run: Runner, bitbucket: FakeBitbucket, home: Path
) -> None:
    """The menu, the page where it is made, the scopes, a passphrase typed twice; no secret is shown."""
    token = bitbucket.issue_api_token()
    with person.types(HELPER, "login", "--no-verify") as dialogue:
        dialogue.reads("API token: for all repositories")
        dialogue.reads("How do you want to authenticate [2]: ")
        dialogue.types("")
        dialogue.reads("a lost one cannot be recovered")
        dialogue.reads("New passphrase (not shown): ")
        dialogue.types(PASSPHRASE)
        dialogue.reads("Repeat passphrase (not shown): ")
        dialogue.types(PASSPHRASE)
        dialogue.reads("https://id.atlassian.com/manage-profile/security/api-tokens")
        dialogue.reads("read:repository:bitbucket to fetch")
        dialogue.reads("API token (not shown): ")
        dialogue.types(token)
        dialogue.reads("Email of your Atlassian account")
        dialogue.types("alice@example.com")
        dialogue.reads("Expiry date")
        dialogue.types("90d")
        shown = dialogue.ends()
    assert "Logged in: API token for bitbucket.org of alice@example.com, expires" in shown
    assert "git-credential-bitbucket configure" in shown
    assert token not in shown
    assert PASSPHRASE not in shown
    assert token.encode() not in vault_of(home).read_bytes()
    (one,) = listed(run)
    assert (one["kind"], one["scope"], one["state"]) == ("api-token", "bitbucket.org", "ready")


@pytest.mark.parametrize("prompts", [1, 2, 3, 4, 5])
def test_ctrl_c_at_any_prompt_leaves_nothing_behind(person: Person, run: Runner, home: Path, prompts: int) -> None:
    """No vault, no key, no credential; and the terminal echoes again."""
    asked = [
        ("How do you want to authenticate", "2"),
        ("New passphrase", PASSPHRASE),
        ("Repeat passphrase", PASSPHRASE),
        ("API token (not shown)", tokens.api_token()),
        ("Email", "alice@example.com"),
    ]
    script = f"{HELPER} login; echo code $?; stty -a"
    with person.types("sh", "-c", f"trap : INT; {script}") as dialogue:
        for prompt, answer in asked[: prompts - 1]:
            dialogue.reads(prompt)
            dialogue.types(answer)
        dialogue.reads(asked[prompts - 1][0])
        dialogue.presses("c")
        dialogue.reads("code 130")
        shown = dialogue.ends()
    assert " echo " in shown
    assert " icanon " in shown
    assert "Logged in" not in shown
    assert not vault_of(home).exists()
    assert listed(run) == []


def test_a_passphrase_that_differs_is_asked_for_again_and_an_empty_one_keeps_nothing(
    person: Person, home: Path
) -> None:
    """The hint names the way to keep it in memory."""
    with person.types(HELPER, "login", "--no-verify", "--api-token") as dialogue:
        dialogue.reads("New passphrase")
        dialogue.types(PASSPHRASE)
        dialogue.reads("Repeat passphrase")
        dialogue.types(PASSPHRASE.upper())
        dialogue.reads("The passphrases do not match.")
        dialogue.reads("New passphrase")
        dialogue.types("")
        shown = dialogue.ends(1)
    assert "hint: to store it only until the daemon stops: git-credential-bitbucket login --memory" in " ".join(
        shown.split()
    )
    assert not vault_of(home).exists()


def test_a_short_passphrase_and_a_token_are_refused_with_the_reason(person: Person, home: Path) -> None:
    """The token that was asked for a moment before is what is in the clipboard."""
    with person.types(HELPER, "login", "--no-verify", "--api-token") as dialogue:
        dialogue.reads("New passphrase")
        dialogue.types("elevenchars")
        dialogue.reads("A passphrase needs at least 12 characters")
        dialogue.reads("New passphrase")
        dialogue.types(tokens.api_token())
        dialogue.reads("This is a Bitbucket token")
        dialogue.reads("New passphrase")
        dialogue.types("short")
        assert dialogue.ends(1).lower().count("a passphrase needs at least 12 characters") == 2
    assert not vault_of(home).exists()


def test_a_token_from_a_pipe_is_stored_for_its_scope(keyed: Runner) -> None:
    """One line on standard input, no terminal, no question."""
    token = tokens.access_token()
    words = ("--no-verify", "--access-token", "--for", "Acme/App.git", "--expires", "1y")
    said = keyed(HELPER, "login", *words, stdin=token + "\r\n")
    assert said.stdout.startswith("Logged in: access token for bitbucket.org/acme/app, expires ")
    assert said.stderr == ""
    filled = keyed(HELPER, "get", stdin="protocol=https\nhost=bitbucket.org\npath=acme/app\n\n")
    assert f"password={token}\n" in filled.stdout
    assert "username=x-token-auth\n" in filled.stdout


REFUSED: tuple[tuple[tuple[str, ...], int, str], ...] = (
    (("--api-token=TOKEN",), 1, "revoke it"),
    (("TOKEN",), 1, "revoke it"),
    (("--account=TOKEN",), 1, "revoke it"),
    (("something",), 1, "hint: "),
    (("--password", "hunter2hunter2"), 1, "hint: "),
    (("--password=hunter2hunter2",), 1, "hint: "),
    (("--api-token", "--host", "https://bitbucket.example"), 1, "credential.https://bitbucket.example.provider"),
    (("--access-token", "--for", "{uuid}/x"), 1, "hint: "),
    (("--access-token", "--for", "https://elsewhere.example/acme"), 1, "hint: "),
    (("--access-token", "--for", "/"), 1, "hint: "),
    (("--access-token", "--for", ""), 1, "hint: "),
    (("--access-token", "--for", "my workspace/app"), 1, "hint: "),
    (("--access-token", "--expires="), 2, "invalid value for '--expires'"),
    (("--access-token", "--lifetime="), 2, "invalid value for '--lifetime'"),
    (("--access-token", "--lifetime", "99999y"), 2, "longer than 1000 years"),
    (("--access-token", "--lifetime", "tomorrow"), 2, "(write 30m (minutes), 12h"),
)


def test_what_is_refused_is_neither_stored_nor_repeated(keyed: Runner) -> None:
    """A secret in an argument is in the shell's history; nothing is stored for a scope or a time by a typing error."""
    secret = tokens.api_token()
    for words, code, said in REFUSED:
        given = [word.replace("TOKEN", secret) for word in words]
        refused = keyed(HELPER, "login", "--no-verify", *given, stdin=tokens.access_token(), check=False)
        assert (refused.returncode, refused.stdout) == (code, ""), words
        assert said in refused.stderr
        assert not any(word in refused.stderr for word in (secret, "something", "hunter2"))
    assert listed(keyed) == []


def test_the_email_may_follow_an_api_token_on_the_next_line(keyed: Runner) -> None:
    keyed(HELPER, "login", "--no-verify", "--api-token", stdin=f"{tokens.api_token()}\nalice@example.com\n")
    (one,) = listed(keyed)
    assert one["account"] == "alice@example.com"


def test_without_a_key_and_a_terminal_it_refuses_unless_memory_is_asked_for(run: Runner, home: Path) -> None:
    """A token that is shown only once does not go to a place that forgets it unasked."""
    run.env["GIT_CREDENTIAL_BITBUCKET_KEYRING"] = "off"
    token = tokens.api_token()
    refused = run(HELPER, "login", "--no-verify", "--api-token", stdin=token, check=False)
    assert refused.returncode == 1
    assert "error: there is no key to encrypt the vault with" in refused.stderr
    assert "--memory" in refused.stderr
    said = run(HELPER, "login", "--no-verify", "--api-token", "--memory", stdin=token)
    assert "in memory only" in said.stdout
    assert len(listed(run)) == 1
    assert not vault_of(home).exists()


def test_memory_is_refused_where_no_daemon_may_run(keyed: Runner) -> None:
    """The process that would hold it ends with the verb."""
    keyed.env["GIT_CREDENTIAL_BITBUCKET_DAEMON"] = "off"
    refused = keyed(HELPER, "login", "--no-verify", "--api-token", "--memory", stdin=tokens.api_token(), check=False)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "the daemon is switched off" in refused.stderr


def test_it_works_where_no_daemon_may_run(keyed: Runner) -> None:
    """The same agent, in this process; the vault is what lasts."""
    keyed.env["GIT_CREDENTIAL_BITBUCKET_DAEMON"] = "off"
    keyed(HELPER, "login", "--no-verify", "--api-token", stdin=tokens.api_token())
    assert len(listed(keyed)) == 1


def test_a_token_for_a_repository_is_verified_as_git_would(keyed: Runner, bitbucket: FakeBitbucket) -> None:
    """Git's own question, with git's username; what REST says of the scopes is stored, and no person is needed."""
    bitbucket.create_repository("acme/app")
    token = bitbucket.issue_access_token("acme/app", scopes=("repository",))
    said = keyed(HELPER, "login", "--access-token", "--host", bitbucket.url, "--for", "acme/app", stdin=token)
    assert "can fetch but not push" in said.stderr
    assert [(entry.username, entry.status) for entry in bitbucket.requests("git")] == [("x-token-auth", 200)]
    (one,) = listed(keyed)
    assert one["oauth_scopes"] == ["repository"]


def test_an_api_token_without_its_email_is_not_to_be_checked_later_either(keyed: Runner) -> None:
    """Where no repository is known, REST alone could tell, and needs the email: the hint is how to give it."""
    said = keyed(HELPER, "login", "--api-token", stdin=tokens.api_token())
    assert "stored, unverified: " in said.stderr
    assert "hint: to have it checked, log in again with the email address: " in said.stderr


def test_names_are_learnt_where_the_token_may_tell_them(keyed: Runner, bitbucket: FakeBitbucket) -> None:
    """By default, so that a URL with the username in it finds the person; without that scope it is valid too."""
    for person, scopes in (("alice", "read:user:bitbucket"), ("bob", "write:repository:bitbucket")):
        token = bitbucket.issue_api_token(person, scopes=("read:repository:bitbucket", scopes))
        words = ("login", "--api-token", "--host", bitbucket.url, "--account", f"{person}@example.com")
        assert "unverified" not in keyed(HELPER, *words, stdin=token).stderr
    names = {one["account"]: (one["bitbucket_username"], bool(one["account_id"])) for one in listed(keyed)}
    assert names == {"alice@example.com": ("alice", True), "bob@example.com": (None, False)}


@pytest.mark.parametrize("place", ["acme", "acme/app"])
def test_a_rejected_token_is_not_stored_and_a_working_one_stays(
    keyed: Runner, bitbucket: FakeBitbucket, place: str
) -> None:
    """Not even with --replace; --no-verify is the way around."""
    bitbucket.create_repository("acme/app")
    words = ("login", "--access-token", "--host", bitbucket.url, "--for", place)
    keyed(HELPER, *words, stdin=bitbucket.issue_access_token(place))
    before = listed(keyed)
    refused = keyed(HELPER, *words, "--replace", stdin=tokens.access_token(), check=False)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "error: Bitbucket rejected the token: the token is not valid" in refused.stderr
    assert "hint: nothing was stored" in refused.stderr
    assert listed(keyed) == before
    keyed(HELPER, *words, "--replace", "--no-verify", stdin=tokens.access_token())
    assert sorted(one["state"] for one in listed(keyed)) == ["disabled", "ready"]


def test_a_token_that_does_not_reach_its_repository_is_not_stored(keyed: Runner, bitbucket: FakeBitbucket) -> None:
    """`--for` has a typing error, or it is the token of another one."""
    bitbucket.create_repository("acme/app")
    bitbucket.create_repository("acme/web")
    words = ("login", "--access-token", "--host", bitbucket.url, "--for", "acme/web")
    refused = keyed(HELPER, *words, stdin=bitbucket.issue_access_token("acme/app"), check=False)
    assert refused.returncode == 1
    assert "it does not work for this repository: Bitbucket answered git with 403" in refused.stderr
    assert listed(keyed) == []


@pytest.mark.parametrize(("option", "code"), [((), 0), (("--verify",), 1)])
@pytest.mark.parametrize("endpoint", ["api", "git"])
def test_without_a_verdict_it_is_stored_and_said(
    keyed: Runner, bitbucket: FakeBitbucket, endpoint: str, option: tuple[str, ...], code: int
) -> None:
    """410 and an outage say nothing about a token; who asked for a verdict gets exit code 1."""
    bitbucket.create_repository("acme/app")
    bitbucket.script_fault(endpoint, "410")
    place = "acme" if endpoint == "api" else "acme/app"
    words = ("login", "--access-token", "--host", bitbucket.url, "--for", place, *option)
    said = keyed(HELPER, *words, stdin=bitbucket.issue_access_token("acme/app"), check=False)
    assert (said.returncode, said.stdout.startswith("Logged in: ")) == (code, True)
    assert "stored, unverified: Bitbucket answered with 410, which says nothing about the token" in said.stderr
    assert "status --check" in said.stderr
    assert len(bitbucket.requests(endpoint)) == 1
    assert len(listed(keyed)) == 1


def test_without_a_network_it_is_stored_and_said_once(keyed: Runner, bitbucket: FakeBitbucket) -> None:
    """REST is not asked where git could not be."""
    bitbucket.turn(down=True)
    token = bitbucket.issue_access_token("acme/app")
    said = keyed(HELPER, "login", "--access-token", "--host", bitbucket.url, "--for", "acme/app", stdin=token)
    assert said.stderr.count("unverified") == 1
    assert len(listed(keyed)) == 1


def test_an_email_that_rest_rejects_is_told_where_git_works(keyed: Runner, bitbucket: FakeBitbucket) -> None:
    """Git needs no email; whoever uses REST finds out now."""
    bitbucket.create_repository("acme/app")
    words = ("login", "--api-token", "--host", bitbucket.url, "--for", "acme/app", "--account", "alcie@example.com")
    said = keyed(HELPER, *words, stdin=bitbucket.issue_api_token())
    assert "git can use it, but the REST API rejects it" in said.stderr
    assert len(listed(keyed)) == 1


def test_without_verification_nobody_is_asked(keyed: Runner, bitbucket: FakeBitbucket) -> None:
    keyed(HELPER, "login", "--no-verify", "--api-token", "--host", bitbucket.url, stdin=bitbucket.issue_api_token())
    assert bitbucket.requests() == []


def test_half_a_token_is_refused_unless_somebody_means_it(keyed: Runner, person: Person) -> None:
    """A terminal asks; a pipe refuses without --force; and nothing is stored by an Enter."""
    half = tokens.access_token()[:-3]
    words = ("login", "--no-verify", "--access-token", "--for", "acme")
    refused = keyed(HELPER, *words, stdin=half, check=False)
    assert refused.returncode == 1
    assert "error: checksum mismatch: the token looks incomplete" in refused.stderr
    assert "--force" in refused.stderr
    at_keyboard = Person({**keyed.env, "TERM": "xterm"}, person.folder)
    for answer, code in (("", 1), ("y", 0)):
        with at_keyboard.types(HELPER, *words) as dialogue:
            dialogue.reads("Access token (not shown): ")
            dialogue.types(half)
            dialogue.reads("Checksum mismatch: the token looks incomplete. Store it anyway? [y/N] ")
            assert listed(keyed) == []
            dialogue.types(answer)
            if answer:
                dialogue.reads("Expiry date")
                dialogue.types("")
            dialogue.ends(code)
    keyed(HELPER, *words, "--force", "--replace", stdin=f"{half[:-1]}\n")
    assert sorted(one["state"] for one in listed(keyed)) == ["disabled", "ready"]


@pytest.mark.parametrize(
    ("words", "lines"),
    [(("--access-token", "--for", "acme"), 2), (("--api-token",), 3), (("--api-token", "--account", "bob@x.y"), 2)],
)
def test_a_line_that_nobody_asks_for_is_not_dropped(keyed: Runner, words: tuple[str, ...], lines: int) -> None:
    """Two piped lines mean two lines: whoever wrote a second one meant something by it."""
    token = tokens.access_token() if words[0] == "--access-token" else tokens.api_token()
    text = "".join(f"{line}\n" for line in (token, "alice@example.com", "more")[:lines])
    refused = keyed(HELPER, "login", "--no-verify", *words, stdin=text, check=False)
    assert refused.returncode == 1
    assert "standard input" in refused.stderr
    assert listed(keyed) == []


def test_a_second_line_adds_the_email_to_the_username(keyed: Runner) -> None:
    """`--account` has the one, the pipe the other."""
    text = f"{tokens.api_token()}\nalice@example.com\n"
    keyed(HELPER, "login", "--no-verify", "--api-token", "--account", "alice", stdin=text)
    (one,) = listed(keyed)
    assert (one["account"], one["bitbucket_username"]) == ("alice@example.com", "alice")


def test_two_lines_are_key_and_secret_also_where_the_key_is_configured(keyed: Runner, bitbucket: FakeBitbucket) -> None:
    """One line is the secret alone; a key taken for a secret would be sent as one."""
    consumer, other = bitbucket.add_consumer(), bitbucket.add_consumer()
    keyed("git", "config", "--global", f"credential.{bitbucket.url}.oauthClientId", consumer.key)
    words = (HELPER, "login", "--client-credentials", "--host", bitbucket.url, "--for", "acme")
    for text in (f"{consumer.secret}\n", f"{other.key}\n{other.secret}\n"):
        keyed(*words, stdin=text)
    assert {entry.username for entry in bitbucket.token_requests()} == {consumer.key, other.key}
    refused = keyed(*words, stdin=f"{other.key}\n{other.secret}\nmore\n", check=False)
    assert "standard input has more lines" in refused.stderr


def test_a_consumer_alone_logs_in_at_once(keyed: Runner, bitbucket: FakeBitbucket, consumer: ConsumerKey) -> None:
    """Key and secret on two lines; the first token is minted now, so a slip shows now."""
    words = (HELPER, "login", "--client-credentials", "--host", bitbucket.url, "--for", "acme")
    refused = keyed(*words, stdin=f"{consumer.key}\n{consumer.secret[::-1]}\n", check=False)
    assert refused.returncode == 1
    assert consumer.secret[::-1] not in refused.stderr
    keyed(*words, stdin=f"{consumer.key}\n{consumer.secret}\n")
    (one,) = listed(keyed)
    assert (one["kind"], one["state"], one["account"]) == ("client-credentials", "ready", None)
    assert [entry.status for entry in bitbucket.token_requests()][-1] == 200


def test_the_consumer_may_come_from_the_environment(keyed: Runner, bitbucket: FakeBitbucket) -> None:
    """Nothing is asked for, and the environment's credential is not what is verified against."""
    consumer = bitbucket.add_consumer()
    keyed.env |= consumer.environment
    keyed(HELPER, "login", "--client-credentials", "--host", bitbucket.url)
    assert len(listed(keyed)) == 1


def test_a_locked_vault_is_unlocked_on_the_way(person: Person, run: Runner) -> None:
    """The passphrase first, then the token; the second login finds it open."""
    for kind in ("--api-token", "--access-token"):
        with person.types(HELPER, "login", "--no-verify", kind) as dialogue:
            if kind == "--api-token":
                for prompt in ("New passphrase", "Repeat passphrase"):
                    dialogue.reads(prompt)
                    dialogue.types(PASSPHRASE)
            else:
                dialogue.reads("The vault is locked.")
                for typed in ("wrong", PASSPHRASE):
                    dialogue.reads("Passphrase of the vault (not shown): ")
                    dialogue.types(typed)
            dialogue.reads("token (not shown): ")
            dialogue.types(tokens.api_token() if kind == "--api-token" else tokens.access_token())
            if kind == "--api-token":
                dialogue.reads("Email")
            else:
                dialogue.reads("Workspace or repository of the token")
                dialogue.types("")
                dialogue.reads("not a workspace or repository")
                dialogue.reads("Workspace or repository of the token")
            dialogue.types("" if kind == "--api-token" else "acme/app")
            dialogue.reads("Expiry date")
            dialogue.types("")
            dialogue.ends()
        run(HELPER, "lock")
    locked = run(HELPER, "status", "--fail-within", "7d", check=False)
    assert locked.returncode == 1


def test_a_lifetime_is_told_and_listed(keyed: Runner) -> None:
    """Eight hours from now it is forgotten; status knows."""
    told = keyed(
        HELPER,
        "login",
        "--no-verify",
        "--access-token",
        "--for",
        "acme",
        "--lifetime",
        "8h",
        stdin=tokens.access_token(),
    )
    assert "removed here in" in told.stdout
    (one,) = listed(keyed)
    assert 0 < one["forget_at"] - time.time() <= 8 * 3600
