"""The same agent without a daemon: `GIT_CREDENTIAL_BITBUCKET_DAEMON=off`."""

import fcntl
import os
import sys
from pathlib import Path

import pytest

from git_credential_bitbucket import access_log
from tests.fake_bitbucket import tokens
from tests.fake_bitbucket.client import ConsumerKey, FakeBitbucket
from tests.helpers import request, socket_of
from tests.running import Runner

VAULT = Path(".local/share/git-credential-bitbucket/vault")


@pytest.fixture
def alone(front: Runner) -> Runner:
    """Runs programs where no daemon may run."""
    front.env["GIT_CREDENTIAL_BITBUCKET_DAEMON"] = "off"
    return front


def test_vault_keeps_and_answers(alone: Runner, home: Path) -> None:
    """Store and get by two processes that have only the vault in common."""
    secret = tokens.api_token()
    done = alone("git", "credential", "approve", stdin=request(username="alice", password=secret))
    assert done.stderr == ""
    done = alone("git", "credential", "fill", stdin=request())
    assert secret in done.stdout
    assert done.stderr == ""
    assert (home / VAULT).exists()
    assert not socket_of(home).exists()


def test_the_key_is_not_for_other_processes_to_read(bare_env: dict[str, str]) -> None:
    """As in the daemon: neither memory nor a core dump. What is executed from here, git say, is as it always is."""
    code = (
        "import ctypes, subprocess, sys; sys.path[0:0] = [sys.argv[1]]\n"
        "from git_credential_bitbucket.client import in_process\n"
        "said = 'import ctypes; print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), flush=True)'\n"  # PR_GET_DUMPABLE
        "exec(said); in_process.dispatcher(); exec(said)\n"
        "subprocess.run([sys.executable, '-c', said], check=True)"
    )
    root = str(Path(__file__).parents[2])
    done = Runner(bare_env, Path("/"))(sys.executable, "-c", code, root)
    assert done.stdout.split() == ["1", "0", "1"]


def test_rejected_secret_is_suspended_and_the_reason_told(alone: Runner, helper: Path) -> None:
    """An erase is judged as in the daemon, and `why` knows of it in the next process."""
    secret = tokens.api_token()
    text = request(username="x-bitbucket-api-token-auth", password=secret)
    alone("git", "credential", "approve", stdin=text)
    alone("git", "credential", "reject", stdin=text)
    done = alone(helper, "get", stdin=request())
    assert done.stdout == ""
    assert "suspended" in done.stderr
    assert secret not in done.stderr


def test_log_that_cannot_be_written_stops_no_answer(alone: Runner, helper: Path, home: Path) -> None:
    """It is written, then somebody holds its lock for ever, then its place is gone: each time git is answered."""
    secret = tokens.api_token()
    alone("git", "credential", "approve", stdin=request(username="alice", password=secret))
    log = home / "log" / "log.jsonl"
    env = {**alone.env, access_log.SETTING: str(log)}
    assert secret in alone(helper, "get", stdin=request(), env=env).stdout
    assert [entry["operation"] for entry in access_log.read(str(log))] == ["get"]
    descriptor = os.open(log, os.O_WRONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    assert secret in alone(helper, "get", stdin=request(), env=env).stdout
    os.close(descriptor)
    log.unlink()
    log.mkdir()
    done = alone(helper, "get", stdin=request(), env=env)
    assert secret in done.stdout
    assert done.stderr == ""


def test_secret_that_nothing_can_keep_is_not_said_to_be_kept(alone: Runner, helper: Path) -> None:
    """Without a key there would be memory only, and that ends with this process."""
    del alone.env["GIT_CREDENTIAL_BITBUCKET_KEY_FILE"]
    done = alone(helper, "store", stdin=request(username="alice", password=tokens.api_token()))
    assert "the secret was not stored" in done.stderr
    assert "hint: " in done.stderr


def test_client_credentials_are_minted_for_each_process(
    bitbucket_front: Runner, bitbucket: FakeBitbucket, consumer: ConsumerKey, home: Path
) -> None:
    """Without daemon and without vault: every get mints, and git's store of it leaves no trace."""
    env = {**bitbucket_front.env, "GIT_CREDENTIAL_BITBUCKET_DAEMON": "off", **consumer.environment}
    done = bitbucket_front("git", "credential", "fill", stdin=request(host=bitbucket.netloc), env=env)
    assert "username=x-token-auth\n" in done.stdout
    answer = bitbucket_front("git", "credential", "approve", stdin=done.stdout, env=env)
    assert answer.stderr == ""
    assert not (home / VAULT).exists()


def test_rejected_minted_token_is_not_minted_again_at_once(
    bitbucket_front: Runner, bitbucket: FakeBitbucket, consumer: ConsumerKey, helper: Path
) -> None:
    """git-lfs would have one minted for each of its endless questions."""
    env = {**bitbucket_front.env, "GIT_CREDENTIAL_BITBUCKET_DAEMON": "off", **consumer.environment}
    text = request(host=bitbucket.netloc)
    for _ in range(2):  # the first may have been revoked
        done = bitbucket_front("git", "credential", "fill", stdin=text, env=env)
        bitbucket_front("git", "credential", "reject", stdin=done.stdout, env=env)
    done = bitbucket_front(helper, "get", stdin=text, env=env)
    assert done.stdout == ""
    assert "a new token was rejected as well" in done.stderr


def test_without_room_to_share_a_rejected_token_is_not_minted_again_at_once(
    bitbucket_front: Runner, bitbucket: FakeBitbucket, consumer: ConsumerKey, helper: Path
) -> None:
    """Each command has its own token then, and a mark, which takes no room, says that the last was rejected."""
    env = {**bitbucket_front.env, "GIT_CREDENTIAL_BITBUCKET_DAEMON": "off", **consumer.environment}
    text = request(host=bitbucket.netloc)
    fill = "ulimit -f 16; exec git credential fill"  # 8 KiB
    first, second = (bitbucket_front("sh", "-c", fill, stdin=text, env=env).stdout for _ in range(2))
    assert first != second
    bitbucket_front("git", "credential", "reject", stdin=second, env=env)
    done = bitbucket_front(helper, "get", stdin=text, env=env)
    assert done.stdout == ""
    assert "BITBUCKET_CLIENT_SECRET" in done.stderr
