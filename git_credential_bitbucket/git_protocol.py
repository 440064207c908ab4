"""git's credential protocol: parses a `Request`, formats pairs. Rejects hostile input. Imports only errors.

Bytes are split on LF only: `splitlines()`, text mode and `strip()` split on more, by which other helpers handed a token
to another server. The rules are git's own (gitcredentials(7), git-credential(1)) made strict: what git
never sends is refused.
"""

from git_credential_bitbucket.errors import InvalidRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

MAX_REQUEST_BYTES = 1 << 20
"""A request's size; git's own are a few hundred bytes, `wwwauth[]` can make them some ten thousand."""
MAX_LINE_BYTES = 65535
"""A line's size without its LF, as git's own limit for packets; nothing legitimate comes near."""

_SINGLE = frozenset(
    {
        *("protocol", "host", "path", "username", "password", "password_expiry_utc", "oauth_refresh_token", "url"),
        *("authtype", "credential", "ephemeral", "continue", "quit"),
    }
)
"""git's own attributes with one value; of any other attribute the last value counts, as in git."""
GIT_ACTIONS = frozenset({"get", "store", "erase", "why", "ping"})
"""What git's socket answers: git's operations, why there is no credential, and who listens. The rest is control."""
READY: "Final" = "ready"
"""The `state` that `why` answers with where a `get` would be answered now: what it waited for came too late for it."""
OTHER_ACCOUNT: "Final" = "other-account"
"""The `state` where what is stored belongs to another person than the username that git asks for."""
UNKNOWN_HOST: "Final" = "unknown-host"
"""The `state` where git's configuration, as the daemon reads it, does not name the host; a caller's may."""

_DEFAULT_PORTS = {"https": ":443", "http": ":80"}
_SCHEMES = frozenset(_DEFAULT_PORTS)


class Request:
    """A credential request, as far as the answer depends on it.

    Text is UTF-8 with surrogate escapes, so any byte survives a round trip.
    """

    __slots__ = (
        "capabilities",
        "credential",
        "host",
        "is_ephemeral",
        "password",
        "password_expiry_utc",
        "path",
        "protocol",
        "states",
        "username",
    )

    def __init__(self, single: dict[str, str], multi: dict[str, list[str]]) -> None:
        """Take the parsed attributes; `parse` is the way to make one from bytes."""
        self.protocol = single.get("protocol", "")
        self.host = normalise_host(self.protocol, single.get("host", ""))
        self.path = single.get("path")
        self.username = single.get("username")
        self.password = single.get("password")
        self.password_expiry_utc = _epoch(single.get("password_expiry_utc"))
        self.credential = single.get("credential")
        self.is_ephemeral = "ephemeral" in single and _is_true(single["ephemeral"])
        self.capabilities = frozenset(multi.get("capability[]", ()))
        self.states = frozenset(multi.get("state[]", ()))

    def __repr__(self) -> str:
        """The address, never the secret."""
        return f"Request({self.protocol}://{self.host}/{self.path or ''})"

    @property
    def is_web(self) -> bool:
        """Whether this is a request for a web host (not `protocol=cert`, say)."""
        return self.protocol in _SCHEMES

    @property
    def secret(self) -> str | None:
        """The secret that the request names; None where it names none.

        One with `authtype` and `credential` (git 2.46), of another helper, has no password.
        """
        return self.password if self.password is not None else self.credential

    @property
    def base(self) -> str:
        """The host's address: `protocol://host`."""
        return f"{self.protocol}://{self.host}"

    @property
    def url(self) -> str:
        """The address that the request names, as git config's `<url>` subsections are matched against it."""
        return f"{self.base}/{self.path or ''}"


def parse(data: bytes) -> Request:
    """Read a request. Raises `InvalidRequest`, whose text never repeats what was sent."""
    single, multi = parse_fields(data)
    if "url" in single:
        raise InvalidRequest("a request must not contain `url=`")
    protocol, host = single.get("protocol"), single.get("host")
    if not protocol or host is None or (not host and protocol in _SCHEMES):
        raise InvalidRequest("a request must name its protocol and its host")
    return Request(single, multi)


def parse_fields(data: bytes) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Split `key=value` lines into single-valued and `[]` attributes, up to the first blank line or the end.

    Raises `InvalidRequest` on anything that git would not have sent: CR or NUL, one of its own attributes twice, a line
    without `=`. Of any other key that stands twice the last value counts.
    """
    if len(data) > MAX_REQUEST_BYTES:
        raise InvalidRequest("the request is larger than 1 MiB")
    single: dict[str, str] = {}
    multi: dict[str, list[str]] = {}
    for line in _lines(data):
        name, equals, value = line.partition("=")
        if not equals or not name:
            raise InvalidRequest("a line of the request is not `key=value`")
        if name.endswith("[]"):
            # An empty value clears what came before it, as git does (credential.c, credential_read).
            values = multi.setdefault(name, [])
            values.append(value) if value else values.clear()
        elif name in single and name in _SINGLE:
            raise InvalidRequest("the request names the same attribute twice")
        else:
            single[name] = value
    return single, multi


def _lines(data: bytes) -> list[str]:
    head, blank, _ = data.partition(b"\n\n")
    if data.startswith(b"\n"):
        return []
    if blank:
        head += b"\n"
    if b"\r" in head or b"\0" in head:
        raise InvalidRequest("the request contains a carriage return or a NUL")
    if head and not head.endswith(b"\n"):
        raise InvalidRequest("the request is cut off: its last line has no line feed")
    if len(head) > MAX_LINE_BYTES and any(len(line) > MAX_LINE_BYTES for line in head.split(b"\n")):
        raise InvalidRequest("a line of the request is longer than 65535 bytes")
    return _text(head).split("\n")[:-1]  # in UTF-8 and its escapes, an LF is an LF


def normalise_host(protocol: str, host: str) -> str:
    """ASCII lower case and without the scheme's own port; nothing else is changed."""
    return fold_case(host).removesuffix(_DEFAULT_PORTS.get(protocol, "\n"))


def fold_case(text: str) -> str:
    """`text` with its ASCII letters in lower case."""
    return text.lower() if text.isascii() else _text(text.encode("utf-8", "surrogateescape").lower())


def emit(pairs: "list[tuple[str, str]]") -> bytes:
    """Write an answer, one `key=value` line a pair. Raises `InvalidRequest` where a value would break a line."""
    lines = []
    for key, value in pairs:
        if "\n" in value or "\r" in value or "\0" in value:
            raise InvalidRequest(f"the value of `{key}` contains a line break or NUL")
        lines.append(f"{key}={value}\n".encode("utf-8", "surrogateescape"))
    return b"".join(lines)


def parse_pairs(data: bytes) -> "list[tuple[str, str]]":
    """The `key=value` lines of a reply, in their order; other lines are skipped."""
    found = (_text(line).partition("=") for line in data.split(b"\n"))
    return [(key, value) for key, equals, value in found if equals]


def printable(text: str, limit: int = 200) -> str:
    """`text` fit for a terminal: control bytes, escapes and bidi overrides made visible, cut at `limit`."""
    if len(text) <= limit and text.isprintable():
        return text
    shown = "".join(c if c.isprintable() else _escaped(c) for c in text[:limit])
    return shown if len(text) <= limit else shown + "…"


def printable_name(name: str) -> str:
    """A name in a request, cut and without spaces: a repository chooses its URLs, and must not write our messages."""
    return printable(name.replace(" ", "%20"), 100)


def _escaped(char: str) -> str:
    if "\udc80" <= char <= "\udcff":  # a byte that was no UTF-8, as surrogateescape keeps it
        return f"\\x{ord(char) - 0xDC00:02x}"
    return char.encode("unicode_escape").decode("ascii")


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _is_true(text: str) -> bool:
    from git_credential_bitbucket.config import git_bool  # lazy: few requests have such an attribute

    return git_bool(text) is not False  # an invalid value counts as true, which is safe


def _epoch(text: str | None) -> int | None:
    if text is None or not text.isascii() or not text.isdigit() or len(text) > 15:  # noqa: PLR2004 - past any date
        return None
    return int(text)
