"""What the daemon does not know, or nobody but a person can open: this process answers alone, and says what is so."""

from pathlib import Path

import pytest

from tests.cli.person import Person
from tests.fake_bitbucket import tokens
from tests.fake_bitbucket.client import FakeBitbucket
from tests.helper.test_fallback import PREFIX, VAULT, ask, offered
from tests.helpers import request, socket_of
from tests.running import Runner
from tests.sandbox import write_git_config

HOST = "git.example"
OFF = "GIT_CREDENTIAL_BITBUCKET_DAEMON"
KEY_FILE = "GIT_CREDENTIAL_BITBUCKET_KEY_FILE"
PASSPHRASE = "one two three four"


def named(url: str = f"https://{HOST}") -> dict[str, str]:
    """The environment that opts a host in, as `git --config-env` and CI systems do."""
    return {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"credential.{url}.provider",
        "GIT_CONFIG_VALUE_0": "bitbucket",
    }


@pytest.fixture
def passphrase(front: Runner, helper: Path, home: Path) -> str:
    """A token in a vault that has a passphrase; no daemon runs, and nobody has the key."""
    token = tokens.api_token()
    front("git", "credential", "approve", stdin=request(username="alice", password=token))
    front(helper, "rekey", "--to", "passphrase", stdin=f"{PASSPHRASE}\n")
    ask(socket_of(home), "exit")
    del front.env[KEY_FILE]
    return token


def test_host_of_one_command_is_answered_beside_a_running_daemon(front: Runner, home: Path) -> None:
    """`git -c credential.URL.provider=bitbucket`: stored, given, rejected; another command gets nothing."""
    assert offered(front) is None  # starts the daemon
    pid = ask(socket_of(home), "ping")["pid"]
    secret = tokens.api_token()
    git = ("git", "-c", f"credential.https://{HOST}.provider=bitbucket", "credential")
    text = request(host=HOST, username="alice", password=secret)
    done = front(*git, "approve", stdin=text)
    assert done.stderr == ""
    done = front(*git, "fill", stdin=request(host=HOST))
    assert f"password={secret}\n" in done.stdout
    assert done.stderr == ""
    done = front("git", "credential", "fill", stdin=request(host=HOST), check=False)
    assert "password=" not in done.stdout
    assert PREFIX not in done.stderr
    front(*git, "reject", stdin=text)
    done = front(*git, "fill", stdin=request(host=HOST), check=False)
    assert "password=" not in done.stdout
    assert "suspended" in done.stderr
    assert ask(socket_of(home), "ping")["pid"] == pid


def test_daemon_does_not_keep_its_starters_host_for_others(front: Runner, home: Path) -> None:
    """Whoever starts it serves one job by its environment, the daemon serves all."""
    secret = tokens.api_token()
    env = {**front.env, **named()}
    front("git", "credential", "approve", stdin=request(host=HOST, username="alice", password=secret), env=env)
    assert ask(socket_of(home), "ping")["pid"]
    assert secret in front("git", "credential", "fill", stdin=request(host=HOST), env=env).stdout
    assert offered(front, host=HOST) is None
    assert ask(socket_of(home), "why", request(host=HOST))["state"] == "unknown-host"


def test_host_of_one_command_and_a_key_that_the_daemon_has(front: Runner, helper: Path, passphrase: str) -> None:
    """Nobody is there to type the passphrase again: git stops, and the line says where the setting must be."""
    assert passphrase
    front(helper, "unlock", stdin=f"{PASSPHRASE}\n")
    assert offered(front) == passphrase
    done = front(helper, "get", stdin=request(host=HOST), env={**front.env, **named()})
    assert done.stdout == "quit=1\n"
    assert f"git config --global 'credential.https://{HOST}.provider' bitbucket" in done.stderr
    text = request(host=HOST, username="alice", password=tokens.api_token())
    done = front(helper, "store", stdin=text, env={**front.env, **named()})
    assert "error: the secret was not stored: the vault is locked with a passphrase\n" in done.stderr


def test_host_of_one_command_is_logged_in_to(front: Runner, helper: Path, home: Path) -> None:
    """By the same configuration the token is kept, and found again; a daemon's memory is not for it."""
    assert offered(front) is None
    secret, env = tokens.api_token(), {**front.env, **named()}
    words = ("login", "--api-token", "--host", f"https://{HOST}")
    done = front(helper, *words, "--memory", stdin=secret, env=env, check=False)
    assert (done.returncode, "git config --global" in done.stderr) == (1, True)
    front(helper, *words, stdin=secret, env=env)
    assert secret in front(helper, "get", stdin=request(host=HOST), env=env).stdout
    assert (home / VAULT).exists()


def test_consumer_for_a_host_of_one_command(front: Runner, bitbucket: FakeBitbucket, helper: Path) -> None:
    """Minted here, again when it is rejected, and no third one at once: a fresh one is rejected for another reason."""
    assert offered(front) is None
    consumer = bitbucket.add_consumer()
    env = {**front.env, **named(bitbucket.url), "GIT_SSL_CAINFO": bitbucket.ca_file}
    env |= consumer.environment
    text = request(host=bitbucket.netloc)
    given = [front("git", "credential", "fill", stdin=text, env=env).stdout]
    front("git", "credential", "reject", stdin=given[0], env=env)
    given.append(front("git", "credential", "fill", stdin=text, env=env).stdout)
    assert all("username=x-token-auth\n" in one for one in given)
    assert given[0] != given[1]
    front("git", "credential", "reject", stdin=given[1], env=env)
    done = front(helper, "get", stdin=text, env=env)
    assert done.stdout == ""
    assert "check that it has access to this repository\n" in done.stderr


def test_consumer_is_minted_by_the_callers_ca(front: Runner, bitbucket: FakeBitbucket, home: Path) -> None:
    """The daemon was started without it; and who has another gets none of the first one's token."""
    write_git_config(home / ".gitconfig", bitbucket.git_config())
    assert offered(front) is None
    pid = ask(socket_of(home), "ping")["pid"]
    consumer = bitbucket.add_consumer()
    env = {**front.env, **consumer.environment}
    trusting = {**env, "GIT_SSL_CAINFO": bitbucket.ca_file}
    text = request(host=bitbucket.netloc)
    first = front("git", "credential", "fill", stdin=text, env=trusting)
    assert first.stderr == ""
    done = front("git", "credential", "fill", stdin=text, env=env, check=False)
    assert "password=" not in done.stdout
    assert "certificate" in done.stderr
    assert front("git", "credential", "fill", stdin=text, env=trusting).stdout == first.stdout
    assert ask(socket_of(home), "ping")["pid"] == pid


def test_store_of_what_a_person_just_unlocked_is_quiet(
    front: Runner, helper: Path, home: Path, passphrase: str
) -> None:
    """Without a daemon the vault is locked again by then; a new secret is said not to be kept."""
    front.env[OFF] = "off"
    (home / "request").write_text(request())
    person = Person({**front.env, "TERM": "xterm-256color", "GIT_TERMINAL_PROMPT": "1"}, front.folder)
    with person.types("sh", "-c", f"git credential fill < {home}/request > filled") as dialogue:
        dialogue.reads("Passphrase of the vault (not shown): ")
        dialogue.types(PASSPHRASE)
        dialogue.ends()
    filled = (front.folder / "filled").read_text()
    assert f"password={passphrase}\n" in filled
    done = front("git", "credential", "approve", stdin=filled)
    assert done.stderr == ""
    done = front(helper, "store", stdin=request(username="alice", password=tokens.api_token()))
    assert done.stderr == (
        f"{PREFIX}error: the secret was not stored: the vault is locked with a passphrase\n"
        f"{PREFIX}hint: to store it, run: git-credential-bitbucket login\n"
    )
    (mark,) = (home / "run" / "git-credential-bitbucket").glob("given-*")
    assert (mark.read_bytes(), passphrase in mark.name) == (b"", False)


def test_unlock_is_refused_where_no_daemon_may_run(front: Runner, helper: Path, passphrase: str) -> None:
    """Nothing would be open afterwards, and nobody is led to believe it; git's person learns of another way."""
    assert passphrase
    front.env[OFF] = "off"
    done = front(helper, "unlock", stdin=f"{PASSPHRASE}\n", check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "rekey --to key-file" in done.stderr
    done = front(helper, "get", stdin=request())
    assert done.stdout == "quit=1\n"
    assert "rekey --to key-file" in done.stderr


@pytest.mark.parametrize("daemon", ["on", "off"])
def test_key_file_that_cannot_be_read_ends_git(front: Runner, helper: Path, home: Path, daemon: str) -> None:
    """Nothing that git could ask would help: the line that says it is the answer."""
    front("git", "credential", "approve", stdin=request(username="alice", password=tokens.api_token()))
    ask(socket_of(home), "exit")
    front.env |= {KEY_FILE: str(home / "nowhere"), OFF: daemon}
    done = front(helper, "get", stdin=request())
    assert done.stdout == "quit=1\n"
    assert f"error: the key file {home}/nowhere cannot be read" in done.stderr


def test_person_with_an_unreadable_key_file_is_asked_for_the_passphrase(
    front: Runner, home: Path, passphrase: str
) -> None:
    """It is another way in, and the file's trouble is told."""
    front.env[KEY_FILE] = str(home / "nowhere")
    (home / "request").write_text(request())
    person = Person({**front.env, "TERM": "xterm-256color", "GIT_TERMINAL_PROMPT": "1"}, front.folder)
    with person.types("sh", "-c", f"git credential fill < {home}/request > filled", columns=200) as dialogue:
        dialogue.reads("nowhere cannot be read")
        dialogue.reads("Passphrase of the vault (not shown): ")
        dialogue.types(PASSPHRASE)
        dialogue.ends()
    assert f"password={passphrase}\n" in (front.folder / "filled").read_text()
