"""The host, product or account that a secret is for, where the text around it says so.

That is a URL, a .netrc entry, a section of git's configuration, a variable's name.
An Atlassian token's shape does not tell: the same one may be Jira's, or another server's. Every
quantifier is bounded, as in patterns.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from functools import cached_property
from typing import TYPE_CHECKING

from git_credential_bitbucket.git_protocol import normalise_host

if TYPE_CHECKING:
    from collections.abc import Iterator

    Span = tuple[int, int, str, str, str | None]
    """From where to where a text is about a host: its protocol, with its port its name, and what of it is meant."""

_HOST = (
    rb"(?P<scheme>(?i:https?))://(?:[^\s/\"'<>`]{1,8192}@)?"
    rb"(?P<host>(?:[\w.*-]{1,255}|\[[\da-fA-F:.]{2,64}\])(?::\d{1,5})?)(?![\w.*-])"
)
_URL = re.compile(_HOST + rb"[^\s\"'<>`]{0,8192}", re.ASCII)
_OPTION = re.compile(
    rb"(?i:http)\." + _HOST + rb"(?P<path>/[^\s=]{0,1024}(?=\.[\w-]{1,64}=))?[^\s=]{0,1024}=[^\n]{0,8192}", re.ASCII
)
"""As after `git -c`."""
_SECTION = re.compile(rb"(?m)^[ \t]{0,64}\[(?i:http)[ \t]{1,64}\"" + _HOST + rb"(?P<path>/[^\"\n]{0,1024})?", re.ASCII)
_NEXT_SECTION = re.compile(rb"(?m)^[ \t]{0,64}\[")
_NETRC_WORD = re.compile(rb'"(?:[^"\\\r\n]|\\.){0,4096}"|[^\s"]\S{0,4095}')
_NAMED = re.compile(
    rb"(?<!\w)(?P<name>[A-Za-z_][\w.-]{0,99})(?:[\"']?[ \t]{0,8}(?:=>|:=|=)|[\"'][ \t]{0,8}:|:[ \t])"
    rb"|\bset(?:env|[ \t]{1,8}-[\w-]{1,12})[ \t]{1,8}(?P<set>\w{1,100})[ \t]",
    re.ASCII,
)
"""What is given a value: `NAME=`, `name: ` and `"name":`; also fish's and csh's `set -x NAME`."""
_NAMED_BEFORE = 512
"""How far before a secret its name may begin."""
_PRODUCTS = {b"jira": "Jira", b"confluence": "Confluence", b"atlassian": "Atlassian"}
EMAIL = rb"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}"
_EMAIL_NAMED = re.compile(
    rb"(?i:BITBUCKET_(?:USER|(?:USER_?)?EMAIL|USER_?NAME))[\"']?[ \t]{0,8}[:=][ \t]{0,8}[\"']?(" + EMAIL + rb")",
    re.ASCII,
)
_NETRC_STARTS = (b"machine", b"default", b"macdef")


class HostContext:
    """What a text says about hosts and its account; each is searched for once, when needed."""

    def __init__(self, text: bytes, *, netrc: bool) -> None:
        """`netrc` where the text is one."""
        self._text, self._netrc = text, netrc

    @cached_property
    def email(self) -> str | None:
        """The address that `BITBUCKET_EMAIL` or a like variable is given; None where it is given none, or several."""
        emails = {email.lower() for email in _EMAIL_NAMED.findall(self._text)}
        return _text(emails.pop()) if len(emails) == 1 else None

    @cached_property
    def _sorts(self) -> list[list[Span]]:
        """The spans of each sort in the text's order; an address in a section, such as its proxy's, is nearer."""
        text = self._text
        machines = [*_machines(text)] if self._netrc else []
        urls, options = (map(_span, pattern.finditer(text)) for pattern in (_URL, _OPTION))
        return [[*urls], machines, [*options], [*_sections(text)]]

    def host(self, position: int) -> tuple[str, str, str | None] | None:
        """Protocol, host and path for which a secret at `position` is; None where nothing says so."""
        for spans in self._sorts:
            before = bisect_right(spans, position, key=lambda span: span[0]) - 1
            if before >= 0 and position < spans[before][1]:
                return spans[before][2:]
        return None


def product(text: bytes, position: int) -> str | None:
    """Whose the variable is that a secret at `position` is given to, where its name names one, and not Bitbucket."""
    first = max(0, position - _NAMED_BEFORE)
    line = text[max(first, text.rfind(b"\n", first, position) + 1) : position]
    names = [(found["name"] or found["set"]).lower() for found in _NAMED.finditer(line)]
    name = next((name for name in reversed(names) if name != b"authorization"), b"")  # a header's is no variable's
    if b"bitbucket" in name:
        return None
    return next((product for word, product in _PRODUCTS.items() if word in name), None)


def netrc_entries(text: bytes) -> Iterator[list[re.Match[bytes]]]:
    """The entries of a .netrc (curl's manual) as their words, over any number of lines."""
    words = list(_NETRC_WORD.finditer(text))
    starts = [i for i, word in enumerate(words) if word[0] in _NETRC_STARTS]
    for first, after in zip(starts, [*starts[1:], len(words)], strict=False):
        yield words[first:after]


def _machines(text: bytes) -> Iterator[Span]:
    for entry in netrc_entries(text):
        if entry[0][0] == b"machine" and len(entry) > 1:
            yield entry[0].start(), entry[-1].end(), "https", _text(entry[1][0]).lower(), None


def _sections(text: bytes) -> Iterator[Span]:
    """Each `[http "URL"]`, up to the next section."""
    for section in _SECTION.finditer(text):
        after = _NEXT_SECTION.search(text, section.end())
        yield section.start(), after.start() if after else len(text), *_span(section)[2:]


def _span(found: re.Match[bytes]) -> Span:
    protocol = _text(found["scheme"]).lower()
    path = _text(found.groupdict().get("path") or b"").strip("/") or None
    return found.start(), found.end(), protocol, normalise_host(protocol, _text(found["host"])), path


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
