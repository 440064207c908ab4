"""What is done where the daemon did not answer: with a real daemon, and with what may sit in its place."""

import base64
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from git_credential_bitbucket import git_protocol, paths
from git_credential_bitbucket.client import ipc
from git_credential_bitbucket.helper import relay
from tests.fake_bitbucket import tokens
from tests.fake_bitbucket.client import ConsumerKey, FakeBitbucket
from tests.helper.peers import answering, gits_cache_daemon, listening
from tests.helpers import CHECKOUT, request, socket_of
from tests.running import Runner

CASES = json.loads((Path(__file__).parents[1] / "data" / "hostile-requests.json").read_text())
VAULT = Path(".local/share/git-credential-bitbucket/vault")
PREFIX = "git-credential-bitbucket: "


def ask(path: Path, action: str, text: str = "") -> dict[str, str]:
    """What the daemon with git's socket at `path` answers, by key."""
    at = str(path) if action in git_protocol.GIT_ACTIONS else paths.control_socket(str(path))
    _, reply = ipc.send_request(at, ipc.format_request(action, text.encode()))
    return dict(line.split("=", 1) for line in reply.decode().split("\n") if line)


def approve(front: Runner, secret: str, **more: str) -> None:
    """Have git store `secret`, quietly."""
    done = front("git", "credential", "approve", stdin=request(username="alice", password=secret, **more))
    assert done.stderr == ""


def offered(front: Runner, **more: str) -> str | None:
    """The password that git gets for `request`."""
    done = front("git", "credential", "fill", stdin=request(**more), check=False)
    return dict(line.partition("=")[::2] for line in done.stdout.split("\n")).get("password")


def test_first_store_starts_the_daemon_and_the_vault_keeps(front: Runner, home: Path) -> None:
    """No daemon, no vault, no directory: a `store` makes all of it, and the next daemon still has the secret."""
    secret = tokens.api_token()
    approve(front, secret)
    assert (home / VAULT).exists()
    assert ask(socket_of(home), "exit") == {"ok": "1"}
    assert offered(front) == secret


def test_many_gits_at_once_start_one_daemon(front: Runner, helper: Path, home: Path) -> None:
    secret = tokens.api_token()
    approve(front, secret)
    ask(socket_of(home), "exit")
    running = [
        subprocess.Popen(
            [helper, "get"], env=front.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(20)
    ]
    for process in running:
        assert process.stdin is not None
        process.stdin.write(request().encode())
        process.stdin.close()
        process.stdin = None
    answers = [process.communicate(timeout=120) for process in running]
    assert [secret.encode() in out for out, _ in answers] == [True] * 20
    assert {err for _, err in answers} == {b""}
    assert int(ask(socket_of(home), "status")["served"]) >= 20


def test_gits_own_cache_daemon_on_our_socket_is_replaced(front: Runner, home: Path) -> None:
    """`git credential-cache store` starts it wherever it finds nobody; a `store` of ours reaches a daemon of ours."""
    path = socket_of(home)
    with gits_cache_daemon(path, front.env):
        secret = tokens.api_token()
        approve(front, secret)
    assert "version" in ask(path, "status")
    assert offered(front) == secret


def test_get_from_gits_own_cache_daemon_reaches_the_vault(front: Runner, home: Path) -> None:
    """An empty answer from somebody who does not know `why` is nobody's answer."""
    secret = tokens.api_token()
    approve(front, secret)
    ask(socket_of(home), "exit")
    with gits_cache_daemon(socket_of(home), front.env):
        assert offered(front) == secret


def test_answer_of_gits_own_cache_daemon_is_not_passed_on(front: Runner, helper: Path, home: Path) -> None:
    """What git has cached there is no word of the vault's; `daemon status` says who listens, a daemon takes over."""
    secret, cached = tokens.api_token(), tokens.api_token()
    approve(front, secret)
    ask(socket_of(home), "exit")
    client = ("git", "credential-cache", "--socket", str(socket_of(home)))
    front(*client, "store", stdin=request(username="x-bitbucket-api-token-auth", password=cached))  # starts it there
    assert cached in front(*client, "get", stdin=request()).stdout
    seen = front(helper, "daemon", "status", check=False)
    assert seen.returncode == 3
    assert " listens, but is not this daemon" in seen.stdout
    assert offered(front) == secret
    assert ask(socket_of(home), "ping")["version"]


def test_killed_daemon_is_started_again(front: Runner, home: Path) -> None:
    secret = tokens.api_token()
    approve(front, secret)
    os.kill(int(ask(socket_of(home), "status")["pid"]), signal.SIGKILL)
    assert offered(front) == secret


@pytest.mark.parametrize("operation", ["store", "erase"])
def test_what_is_not_acknowledged_is_done_by_somebody_else(
    front: Runner, helper: Path, home: Path, operation: str
) -> None:
    """Whoever sits on the socket, takes everything and says nothing: the vault has it all the same."""
    typed = "not of any known kind"
    if operation == "erase":
        approve(front, typed, path="other/app.git")
    ask(socket_of(home), "exit")
    with listening(socket_of(home), answering(b"")) as received:
        text = request(path="other/app.git", username="alice", password=typed)
        if operation == "store":
            text = request(path="third/app.git", username="alice", password=typed)
        done = front(helper, operation, stdin=text)
    assert received
    assert done.stderr == ""
    if operation == "store":
        assert offered(front, path="third/app.git", username="alice") == typed
    else:
        assert not front(helper, "get", stdin=request(path="other/app.git", username="alice")).stdout


def test_daemon_that_keeps_silent_is_told_and_left_alone(front: Runner, helper: Path, home: Path) -> None:
    """It may be refreshing: nobody refreshes beside it, and nobody ends it."""
    env = {**front.env, relay.RELAYED: ipc.TIMEOUT}
    for operation in ("get", "store", "erase"):
        done = front(helper, operation, stdin=request(username="alice", password="unimportant"), env=env)
        assert done.stdout == ""
        assert "did not answer within 40 seconds" in done.stderr
    assert not socket_of(home).exists()


@pytest.mark.parametrize("outcome", [ipc.ABSENT, ipc.UNACKNOWLEDGED, "of a later version"])
def test_native_relay_hands_on_what_it_found(front: Runner, helper: Path, outcome: str) -> None:
    """Whatever it says, a secret that is there is found; what it said does not reach the daemon's environment."""
    secret = tokens.api_token()
    env = {**front.env, relay.RELAYED: outcome}
    front("git", "credential", "approve", stdin=request(username="alice", password=secret), env=env)
    done = front(helper, "get", stdin=request(), env=env)
    assert secret in done.stdout


def test_error_of_a_store_is_told(front: Runner, helper: Path) -> None:
    """A dead app password is not kept, and the person who typed it learns why."""
    text = request(username="alice", password=tokens.app_password())
    done = front(helper, "store", stdin=text)
    assert done.stderr.startswith(PREFIX + "error: this is an app password")
    assert done.stderr.count("\n") == 2


def test_no_credential_in_a_build_names_the_variables_of_one(front: Runner, helper: Path) -> None:
    front.env["CI"] = "true"
    said = front(helper, "get", stdin=request()).stderr
    assert "error: no credential for bitbucket.org/acme/app\n" in said
    assert "BITBUCKET_ACCESS_TOKEN or BITBUCKET_API_TOKEN" in said
    assert "login" not in said


@pytest.mark.parametrize(
    ("there", "missing"),
    [
        ("BITBUCKET_CLIENT_ID", "BITBUCKET_CLIENT_SECRET"),
        ("BITBUCKET_CLIENT_SECRET", "BITBUCKET_CLIENT_ID"),
        ("BITBUCKET_OAUTH_CLIENT_ID_FILE", "BITBUCKET_OAUTH_CLIENT_SECRET"),
    ],
)
def test_half_a_consumer_is_told_with_its_other_half(front: Runner, helper: Path, there: str, missing: str) -> None:
    front.env |= {"CI": "true", there: "/half"}
    said = front(helper, "get", stdin=request()).stderr
    assert f"error: {there} is set, but {missing} is not\n" in said
    assert f"hint: set {missing} as well, or unset {there}\n" in said


def test_store_of_another_helpers_ready_made_credential_starts_nothing(front: Runner, helper: Path, home: Path) -> None:
    """There is nothing to keep in it, and a daemon would only say so."""
    front.env["BITBUCKET_ACCESS_TOKEN"] = tokens.access_token()
    done = front(helper, "store", stdin=request(authtype="Bearer", credential=tokens.oauth_token()))
    assert done.stderr == ""
    assert not socket_of(home).exists()


def test_no_credential_is_one_line_and_its_hint(front: Runner, helper: Path) -> None:
    """What a CI log shows beside git's own 'could not read Username'."""
    done = front(helper, "get", stdin=request())
    assert done.stdout == ""
    assert done.stderr == (
        f"{PREFIX}error: no credential for bitbucket.org/acme/app\n{PREFIX}hint: run: git-credential-bitbucket login\n"
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_hostile_requests(front: Runner, helper: Path, home: Path, case: dict[str, str]) -> None:
    """REFUSE says at most one line and does nothing, IGNORE is silent, ANSWER is answered from the environment."""
    data = base64.b64decode(case["request_base64"])
    secret = tokens.access_token()
    for operation in ("get", "erase"):
        done = front(helper, operation, stdin=data, env={**front.env, "BITBUCKET_TOKEN": secret})
        if case["verdict"] == "ANSWER":
            assert (secret in done.stdout) is (operation == "get")
            assert done.stderr == ""
            continue
        assert done.stdout == ""
        assert done.stderr.count("\n") <= (1 if case["verdict"] == "REFUSE" else 0)
        assert done.stderr.isprintable() or done.stderr[:-1].isprintable()
        assert list((home / "run").iterdir()) == []


def test_request_larger_than_a_mebibyte_is_refused(front: Runner, helper: Path) -> None:
    done = front(helper, "get", stdin=request().encode() + b"wwwauth[]=" + b"x" * (1 << 20) + b"\n")
    assert done.stdout == ""
    assert done.stderr == f"{PREFIX}error: the request is larger than 1 MiB\n"


def test_host_of_somebody_else_starts_nothing(front: Runner, helper: Path, home: Path) -> None:
    """A helper that is configured for all hosts is silent about all but its own."""
    for operation in ("get", "store", "erase"):
        text = request(host="github.com", username="alice", password="unimportant")
        done = front(helper, operation, stdin=text)
        assert (done.stdout, done.stderr) == ("", "")
    assert not socket_of(home).exists()


def test_locked_vault_ends_git_with_our_message(front: Runner, home: Path) -> None:
    """Nobody can be asked, and git's own prompt would not help: it stops, and says why."""
    approve(front, tokens.api_token())
    ask(socket_of(home), "exit")
    del front.env["GIT_CREDENTIAL_BITBUCKET_KEY_FILE"]
    began = time.monotonic()
    done = front("git", "credential", "fill", stdin=request(), check=False)
    assert done.returncode == 128
    assert "told us to quit" in done.stderr
    assert done.stderr.startswith(PREFIX + "error: ")
    assert time.monotonic() - began < ipc.RELAY_TIMEOUT_S


def test_locked_daemon_is_given_the_key_of_this_environment(front: Runner, home: Path) -> None:
    """A daemon that was started without the key gets it from the git that has it."""
    secret = tokens.api_token()
    approve(front, secret)
    ask(socket_of(home), "exit")
    key = front.env.pop("GIT_CREDENTIAL_BITBUCKET_KEY_FILE")
    assert offered(front) is None
    pid = ask(socket_of(home), "status")["pid"]
    front.env["GIT_CREDENTIAL_BITBUCKET_KEY_FILE"] = key
    assert offered(front) == secret
    assert ask(socket_of(home), "status")["pid"] == pid


def test_wrong_key_in_this_environment_is_told_and_changes_nothing(front: Runner, home: Path) -> None:
    """Locked is not damaged: what is kept stays kept."""
    approve(front, tokens.api_token())
    ask(socket_of(home), "exit")
    before = (home / VAULT).read_bytes()
    front.env["GIT_CREDENTIAL_BITBUCKET_KEY_FILE"] = str(home / "other")
    (home / "other").write_bytes(os.urandom(32))
    (home / "other").chmod(0o600)
    done = front("git", "credential", "fill", stdin=request(), check=False)
    assert "not the one that the vault is encrypted with" in done.stderr
    assert (home / VAULT).read_bytes() == before


@pytest.mark.parametrize("pair", ["BITBUCKET_CLIENT", "BITBUCKET_OAUTH_CLIENT"])
def test_client_credentials_are_minted_once_and_kept_nowhere(
    bitbucket_front: Runner, bitbucket: FakeBitbucket, consumer: ConsumerKey, home: Path, pair: str
) -> None:
    """By id and secret, the one from a file; the daemon serves the token again, and git's store does not keep it."""
    (home / "consumer").write_text(consumer.secret + "\n")
    bitbucket_front.env.update({f"{pair}_ID": consumer.key, f"{pair}_SECRET_FILE": str(home / "consumer")})
    first = bitbucket_front("git", "credential", "fill", stdin=request(host=bitbucket.netloc)).stdout
    bitbucket_front("git", "credential", "approve", stdin=first)
    second = bitbucket_front("git", "credential", "fill", stdin=request(host=bitbucket.netloc)).stdout
    assert first == second
    assert "username=x-token-auth\n" in first
    assert not (home / VAULT).exists()


def test_refused_consumer_is_told_by_one_line(bitbucket_front: Runner, bitbucket: FakeBitbucket, helper: Path) -> None:
    consumer = bitbucket.add_consumer()
    wrong = tokens.consumer_pair()[1]
    bitbucket_front.env.update({"BITBUCKET_CLIENT_ID": consumer.key, "BITBUCKET_CLIENT_SECRET": wrong})
    done = bitbucket_front(helper, "get", stdin=request(host=bitbucket.netloc))
    assert done.stdout == ""
    assert done.stderr.startswith(PREFIX + "error: ")
    assert "rejected the OAuth consumer" in done.stderr
    assert done.stderr.count("\n") == 2
    assert wrong not in done.stderr
    for name in ("BITBUCKET_CLIENT_ID", "BITBUCKET_CLIENT_SECRET"):
        del bitbucket_front.env[name]
    done = bitbucket_front(helper, "get", stdin=request(host=bitbucket.netloc))
    assert done.stderr.startswith(f"{PREFIX}error: no credential for "), "it is nothing to who does not have it"


def test_rejected_minted_token_is_replaced_once(
    bitbucket_front: Runner, bitbucket: FakeBitbucket, consumer: ConsumerKey, helper: Path
) -> None:
    """A revoked token is minted again; one that is rejected as well is not, and the reason is told."""
    bitbucket_front.env.update(consumer.environment)
    text = request(host=bitbucket.netloc)
    first = bitbucket_front("git", "credential", "fill", stdin=text).stdout
    bitbucket_front("git", "credential", "reject", stdin=first)
    second = bitbucket_front("git", "credential", "fill", stdin=text).stdout
    assert second != first
    bitbucket_front("git", "credential", "reject", stdin=second)
    done = bitbucket_front(helper, "get", stdin=text)
    assert done.stdout == ""
    assert done.stderr.startswith(PREFIX + "error: ")


def test_incomplete_installation_is_told_by_its_name(front: Runner, helper: Path) -> None:
    """A Python that was upgraded under it has none of its packages: one line, no traceback."""
    front(helper, "store", stdin=request(username="alice", password=tokens.api_token()))
    before = (
        "activate.third_party = lambda: None; import sys; sys.modules['cryptography'] = None; import os;"
        "os.environ['GIT_CREDENTIAL_BITBUCKET_DAEMON'] = 'off'"
    )
    done = front(sys.executable, "-I", "-S", "-c", entered_after(before), stdin=request())
    assert done.stdout == ""
    assert done.stderr.startswith(PREFIX + "error: the installation is incomplete: module cryptography")


def test_system_without_descriptors_is_told(front: Runner) -> None:
    before = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (6, 6))"
    done = front(sys.executable, "-I", "-S", "-c", entered_after(before), stdin=request())
    assert done.stdout == ""
    told = "error: system error: too many open files\n"
    assert done.stderr == f"{PREFIX}{told}{PREFIX}hint: allow more open files: ulimit -n\n"


def entered_after(code: str) -> str:
    """A program that is the helper's `get`, after `code`."""
    return (
        f"import sys; sys.path.append({str(CHECKOUT)!r});"
        "from git_credential_bitbucket.client import activate;"
        f"from git_credential_bitbucket.helper import relay; {code};"
        "relay.main(['git-credential-bitbucket', 'get'])"
    )
