"""Owns HTTP's shapes: a request as the stand-in's rooms see it, their answers, and Authorization."""

import base64
import binascii
import gzip
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from email.message import Message
from typing import IO
from urllib.parse import parse_qs

from tests.fake_bitbucket.journal import Entry

# How an answer reaches the wire: as it should, cut in the middle, or as a reset of the connection.
WHOLE = "whole"
CUT = "cut"
RESET = "reset"

# More than any API body needs; a pack goes to git http-backend from its file and is never read whole.
MAX_BODY_IN_MEMORY = 8 << 20


@dataclass
class Offered:
    """The credential in an Authorization header: kind "basic", "bearer", "jwt", or None for none."""

    kind: str | None = None
    username: str = ""
    secret: str = field(default="", repr=False)


@dataclass
class Request:
    """One request, its body already received into a file."""

    host: str
    method: str
    path: str
    query: str
    headers: Message
    body: IO[bytes]
    entry: Entry
    offered: Offered

    def parameters(self) -> dict[str, str]:
        """The query, the last value of each name."""
        return {name: values[-1] for name, values in parse_qs(self.query, keep_blank_values=True).items()}

    def text(self) -> bytes:
        """The body in memory, unpacked if it came compressed."""
        self.body.seek(0)
        data = self.body.read(MAX_BODY_IN_MEMORY)
        return gzip.decompress(data) if self.headers.get("Content-Encoding") == "gzip" else data

    def form(self) -> dict[str, str]:
        """The body of a form; empty for any other content type."""
        if self.headers.get_content_type() != "application/x-www-form-urlencoded":
            return {}
        fields = parse_qs(self.text().decode("utf-8", "replace"), keep_blank_values=True)
        return {name: values[-1] for name, values in fields.items()}


@dataclass
class Response:
    """An answer; a body of several pieces is sent chunked."""

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes | Iterable[bytes] = b""
    manner: str = WHOLE


def json_response(status: int, document: object, headers: Iterable[tuple[str, str]] = ()) -> Response:
    """A JSON answer."""
    return Response(
        status, [("Content-Type", "application/json; charset=utf-8"), *headers], json.dumps(document).encode()
    )


def html(status: int, page: str) -> Response:
    """A page for people."""
    return Response(
        status, [("Content-Type", "text/html; charset=utf-8"), ("Cache-Control", "no-store")], page.encode()
    )


def plain(status: int, text: str, headers: Iterable[tuple[str, str]] = ()) -> Response:
    """A line of text, which is what git shows after `remote:`."""
    return Response(status, [("Content-Type", "text/plain; charset=utf-8"), *headers], text.encode())


def redirect(location: str) -> Response:
    """302, as a browser follows it after a form."""
    return Response(302, [("Location", location), ("Cache-Control", "no-store")], b"")


def offered(headers: Mapping[str, str] | Message) -> Offered:
    """What the Authorization header holds; a broken one counts as none."""
    kind, _, value = (headers.get("Authorization") or "").partition(" ")
    kind = kind.lower()
    if kind in {"bearer", "jwt"} and value:
        return Offered(kind, "", value.strip())
    if kind != "basic":
        return Offered()
    try:
        text = base64.b64decode(value, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return Offered()
    username, _, secret = text.partition(":")
    return Offered("basic", username, secret)
