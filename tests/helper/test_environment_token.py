"""The environment's token, answered by the native relay: with Python's answer, or not at all."""

import base64
import itertools
import os
import shutil
import string
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from git_credential_bitbucket import paths
from git_credential_bitbucket.client import ipc, secret_markers
from git_credential_bitbucket.secret import Secret
from tests import installed
from tests.fake_bitbucket import tokens
from tests.fuzz.environment_token import VECTORS, Oracle, oracle, token_values
from tests.helper.test_native_relay import Relay, binary, native
from tests.helpers import request as described
from tests.sockets import listener_at

__all__ = ["binary", "native"]

pytestmark = pytest.mark.skipif(not installed.has_compiler(), reason="there is no C compiler")

TOKEN = tokens.access_token()
PLAIN = described().encode()
HANDED_ON = b"-I -S "
TOKEN_CHARACTERS = set(string.ascii_letters + string.digits + "-._~+/=")
NAMES = ("BITBUCKET_API_TOKEN", "BITBUCKET_ACCESS_TOKEN", "BITBUCKET_TOKEN")
OTHERS = (
    *(name + ending for name in ipc.SECRET_VARIABLES for ending in ("_FILE", "_FROM")),
    *("BITBUCKET_CLIENT_SECRET", "BITBUCKET_OAUTH_CLIENT_SECRET", ipc.TOKENS_FILE, ipc.TRACE, ipc.DAEMON, ipc.OUTER),
    *("BITBUCKET_CREDENTIAL_TRACE", "BITBUCKET_CREDENTIAL_DAEMON"),
)
"""What may change the answer, or what is told of it."""


@pytest.fixture(scope="session")
def echoing(binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The relay with sanitizers; in place of Python, echo(1) says what it was started with, in a millisecond."""
    target = Path(shutil.copy(binary, tmp_path_factory.mktemp("echo")))
    Path(f"{target}.py").write_text("#!/bin/echo\n\n")
    return target


@pytest.fixture
def relay(echoing: Path, home: Path) -> Relay:
    """The relay, without a runtime directory as a CI job has none."""
    return Relay(echoing, home)


@pytest.fixture
def python() -> Iterator[Oracle]:
    """What Python does with the same."""
    with oracle() as found:
        yield found


def compared(relay: Relay, python: Oracle, operation: str, request: bytes, env: Mapping[str, str]) -> bytes | None:
    """The relay's answer, which is Python's; None where it was left to Python."""
    done = relay(operation, request=request, env=env)
    assert (done.stderr, done.status) == (b"", 0)
    if done.stdout.startswith(HANDED_ON):
        return None
    assert done.stdout == python.answer(operation, request, relay.env(env))
    return done.stdout


@pytest.mark.parametrize("make", [tokens.api_token, tokens.access_token, tokens.oauth_token])
def test_what_git_sends_is_answered_without_python(relay: Relay, python: Oracle, make: Callable[[], str]) -> None:
    """By each git and in each variable, for each kind of token; and git's `store` of it is done at once."""
    token = make()
    asked = [b"", b"path=acme/app.git\n", b"username=alice\n", b"path=acme/app.git/info/lfs\n"]
    newer = b'capability[]=authtype\ncapability[]=state\n%bwwwauth[]=Basic realm="Bitbucket.org HTTP"\n'
    for name in NAMES:
        for part in asked:
            given = b"protocol=https\nhost=bitbucket.org\n" + part
            for request in (given, given + b"\n", newer % given + b"state[]=other:1\n"):
                answer = compared(relay, python, "get", request, {name: token})
                assert answer is not None
                assert b"password=%b\n" % token.encode() in answer
                stored = given + answer if b"username" not in part else given + answer.partition(b"\n")[2]
                assert compared(relay, python, "store", stored, {name: token}) == b""


@pytest.mark.parametrize("case", VECTORS, ids=lambda case: case["name"])
def test_no_vector_is_answered_otherwise_than_by_python(relay: Relay, python: Oracle, case: dict[str, str]) -> None:
    """Only those that are to be answered are, if at all."""
    request = base64.b64decode(case["request_base64"])
    for operation in ("get", "store"):
        answer = compared(relay, python, operation, request, {"BITBUCKET_TOKEN": TOKEN})
        assert answer is None or case["verdict"] == "ANSWER"


@pytest.mark.parametrize("value", token_values(), ids=map("value{}".format, itertools.count()))
def test_only_a_plain_token_is_answered(relay: Relay, python: Oracle, value: str) -> None:
    """An app password, a reference or a token with something around it is Python's, to reject or strip."""
    answer = compared(relay, python, "get", PLAIN, {"BITBUCKET_ACCESS_TOKEN": value})
    assert (answer is not None) is (set(value) <= TOKEN_CHARACTERS and not value.startswith(("ATBB", "BBDC-")))


@pytest.mark.parametrize("name", OTHERS)
def test_whatever_else_decides_is_left_to_python(relay: Relay, name: str) -> None:
    """Another source of a credential, or a trace."""
    for value in ("1", "off"):
        env = {"BITBUCKET_TOKEN": TOKEN, name: value}
        assert relay("get", request=PLAIN, env=env).stdout.startswith(HANDED_ON)
    assert not relay("get", request=PLAIN, env={"BITBUCKET_TOKEN": TOKEN, name: ""}).stdout.startswith(HANDED_ON)


@pytest.mark.parametrize(
    "more",
    [
        *(b"path=acme//app.git\n", b"path=acme/../app.git\n", b"path=acme/%61pp.git\n", b"path={}/{}\n"),
        *(b"path=\xc3\xa9\n", b"username=\xc3\xa9\n", b"username=a\x1b\n", b"password=x\n", b"unknown=1\n"),
        *(b"host=bitbucket.org\n", b"protocol=https\n", b"path=a\npath=a\n", b"x" * 65536 + b"=\n", b"cut off"),
        *(b"ephemeral=1\n", b"quit=1\n", b"url=https://bitbucket.org\n", b"=\n", b"capability=x\n"),
    ],
)
def test_a_request_that_is_not_plain_is_left_to_python(native: Relay, more: bytes) -> None:
    request = b"protocol=https\nhost=bitbucket.org\n" + more
    done = native("get", request=request, env={"BITBUCKET_TOKEN": TOKEN})
    assert done.handed_on == (["get"], request, ipc.UNASKED)


@pytest.mark.parametrize(
    "request_",
    [
        *(described(host=host) for host in ("bitbucket.org:443", "BitBucket.org", "bitbucket.org:8443", "github.com")),
        *(described().replace("https", "http"), "host=bitbucket.org\n", "", "\n"),
        described(username="x-token-auth", password=tokens.access_token()),
    ],
)
@pytest.mark.parametrize("operation", ["get", "store", "erase"])
def test_another_host_or_secret_is_left_to_python(relay: Relay, request_: str, operation: str) -> None:
    """And so is every `erase`, which records a rejection."""
    done = relay(operation, request=request_.encode(), env={"BITBUCKET_TOKEN": TOKEN})
    assert done.stdout.startswith(HANDED_ON)


def test_a_recent_rejection_is_left_to_python(relay: Relay, python: Oracle) -> None:
    """Of whichever secret, for the minute that it counts; where that cannot be told, too."""
    env = {"BITBUCKET_TOKEN": TOKEN, "XDG_RUNTIME_DIR": str(relay.home / "run")}
    secret_markers.mark(env, "https://bitbucket.org", Secret(TOKEN))
    (mark,) = (relay.home / "run" / paths.NAME).iterdir()
    assert compared(relay, python, "get", PLAIN, env) is None
    assert compared(relay, python, "get", PLAIN, {"BITBUCKET_TOKEN": tokens.access_token()}) is None
    for seconds, is_answered in ((-70, True), (-50, False), (40, False), (3600, True)):
        os.utime(mark, (time.time() + seconds,) * 2)
        assert (compared(relay, python, "get", PLAIN, env) is not None) is is_answered
    mark = mark.rename(mark.with_name("rejected-" + mark.name.partition("-")[2]))
    assert compared(relay, python, "get", PLAIN, env) is None
    mark.rename(mark.with_name("given-" + mark.name.partition("-")[2]))
    assert compared(relay, python, "get", PLAIN, env) is not None
    for elsewhere in ("/dev/null", "/" + "x" * 4096):
        done = relay("get", request=PLAIN, env={**env, "XDG_RUNTIME_DIR": elsewhere})
        assert done.stdout.startswith(HANDED_ON)


@pytest.mark.parametrize("places", [{"XDG_CACHE_HOME": "{}/cache"}, {}])
def test_marks_are_where_python_leaves_them(relay: Relay, python: Oracle, places: dict[str, str]) -> None:
    """Without a session's runtime directory, too."""
    env = {"BITBUCKET_TOKEN": TOKEN, "XDG_RUNTIME_DIR": ""}
    env |= {name: value.format(relay.home) for name, value in places.items()}
    if Path(f"/run/user/{os.getuid()}").exists():
        pytest.skip("this machine has a runtime directory for the user, which comes before")
    assert compared(relay, python, "get", PLAIN, env) is not None
    secret_markers.mark(relay.env(env), "https://bitbucket.org", Secret(TOKEN))
    assert compared(relay, python, "get", PLAIN, env) is None


LINES = st.sampled_from(
    [
        *(b"protocol=https", b"host=bitbucket.org", b"path=acme/app.git", b"username=alice", b"password="),
        *(b"password=%b" % TOKEN.encode(), b"state[]=a", b"wwwauth[]=Basic", b"capability[]=", b"protocol=http"),
        *(b"host=BITBUCKET.org", b"", b"path=", b"ephemeral=1", b"url=x", b"host", b"\xff=", b"path=a/../b"),
    ]
) | st.binary(max_size=12)
REQUESTS = st.builds(
    lambda head, lines, end: b"\n".join([*head, *lines]) + end,
    st.sampled_from([[b"protocol=https", b"host=bitbucket.org"]] * 3 + [[]]),
    st.lists(LINES, max_size=4),
    st.sampled_from([b"\n", b"\n", b"\n\n", b""]),
)
VALUES = st.sampled_from([TOKEN, TOKEN, *token_values()]) | st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12
)


@settings(max_examples=250, suppress_health_check=list(HealthCheck))
@given(
    operation=st.sampled_from(["get", "store"]),
    request=REQUESTS,
    env=st.dictionaries(
        st.sampled_from([*NAMES, *NAMES, *OTHERS, "BITBUCKET_APP_PASSWORD", "BITBUCKET_USERNAME"]), VALUES, min_size=1
    ),
)
def test_the_native_answer_is_pythons_or_none(
    relay: Relay, python: Oracle, operation: str, request: bytes, env: dict[str, str]
) -> None:
    if any(env.get(name) for name in NAMES):  # else the daemon is asked
        compared(relay, python, operation, request, env)


def test_neither_socket_nor_home_is_touched(native: Relay) -> None:
    """A daemon that listens is not asked, and no file is made."""
    with listener_at(native.socket, 1) as listener:
        listener.setblocking(False)
        before = sorted(native.home.rglob("*"))
        done = native("get", request=PLAIN, env={"BITBUCKET_TOKEN": TOKEN})
        assert done.stdout == b"username=x-token-auth\npassword=%b\n" % TOKEN.encode()
        with pytest.raises(BlockingIOError):
            listener.accept()
        assert sorted(native.home.rglob("*")) == before
