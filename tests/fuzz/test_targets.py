"""The short form of `python -m tests.fuzz`: the same targets, fed by hypothesis; it knows the words of the protocol."""

import itertools
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz import environment_token, targets

KEYS = st.sampled_from(
    [
        *("protocol", "host", "path", "username", "password", "password_expiry_utc", "quit", "url", "id", "record"),
        *("capability[]", "state[]", "wwwauth[]", "continue", "client_id", "client_secret", "memory", "ends_at"),
    ]
)
VALUES = st.one_of(
    st.sampled_from(["https", "http", "bitbucket.org", "BitBucket.org:443", "neighbour.example", "acme/app.git", "1"]),
    st.sampled_from(["", "bitbucket:a:1", '{"kind":"oauth","place":"https://bitbucket.org","secret":"x"}', "state"]),
    st.text(max_size=20),
)
LINES = st.builds(lambda key, value: f"{key}={value}".encode("utf-8", "surrogatepass"), KEYS, VALUES)
ENDS = st.sampled_from([b"\n", b"\n", b"\n", b"\r\n", b"\n\n", b"\0", b""])
BODIES = st.lists(st.tuples(LINES, ENDS), max_size=8).map(lambda parts: b"".join(itertools.chain(*parts)))
HOST = b"protocol=https\nhost=bitbucket.org\n"
ACTIONS = st.sampled_from(
    [
        *("get", "store", "erase", "token", "why", "explain", "status", "add", "amend", "remove", "restore"),
        *("lock", "unlock", "rekey", "mint", "refresh", "warn", "ping", "exit", "", "get\n"),
    ]
)
REQUESTS = st.builds(
    lambda action, head, body: b"action=" + action.encode() + b"\ntimeout=900\n" + head + body,
    ACTIONS,
    st.sampled_from([HOST, HOST, b""]),
    BODIES,
)


@settings(max_examples=1000, suppress_health_check=list(HealthCheck))
@given(st.one_of(BODIES, st.binary(max_size=200), BODIES.map(lambda body: HOST + body)))
def test_the_parser_refuses_or_understands(data: bytes) -> None:
    """Nothing else is raised, and what is understood can be written down and read again."""
    targets.parser(data)


def test_the_daemon_answers_whatever_comes_and_keeps_its_secrets() -> None:
    """No fault, no hang, no connection left, and a secret only for its own host over https."""
    daemon = targets.Daemon()

    @settings(max_examples=600, suppress_health_check=list(HealthCheck))
    @given(st.one_of(REQUESTS, st.binary(max_size=200)))
    def feed(data: bytes) -> None:
        daemon(data)

    try:
        feed()
    finally:
        daemon.close()


def test_the_target_would_see_a_secret() -> None:
    """The request that git sends is answered with the secret: silence everywhere would prove nothing."""
    daemon = targets.Daemon()
    try:
        assert daemon.ours.encode() in daemon._exchange(b"action=get\n" + HOST)
    finally:
        daemon.close()


@pytest.mark.skipif(not environment_token.has_fuzzer(), reason="there is no clang with libFuzzer (libclang-rt-dev)")
def test_the_relay_answers_from_the_environment_as_python_does(tmp_path: Path) -> None:
    """Or leaves it to Python; and a difference would end the fuzzer."""
    status, said, compared = environment_token.fuzz(tmp_path, 20_000)
    assert status == 0, said
    assert compared > 100
