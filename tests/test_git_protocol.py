"""The gate against hostile input."""

import base64
import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from git_credential_bitbucket import git_protocol
from git_credential_bitbucket.errors import InvalidRequest

VECTORS = json.loads((Path(__file__).parent / "data" / "hostile-requests.json").read_text())
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\n\r\0"), max_size=40)


def verdict(data: bytes) -> str:
    """What becomes of a request: REFUSE, IGNORE (not ours) or ANSWER."""
    try:
        request = git_protocol.parse(data)
    except InvalidRequest:
        return "REFUSE"
    return "ANSWER" if (request.protocol, request.host) == ("https", "bitbucket.org") else "IGNORE"


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["name"])
def test_every_known_attack_gets_its_verdict(vector: dict[str, str]) -> None:
    """The collected attacks are refused, ignored or answered as they must be."""
    assert verdict(base64.b64decode(vector["request_base64"])) == vector["verdict"]


def test_a_request_over_one_mebibyte_is_refused() -> None:
    """No request is so large that reading it is a burden."""
    line = b"x[]=" + b"a" * 60_000 + b"\n"
    data = b"protocol=https\nhost=bitbucket.org\n" + line * 18
    assert len(data) > git_protocol.MAX_REQUEST_BYTES
    assert verdict(data) == "REFUSE"
    assert verdict(data[: len(data) - len(line) * 2]) == "ANSWER"


def test_many_values_of_one_attribute_cost_no_more_than_many_attributes() -> None:
    """Whoever may ask could stop the daemon for ten seconds with one request, if each value cost a copy."""
    data = b"a[]=x\n" * (git_protocol.MAX_REQUEST_BYTES // 6)
    started = time.process_time()
    _, multi = git_protocol.parse_fields(data)
    assert len(multi["a[]"]) == git_protocol.MAX_REQUEST_BYTES // 6
    assert time.process_time() - started < 3, "it takes a tenth of a second"


def test_the_refusal_never_repeats_what_was_sent() -> None:
    """What is refused may hold a secret."""
    for data in (b"pass\0word=hush\n", b"host=hush\r\n", b"hush\n", b"hush=1\nhush=2\n", b"=hush\n", b"a=hush"):
        with pytest.raises(InvalidRequest) as refused:
            git_protocol.parse(data)
        assert "hush" not in str(refused.value)


def test_an_empty_value_clears_a_list_as_git_does() -> None:
    """`capability[]=` forgets the capabilities before it (credential.c)."""
    request = git_protocol.parse(b"protocol=https\nhost=h\ncapability[]=state\ncapability[]=\ncapability[]=authtype\n")
    assert request.capabilities == {"authtype"}


def test_an_answer_depends_on_what_git_sends_under_its_own_name() -> None:
    """Every attribute of the protocol is taken, and one that it does not have yet."""
    request = git_protocol.parse(
        b"protocol=https\nhost=Bitbucket.ORG:443\npath=a/b.git\nusername=u\npassword=p=q\npassword_expiry_utc=12\n"
        b"oauth_refresh_token=r\nauthtype=Bearer\ncredential=c\nephemeral=1\ncontinue=1\nstate[]=s1\nstate[]=s2\n"
        b"wwwauth[]=Basic realm=x\nnovel=1\n\nhost=evil\n"
    )
    assert (request.host, request.path, request.username, request.password) == ("bitbucket.org", "a/b.git", "u", "p=q")
    assert (request.password_expiry_utc, request.states) == (12, frozenset(("s1", "s2")))
    assert request.credential == "c"
    assert "p=q" not in repr(request)


@pytest.mark.parametrize(
    ("value", "ephemeral"), [("1", True), ("true", True), ("odd", True), ("0", False), ("no", False), ("", False)]
)
def test_ephemeral_is_a_boolean_of_gits(value: str, ephemeral: bool) -> None:
    """What nobody understands is not written down."""
    data = f"protocol=https\nhost=bitbucket.org\nephemeral={value}\n".encode()
    assert git_protocol.parse(data).is_ephemeral is ephemeral


@pytest.mark.parametrize("bad", ["-1", "1e9", "\u0661", "9" * 16, "", "12 "])
def test_an_unreadable_expiry_is_no_expiry(bad: str) -> None:
    """Only plain digits are a time."""
    assert (
        git_protocol.parse(f"protocol=https\nhost=h\npassword_expiry_utc={bad}\n".encode()).password_expiry_utc is None
    )


@given(st.dictionaries(st.from_regex(r"[a-z_]{1,12}", fullmatch=True), TEXT, max_size=8))
def test_what_is_emitted_is_read_back(fields: dict[str, str]) -> None:
    """Emit and parse are each other's inverse, for any text without line breaks."""
    assert git_protocol.parse_fields(git_protocol.emit(list(fields.items())))[0] == fields


@given(st.binary(max_size=200))
def test_no_bytes_crash_the_parser(data: bytes) -> None:
    assert verdict(data) in {"REFUSE", "IGNORE", "ANSWER"}


@given(st.text(alphabet="a=\n\r\0\x0b\x0c\x1c\x85\u2028ho", max_size=60))
def test_only_a_line_feed_ends_a_line(junk: str) -> None:
    """No other separator can smuggle the host in."""
    data = f"protocol=https\nhost=evil.example\nusername={junk}host=bitbucket.org\n".encode()
    assert verdict(data) != "ANSWER"


def test_a_value_that_would_break_a_line_is_not_emitted() -> None:
    """A secret with a line break must not become two attributes."""
    for value in ("a\nhost=evil", "a\rb", "a\0b"):
        with pytest.raises(InvalidRequest):
            git_protocol.emit([("password", value)])


def test_what_is_shown_holds_no_terminal_escape() -> None:
    """Escapes, bidi overrides and stray bytes are made visible, and the text is bounded."""
    shown = git_protocol.printable("\x1b[2J\u202eabc\udcffé" + "x" * 300)
    assert shown.startswith("\\x1b[2J\\u202eabc\\xffé")
    assert shown.endswith("…")
    assert shown[:-1].isprintable()
