"""Credentials from the environment, as git gets them."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fake_bitbucket import tokens
from tests.fake_bitbucket.client import FakeBitbucket
from tests.helpers import request, socket_of
from tests.running import Runner

API, ACCESS = "x-bitbucket-api-token-auth", "x-token-auth"


def filled(front: Runner, text: str = "", **env: str) -> dict[str, str]:
    """What `git credential fill` says, with `env` added."""
    done = front("git", "credential", "fill", stdin=text or request(), env={**front.env, **env}, check=False)
    return dict(line.split("=", 1) for line in done.stdout.split("\n") if "=" in line)


@pytest.mark.parametrize(
    ("variable", "make", "username"),
    [
        ("BITBUCKET_API_TOKEN", tokens.api_token, API),
        ("BITBUCKET_ACCESS_TOKEN", tokens.access_token, ACCESS),
        ("BITBUCKET_TOKEN", tokens.api_token, API),
        ("BITBUCKET_TOKEN", tokens.access_token, ACCESS),
        ("BITBUCKET_TOKEN", tokens.oauth_token, ACCESS),
        ("BITBUCKET_API_TOKEN", tokens.access_token, ACCESS),
        ("BITBUCKET_ACCESS_TOKEN", tokens.api_token, API),
        ("BITBUCKET_API_TOKEN", tokens.oauth_token, API),
    ],
)
def test_git_gets_the_username_of_the_kind(
    front: Runner, home: Path, variable: str, make: Callable[[], str], username: str
) -> None:
    """The prefix decides, and where it tells nothing the variable does; no daemon is started for it."""
    secret = make()
    answer = filled(front, **{variable: secret})
    assert (answer["username"], answer["password"]) == (username, secret)
    assert not socket_of(home).exists()


def test_answer_carries_nothing_else(front: Runner, helper: Path) -> None:
    """Username and password: no state, no expiry, also where git offers to take them."""
    secret = tokens.access_token()
    text = request() + "capability[]=state\ncapability[]=authtype\n"
    done = front(helper, "get", stdin=text, env={**front.env, "BITBUCKET_TOKEN": secret})
    assert done.stdout == f"username={ACCESS}\npassword={secret}\n"
    assert done.stderr == ""


def test_clone_button_username_does_not_matter(front: Runner) -> None:
    """`https://alice@bitbucket.org/…` gets the username that the token needs."""
    assert filled(front, request(username="alice"), BITBUCKET_TOKEN=tokens.access_token())["username"] == ACCESS


@pytest.mark.parametrize(
    ("variable", "ending"), [("BITBUCKET_TOKEN", ""), ("BITBUCKET_API_TOKEN", "\n"), ("BITBUCKET_ACCESS_TOKEN", "\r\n")]
)
def test_file_may_end_with_one_line_break(front: Runner, home: Path, variable: str, ending: str) -> None:
    """As editors and `echo` leave it; anything more is not a token."""
    secret = tokens.access_token()
    (home / "secret").write_bytes(secret.encode() + ending.encode())
    assert filled(front, **{f"{variable}_FILE": str(home / "secret")})["password"] == secret
    assert not socket_of(home).exists()


@pytest.mark.parametrize("around", ["'{}'", '"{}"', "{} ", " {}\t", '"{}"\r\n', "Bearer {}", "\u201c{}\u201d"])
def test_quotes_and_blanks_around_it_are_not_sent(front: Runner, home: Path, around: str) -> None:
    """A .env file and a YAML value keep them, and `login` takes them off as well; in the variable as in its file."""
    secret = tokens.access_token()
    assert filled(front, BITBUCKET_TOKEN=around.format(secret))["password"] == secret
    (home / "secret").write_text(around.format(secret))
    assert filled(front, BITBUCKET_TOKEN_FILE=str(home / "secret"))["password"] == secret


def test_blanks_inside_a_token_are_told(front: Runner, helper: Path) -> None:
    """Two things were pasted, and which of them is meant cannot be told."""
    env = {**front.env, "BITBUCKET_TOKEN": f"{tokens.access_token()} deploy"}
    done = front(helper, "get", stdin=request(), env=env)
    assert done.stdout == ""
    assert "BITBUCKET_TOKEN holds a token with spaces in it" in done.stderr


def test_variable_wins_over_the_file(front: Runner, home: Path) -> None:
    """Where both are set, the file is not even read."""
    secret = tokens.access_token()
    answer = filled(front, BITBUCKET_TOKEN=secret, BITBUCKET_TOKEN_FILE=str(home / "nowhere"))
    assert answer["password"] == secret


def test_empty_variable_is_none(front: Runner, helper: Path) -> None:
    """CI systems set a variable to nothing where a secret is not granted."""
    env = {**front.env, "BITBUCKET_TOKEN": "", "BITBUCKET_API_TOKEN_FILE": ""}
    done = front(helper, "get", stdin=request(), env=env)
    assert done.stdout == ""
    assert "no credential for bitbucket.org/acme/app" in done.stderr


@pytest.mark.parametrize("content", [None, b"", b"\n", b"one\ntwo", b"tab\tinside", b"x" * 70000])
def test_unusable_file_is_one_error_and_no_answer(
    front: Runner, helper: Path, home: Path, content: bytes | None
) -> None:
    """A missing, empty or wrong file is named by its variable, never by what is in it."""
    if content is not None:
        (home / "secret").write_bytes(content)
    env = {**front.env, "BITBUCKET_ACCESS_TOKEN_FILE": str(home / "secret")}
    done = front(helper, "get", stdin=request(), env=env)
    assert done.stdout == ""
    error, hint, end = done.stderr.split("\n")
    assert error.startswith("git-credential-bitbucket: error: ")
    assert "BITBUCKET_ACCESS_TOKEN_FILE" in error
    assert hint.startswith("git-credential-bitbucket: hint: ")
    assert end == ""
    assert not {"two", "inside", "xxx"} & set(done.stderr.split())


def test_relative_path_is_refused(front: Runner, helper: Path, home: Path) -> None:
    """It would be read from the work tree, which is somebody else's."""
    (home / "work" / "secret").write_text(tokens.access_token())
    done = front(helper, "get", stdin=request(), env={**front.env, "BITBUCKET_TOKEN_FILE": "secret"})
    assert done.stdout == ""
    assert "relative path" in done.stderr


def test_pipe_that_nobody_writes_to_does_not_hang(front: Runner, helper: Path, home: Path) -> None:
    """A named pipe instead of a file is an empty one."""
    os.mkfifo(home / "secret")
    env = {**front.env, "BITBUCKET_TOKEN_FILE": str(home / "secret")}
    done = front(helper, "get", stdin=request(), env=env, timeout=60)
    assert "holds nothing" in done.stderr


@pytest.mark.parametrize("quote", ["", "'"])
def test_app_password_is_refused_with_the_way_out(front: Runner, helper: Path, quote: str) -> None:
    """It would get 410, upon which git neither stores nor erases: it is never offered."""
    secret = tokens.app_password()
    done = front(helper, "get", stdin=request(), env={**front.env, "BITBUCKET_TOKEN": f"{quote}{secret}{quote}"})
    assert done.stdout == ""
    assert "app password" in done.stderr
    assert "API token" in done.stderr
    assert secret not in done.stderr


@pytest.mark.parametrize(
    "text",
    [
        request(host="github.com"),
        request(host="bitbucket.org.evil.example"),
        request(host="bitbucket.org:8443"),
        request(host="evil.example").replace("protocol=https", "protocol=http"),
        request().replace("protocol=https", "protocol=http"),
        "protocol=cert\nhost=\npath=/some/key\n",
    ],
)
def test_no_other_host_gets_it(front: Runner, helper: Path, home: Path, text: str) -> None:
    """Hosts that are not ours are answered with silence, and nothing is started for them."""
    done = front(helper, "get", stdin=text, env={**front.env, "BITBUCKET_TOKEN": tokens.access_token()})
    assert (done.stdout, done.stderr) == ("", "")
    assert not socket_of(home).exists()


def test_host_named_in_the_configuration_gets_it(front: Runner) -> None:
    """`credential.<url>.provider = bitbucket` in the global configuration puts a host on the list."""
    front("git", "config", "--global", "credential.https://git.example.provider", "bitbucket")
    secret = tokens.access_token()
    assert filled(front, request(host="git.example"), BITBUCKET_TOKEN=secret)["password"] == secret


def test_repository_cannot_put_a_host_on_the_list(front: Runner, home: Path) -> None:
    """The same setting in a clone's own configuration counts for nothing."""
    front("git", "init", "-q", home / "work" / "clone")
    clone = home / "work" / "clone"
    front("git", "config", "credential.https://evil.example.provider", "bitbucket", cwd=clone)
    env = {**front.env, "BITBUCKET_TOKEN": tokens.access_token()}
    done = front("git", "credential", "fill", stdin=request(host="evil.example"), env=env, cwd=clone, check=False)
    assert "password" not in done.stdout


def test_store_of_it_changes_nothing(front: Runner, home: Path) -> None:
    """Git stores whatever worked; the environment's secret enters neither daemon nor vault."""
    secret = tokens.access_token()
    text = request(username=ACCESS, password=secret)
    done = front("git", "credential", "approve", stdin=text, env={**front.env, "BITBUCKET_TOKEN": secret})
    assert done.stderr == ""
    assert not socket_of(home).exists()
    assert not (home / ".local" / "share" / "git-credential-bitbucket").exists()


def test_store_of_a_minted_token_never_enters_the_vault(front: Runner, home: Path) -> None:
    """What client credentials brought is told by its username, also where nobody remembers having minted it."""
    key, secret = tokens.consumer_pair()
    env = {**front.env, "BITBUCKET_CLIENT_ID": key, "BITBUCKET_CLIENT_SECRET": secret}
    text = request(username=ACCESS, password=tokens.oauth_token())
    assert front("git", "credential", "approve", stdin=text, env=env).stderr == ""
    assert not socket_of(home).exists()


def test_store_of_another_secret_goes_on(front: Runner) -> None:
    """What a person typed meanwhile is kept as always, and answers once the environment's token is gone."""
    typed = tokens.api_token()
    text = request(username="alice", password=typed)
    front("git", "credential", "approve", stdin=text, env={**front.env, "BITBUCKET_TOKEN": tokens.access_token()})
    assert filled(front)["password"] == typed


def test_secret_without_its_consumer_id_is_spoken_of(front: Runner, helper: Path) -> None:
    """Half of a pair is not taken for none at all."""
    _, secret = tokens.consumer_pair()
    env = {**front.env, "BITBUCKET_CLIENT_SECRET": secret}
    done = front(helper, "get", stdin=request(), env=env)
    assert done.stdout == ""
    assert "BITBUCKET_CLIENT_SECRET is set, but BITBUCKET_CLIENT_ID is not" in done.stderr


@pytest.mark.parametrize("text", ["$TOKEN", "${TOKEN}", "%TOKEN%", "$(bitbucket.token)", "${{ secrets.TOKEN }}"])
@pytest.mark.parametrize("place", ["variable", "file"])
def test_variable_that_was_not_expanded_is_named(
    front: Runner, helper: Path, home: Path, text: str, place: str
) -> None:
    """It would be sent as a token of unknown kind, and Bitbucket's 401 would say nothing of why."""
    env = {**front.env, "BITBUCKET_TOKEN": text}
    if place == "file":
        (home / "secret").write_text(text)
        env = {**front.env, "BITBUCKET_TOKEN_FILE": str(home / "secret")}
    done = front(helper, "get", stdin=request(), env=env)
    assert done.stdout == ""
    assert "looks like a variable that was not expanded" in done.stderr
    assert text not in done.stderr


def test_data_center_token_is_never_offered_to_cloud(front: Runner, helper: Path) -> None:
    """It is another product's, and bitbucket.org would only learn it."""
    secret = "BBDC-" + "x" * 44
    done = front(helper, "get", stdin=request(), env={**front.env, "BITBUCKET_TOKEN": secret})
    assert done.stdout == ""
    assert "BITBUCKET_TOKEN holds a token of Bitbucket Data Center" in done.stderr
    assert secret not in done.stderr


def test_app_password_variable_is_told_once_where_nothing_else_answers(front: Runner, helper: Path) -> None:
    env = {**front.env, "BITBUCKET_APP_PASSWORD": tokens.app_password()}
    done = front(helper, "get", stdin=request(), env=env)
    assert done.stderr.count("BITBUCKET_APP_PASSWORD is set, but Bitbucket removed app passwords") == 1
    assert env["BITBUCKET_APP_PASSWORD"] not in done.stderr
    secret = tokens.access_token()
    done = front(helper, "get", stdin=request(), env={**env, "BITBUCKET_TOKEN": secret})
    assert (done.stdout, done.stderr) == (f"username={ACCESS}\npassword={secret}\n", "")


@pytest.fixture
def tokens_file(home: Path) -> Callable[[str], dict[str, str]]:
    """Writes the file that `BITBUCKET_TOKENS_FILE` names, and returns that variable."""

    def write(text: str, mode: int = 0o600) -> dict[str, str]:
        file = home / "tokens"
        file.write_text(text)
        file.chmod(mode)
        return {"BITBUCKET_TOKENS_FILE": str(file)}

    return write


def test_longest_scope_in_the_tokens_file_wins(
    front: Runner, home: Path, tokens_file: Callable[[str], dict[str, str]]
) -> None:
    """As for what is kept; a single token is for the rest. No daemon is started where one of them answers."""
    app, acme, rest = tokens.access_token(), tokens.api_token(), tokens.access_token()
    env = {**tokens_file(f"# by scope\n\nacme = {acme}\r\n  acme/App='{app}'\n"), "BITBUCKET_TOKEN": rest}
    assert filled(front, **env)["password"] == app
    assert filled(front, request(path="ACME/app.git/info/lfs"), **env)["password"] == app
    answer = filled(front, request(path="acme/other.git"), **env)
    assert (answer["username"], answer["password"]) == (API, acme)
    assert filled(front, request(path="acme2/app.git"), **env)["password"] == rest
    assert filled(front, request(path="acme/../beta.git"), **env)["password"] == rest
    assert not socket_of(home).exists()


def test_tokens_file_is_asked_about_the_repository_at_work(
    bitbucket_front: Runner, bitbucket: FakeBitbucket, tokens_file: Callable[[str], dict[str, str]]
) -> None:
    """Without useHttpPath git names no repository, and its command line does."""
    bitbucket_front("git", "config", "--global", f"credential.{bitbucket.url}.useHttpPath", "false")
    urls = {place: bitbucket.create_repository(place, files={"a": "1"}) for place in ("acme/app", "acme/other")}
    given = tokens_file("".join(f"{place}={bitbucket.issue_access_token(place)}\n" for place in urls))
    for url in urls.values():
        bitbucket_front("git", "ls-remote", url, env={**bitbucket_front.env, **given})


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("private", "does not have the form acme=TOKEN or acme/app=TOKEN"),
        ("=private", "does not have the form"),
        ("acme/app/private=x", "does not have the form"),
        ("acme/priv*=x", "does not have the form"),
        ("my private team=x", "does not have the form"),
        ("bitbucket.org/private=x", "does not have the form"),
        ("https://bitbucket.org/private=x", "does not have the form"),
        ("ACME=private", "names the same scope as line 1 of BITBUCKET_TOKENS_FILE"),
        ("private=", "holds nothing"),
        ("private=pri\rvate", "holds more than one line"),
        ("private=$private", "looks like a variable that was not expanded"),
        ("private=ATBB" + "x" * 32, "app password"),
    ],
)
def test_bad_line_of_the_tokens_file_is_told_by_its_number(
    front: Runner, helper: Path, tokens_file: Callable[[str], dict[str, str]], line: str, said: str
) -> None:
    """Never by what is in it: that may be a token. Nothing is answered, for which token was meant is not known."""
    env = {**front.env, **tokens_file(f"acme={tokens.access_token()}\n# more:\n{line}\n")}
    done = front(helper, "get", stdin=request(), env=env)
    assert done.stdout == ""
    assert "error: line 3 of BITBUCKET_TOKENS_FILE" in done.stderr
    assert said in done.stderr
    assert "priv" not in done.stderr
    assert "ATBB" not in done.stderr


@pytest.mark.parametrize("mode", [0o604, 0o660])
def test_tokens_file_that_others_can_read_is_refused(
    front: Runner, helper: Path, tokens_file: Callable[..., dict[str, str]], mode: int
) -> None:
    """By the rule for the vault's key file."""
    env = {**front.env, **tokens_file(f"acme={tokens.access_token()}\n", mode)}
    done = front(helper, "get", stdin=request(), env=env)
    assert done.stdout == ""
    assert "the file that BITBUCKET_TOKENS_FILE names is not a plain file that only you can read" in done.stderr
    assert "chmod 0400" in done.stderr


def test_rejection_of_one_token_of_the_file_leaves_the_others(
    front: Runner, helper: Path, home: Path, tokens_file: Callable[[str], dict[str, str]]
) -> None:
    """Its line is named; what git stores of the other is known, and goes to no daemon."""
    app, acme = tokens.access_token(), tokens.access_token()
    env = {**front.env, **tokens_file(f"acme={acme}\nacme/app={app}\n")}
    front("git", "credential", "reject", stdin=request(username=ACCESS, password=app), env=env)
    assert (
        "rejected the secret in line 2 of BITBUCKET_TOKENS_FILE"
        in front(helper, "get", stdin=request(), env=env).stderr
    )
    other = request(path="acme/other.git")
    assert acme in front(helper, "get", stdin=other, env=env).stdout
    front("git", "credential", "approve", stdin=f"{other}username={ACCESS}\npassword={acme}\n", env=env)
    assert not socket_of(home).exists()


def test_data_center_token_of_the_file_is_never_offered_to_cloud(
    front: Runner, helper: Path, tokens_file: Callable[[str], dict[str, str]]
) -> None:
    env = {**front.env, **tokens_file("acme=BBDC-" + "x" * 44)}
    done = front(helper, "get", stdin=request(), env=env)
    assert done.stdout == ""
    assert "line 1 of BITBUCKET_TOKENS_FILE holds a token of Bitbucket Data Center" in done.stderr


def test_source_answers_and_is_never_stored(front: Runner, home: Path) -> None:
    """A file, and a command that is asked for `get` and, after a rejection, once more; nothing of it is stored."""
    secret = tokens.api_token()
    (home / "secret").write_text(f"{secret}\n")
    (home / "source").write_text(f"#!/bin/sh\necho >> {home}/asked\ncat {home}/secret\n")
    (home / "source").chmod(0o755)
    assert filled(front, BITBUCKET_API_TOKEN_FROM=f"file:{home}/secret")["password"] == secret
    env = {**front.env, "BITBUCKET_API_TOKEN_FROM": f"exec:{home}/source"}
    answer = front("git", "credential", "fill", stdin=request(), env=env).stdout
    front("git", "credential", "approve", stdin=answer, env=env)
    assert (home / "asked").read_text() == "\n"
    assert not socket_of(home).exists()
    front("git", "credential", "reject", stdin=answer, env=env)
    done = front("git", "credential", "fill", stdin=request(), env=env, check=False)
    assert "Bitbucket rejected the secret in BITBUCKET_API_TOKEN_FROM" in done.stderr
    (home / "secret").write_text(rotated := tokens.api_token())
    assert filled(front, BITBUCKET_API_TOKEN_FROM=f"exec:{home}/source")["password"] == rotated


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ("file:/nowhere/token", "BITBUCKET_TOKEN_FROM: /nowhere/token cannot be read: no such file or directory"),
        ("exec:vault kv get x", "BITBUCKET_TOKEN_FROM: there is no program vault on PATH"),
        ("nonsense", "BITBUCKET_TOKEN_FROM: not a reference to a secret"),
    ],
)
def test_source_that_fails_is_told(front: Runner, helper: Path, reference: str, told: str) -> None:
    done = front(helper, "get", stdin=request(), env={**front.env, "BITBUCKET_TOKEN_FROM": reference})
    assert done.stdout == ""
    assert told in done.stderr
    assert "hint:" in done.stderr
