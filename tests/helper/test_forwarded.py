"""Where git's socket alone can be reached, as in a container or at the far end of `ssh -R`: no control from there."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from git_credential_bitbucket.client import ipc
from tests.fake_bitbucket import tokens
from tests.fake_bitbucket.client import ConsumerKey, FakeBitbucket
from tests.helper.peers import forwarded
from tests.helpers import request, socket_of
from tests.running import Runner

UNREACHABLE = "only git's socket can be reached here"


@pytest.fixture
def far(front: Runner, home: Path) -> Iterator[Runner]:
    """Runs programs where this program and git's configuration are too, but the daemon is elsewhere."""
    front("git", "credential", "fill", stdin=request(), check=False)  # starts the daemon
    (home / "far" / "run").mkdir(parents=True, mode=0o700)
    socket = home / "far" / "git" / "socket"
    env = {
        **front.env,
        "XDG_DATA_HOME": str(home / "far" / "data"),
        "XDG_RUNTIME_DIR": str(home / "far" / "run"),
        "GIT_CREDENTIAL_BITBUCKET_SOCKET": str(socket),
    }
    with forwarded(socket, str(socket_of(home))):
        yield Runner(env, front.folder)


def test_git_is_served(far: Runner, front: Runner) -> None:
    """get, store and erase reach the daemon, and nobody says a word."""
    token = tokens.access_token()
    typed = request(username="x-token-auth", password=token)
    assert far("git", "credential", "approve", stdin=typed).stderr == ""
    for run in (far, front):
        assert f"password={token}\n" in run("git", "credential", "fill", stdin=request()).stdout
    assert far("git", "credential", "reject", stdin=typed).stderr == ""
    assert "password=" not in front("git", "credential", "fill", stdin=request(), check=False).stdout


def test_why_there_is_nothing_is_told(far: Runner, helper: Path) -> None:
    assert "no credential for bitbucket.org/acme/app" in far(helper, "get", stdin=request()).stderr


def test_trace_tells_what_cannot_be_seen_from_here(far: Runner, helper: Path) -> None:
    token = tokens.access_token()
    far("git", "credential", "approve", stdin=request(username="x-token-auth", password=token))
    done = far(helper, "-v", "get", stdin=request())
    assert f"password={token}\n" in done.stdout
    assert UNREACHABLE in done.stderr


@pytest.mark.parametrize("verb", [["status"], ["lock"], ["refresh"], ["logout", "--all"], ["daemon", "stop"]])
def test_control_verbs_say_where_they_work(far: Runner, helper: Path, home: Path, verb: list[str]) -> None:
    """Neither another daemon nor a vault of this place takes the other's part."""
    before = ipc.send_request(str(socket_of(home)), ipc.format_request("ping", b""))[1].split(b"\n")[0]
    done = far(helper, *verb, check=False)
    assert done.returncode != 0
    assert UNREACHABLE in done.stderr
    assert "hint: " in done.stderr
    assert ipc.send_request(str(socket_of(home)), ipc.format_request("ping", b""))[1].split(b"\n")[0] == before
    assert not (home / "far" / "data").exists()


def test_a_consumer_in_the_environment_needs_no_control_socket(
    bitbucket_front: Runner, far: Runner, bitbucket: FakeBitbucket, consumer: ConsumerKey, helper: Path
) -> None:
    """Its token is minted in this process."""
    given = consumer.environment
    env = {
        **far.env,
        **bitbucket_front.env,
        **{k: v for k, v in far.env.items() if k.startswith(("XDG", "GIT_C"))},
        **given,
    }
    done = far(helper, "get", stdin=request(host=bitbucket.netloc), env=env)
    assert "username=x-token-auth\n" in done.stdout
