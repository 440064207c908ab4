"""The patterns of secrets in text: which bytes are one, its kind and account, and what to cut out to remove it.

Works on bytes, for files and history have no one encoding. Every quantifier is bounded: the text may be hostile, and a
scan takes time in proportion to its length. Token formats: bitbucket/token_kinds.
"""

from __future__ import annotations

import binascii
import re
from bisect import bisect_left
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from git_credential_bitbucket.bitbucket import hosts as our_hosts
from git_credential_bitbucket.bitbucket import token_kinds
from git_credential_bitbucket.scan import host_context
from git_credential_bitbucket.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

URL, ASSIGNED, HEADER, NETRC, TOKEN, STORED = "url", "assignment", "header", "netrc", "token", "stored"
NPMRC, REFERENCE = "npmrc", "reference"
"""In which form a secret was found; a reference holds none, it is the name of an app password."""

CLOUD_HOSTS = (our_hosts.CLOUD_HOST, f"www.{our_hosts.CLOUD_HOST}", f"api.{our_hosts.CLOUD_HOST}")
MAX_BINARY_BYTES = 1 << 20
"""How much of a binary file is looked at: secrets get into archives and images, and seldom far in."""
NEEDLES = (
    *(b"ATBB", b"ATATT", b"ATCTT", b"BBDC-", b"itbucket", b"itBucket", b"BITBUCKET"),
    *(b"asic ", b"_auth=", b":_password="),  # base64 follows, which hides the others
)
"""A text without any of these holds nothing that is looked for; looking for them costs next to nothing."""

_LENGTHS = {
    token_kinds.APP_PASSWORD: (36, 30),
    token_kinds.API_TOKEN: (192, 40),
    token_kinds.ACCESS_TOKEN: (192, 40),
    token_kinds.PERSONAL_TOKEN: (49, 49),
}
"""The usual one, for a token may be followed by what could belong to it; and the least without a checksum that fits."""
_MIN_VARIETY = 10
"""Distinct characters of what has no checksum that fits: `ATBBxxxxxxxx…` in a manual has fewer."""
_MIN_QUOTED, _MIN_BARE = 8, 12
_TEXT_TEST_BYTES = 8000
_TOKEN = re.compile(
    rb"(?:ATBB[\w=-]{24,256}|AT[AC]TT3[\w=-]{24,4096}"
    rb"|BBDC-(?:[A-Za-z0-9+/]|%2[BbFf]){44}(?![\w+/=%-]))",  # Data Center's, in a URL percent-encoded
    re.ASCII,
)
_HEADER = re.compile(rb"\b(?P<scheme>[Bb](?i:asic|earer))[ ]{1,4}(?P<value>[\w.~+/=-]{16,6000})", re.ASCII)
_HEADER_NAME = re.compile(rb"(?i:authorization)[ \t]{0,8}:[ \t]{0,8}\Z")
_NEAR = 256
"""How far from a header of unknown kind its host may be named."""
_MIN_OPAQUE = 20
_NPMRC = re.compile(
    rb"(?m)^[ \t]{0,8}(?://(?P<host>[^\s/:=]{1,255}(?::\d{1,5})?)(?:/[^\s=]{0,512}?)?:)?"
    rb"(?P<key>_authToken|_auth|_password)[ \t]{0,8}=[ \t]{0,8}[\"']?(?P<value>[\w.~+/=-]{8,6000})",
    re.ASCII,
)
"""npm's own settings file (docs.npmjs.com, npmrc): `//HOST/PATH/:_authToken=…`; the other two values are base64."""
_EMAIL_BEFORE = re.compile(rb"(?:^|[^\w.+-])(" + host_context.EMAIL + rb"):\Z", re.ASCII)
_REFERENCE = re.compile(rb"(?i:app[_-]?passw(?:or)?d)[\w-]{0,40}", re.ASCII)
_NAME_BEFORE = re.compile(rb"[\w.-]{0,60}\Z", re.ASCII)
_OTHER_SERVICE = re.compile(rb"mail|google|smtp|imap|icloud|apple|yahoo|outlook|next_?cloud|word_?press|bsky|bluesky")
"""Services that have app passwords, too."""
_ASSIGNED = re.compile(
    rb"(?i:(?P<name>BITBUCKET_[A-Z_]{0,40}(?:PASSWORD|TOKEN|SECRET)|(?<![\w-])APP[_-]?PASSWORD))"
    rb"[\"']?[ \t]{0,8}(?:=>|:=|[:=])[ \t]{0,8}"
    rb"(?:\"(?P<double>[^\"\\\r\n]{1,4096})\"|'(?P<single>[^'\\\r\n]{1,4096})'"
    rb"|(?P<bare>[A-Za-z0-9_+/=~!@%^&*-]{1,4096})(?![\w.(\[{$<]))"
)
_PLACEHOLDER = re.compile(
    rb"[$<{*.#]|%(?![0-9A-Fa-f]{2})|x{3,}|your|my[_-]|change|example|placeholder|secret|pass|token|none|null|true|false|todo|redact|dummy"
    rb"|fake|test|app[_-]?pass|bitbucket|vault|env|process|os\.|https?:|\[",
    re.IGNORECASE,
)
_BEFORE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A secret in a text; or, of the form `REFERENCE`, the `name` of an app password, with an empty secret.

    `start` and `end` enclose what is cut out to clean it: a URL's name and password, a value; they begin on `line`.
    `certain` is False where its shape alone speaks for it. `host` need not be one of ours: a token of our shape in
    another host's address is that one's. `path` is the repository of a URL or of an http section. `product` is
    another one of Atlassian's, which the name of its variable says it is for.
    """

    form: str
    start: int
    end: int
    secret: Secret
    kind: str
    certain: bool
    line: int = 1
    account: str | None = None
    protocol: str = our_hosts.CLOUD_PROTOCOL
    host: str = our_hosts.CLOUD_HOST
    path: str | None = None
    product: str | None = None
    name: str | None = None


def may_contain_secret(text: bytes, hosts: tuple[str, ...] = CLOUD_HOSTS) -> bool:
    """Whether the text has any of the strings that a secret comes with."""
    return any(needle in text for needle in _needles(hosts))


def is_binary(text: bytes) -> bool:
    """Whether git takes it for binary: a NUL among its first bytes (git's xdiff-interface.c)."""
    return b"\0" in text[:_TEXT_TEST_BYTES]


def scan(
    text: bytes, hosts: tuple[str, ...] = CLOUD_HOSTS, *, netrc: bool = False, is_bitbucket: bool = False
) -> list[Match]:
    """The secrets in `text` and the references to app passwords, in its order, each once.

    `hosts` are those (with port) whose URLs count. `is_bitbucket`: it is about Bitbucket in any case.
    """
    found: list[Match] = []
    for search in (_in_urls(text, hosts), _in_netrc(text, hosts) if netrc else (), _in_npmrc(text, hosts)):
        found = sorted([*found, *_without_overlap(search, found)], key=lambda match: match.start)
    context = host_context.HostContext(text, netrc=netrc)
    is_bitbucket = is_bitbucket or b"bitbucket" in text.lower()
    for search in (_in_headers(text, hosts, context), _tokens(text), _assigned(text) if is_bitbucket else ()):
        fresh = _without_overlap(search, found)  # of any host, unless its context says which
        found = sorted([*found, *(_with_host(match, text, context) for match in fresh)], key=lambda match: match.start)
    if is_bitbucket and not is_binary(text):
        found = sorted([*found, *_references(text, found)], key=lambda match: match.start)
    counted, line, numbered = 0, 1, []
    for match in found:  # counted on from the one before: a text may hold very many
        line += text.count(b"\n", counted, match.start)
        counted = match.start
        numbered.append(replace(match, line=line))
    return numbered


def _without_overlap(fresh: Iterable[Match], found: list[Match]) -> list[Match]:
    """Those of `fresh` that overlap none of `found`, which is in order."""
    starts = [match.start for match in found]
    apart = []
    for match in fresh:
        before = bisect_left(starts, match.end) - 1
        if before < 0 or found[before].end <= match.start:
            apart.append(match)
    return apart


def _with_host(match: Match, text: bytes, context: host_context.HostContext) -> Match:
    if match.kind == token_kinds.API_TOKEN and match.account is None:
        match = replace(match, account=context.email)
    told = context.host(match.start)
    if told is None:
        return replace(match, product=host_context.product(text, match.start))
    return replace(match, protocol=told[0], host=canonical(told[1]), path=told[2])


def canonical(host: str) -> str:
    """`host`, or bitbucket.org for another name of it: exactly those, for a secret must not get to a host like it."""
    return our_hosts.CLOUD_HOST if host in CLOUD_HOSTS else host


def stored(password: bytes, account: str | None, host: str, path: str | None = None) -> Match | None:
    """A password that a keyring or another helper keeps for a host, by any of its names; None where there is none."""
    secret = _text(password)
    if not secret:
        return None
    match = _match(STORED, (0, len(password)), secret, account, certain=True, host=canonical(host))
    return replace(match, path=path)


def redacted(text: str) -> str:
    """`text` for a report: a path or a name may itself hold a token."""
    return _TOKEN.sub(b"\xe2\x80\xa6", text.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")


@lru_cache(maxsize=8)
def _needles(hosts: tuple[str, ...]) -> tuple[bytes, ...]:
    return (*NEEDLES, *(host.encode() for host in hosts if host not in CLOUD_HOSTS))


@lru_cache(maxsize=8)
def _host(hosts: tuple[str, ...]) -> re.Pattern[bytes]:
    return re.compile(rb"(?<![\w.-])(?i:" + _any_of(hosts) + rb")(?![\w-]|\.\w|:\d)")


def _any_of(hosts: tuple[str, ...]) -> bytes:
    return b"|".join(re.escape(host.encode()) for host in hosts)


@lru_cache(maxsize=8)
def _url(hosts: tuple[str, ...]) -> re.Pattern[bytes]:
    return re.compile(
        rb"(?P<scheme>(?i:https?))://(?P<cut>(?P<user>[^\s:/@\"'<>`]{0,4096})"
        rb"(?::(?P<password>[^\s/\"'<>`]{0,4096}))?@)(?P<host>(?i:" + _any_of(hosts) + rb"))(?::443)?(?![\w-]|\.\w|:\d)"
        rb"(?P<path>/[^\s\"'<>`?#]{0,512})?"
    )


def _match(
    form: str,
    span: tuple[int, int],
    secret: str,
    account: str | None = None,
    *,
    kind: str | None = None,
    certain: bool | None = None,
    host: str = our_hosts.CLOUD_HOST,
) -> Match:
    """A secret, whose prefix tells its kind and whose checksum makes it certain, where it is not given what it is."""
    if certain is None:
        certain = token_kinds.is_checksum_valid(secret) is not False
    kind = kind or token_kinds.recognise(secret)
    start, end = span
    return Match(
        form=form, start=start, end=end, secret=Secret(secret), kind=kind, certain=certain, account=account, host=host
    )


def _in_urls(text: bytes, hosts: tuple[str, ...]) -> Iterator[Match]:
    for found in _url(hosts).finditer(text):
        user, password = (unquote_to_bytes(found[name] or b"") for name in ("user", "password"))
        if token_kinds.recognise(_text(user)) != token_kinds.UNKNOWN:  # https://TOKEN@host, and TOKEN:x-oauth-basic
            user, password = b"", user
        secret = _text(password)
        if not _is_real(secret):
            continue
        host = canonical(found["host"].decode().lower())
        match = _match(URL, found.span("cut"), secret, _text(user) or None, host=host)
        path = _text(found["path"] or b"").strip("/") or None
        yield replace(match, protocol=found["scheme"].decode().lower(), path=path)


def _tokens(text: bytes) -> Iterator[Match]:
    for found in _TOKEN.finditer(text):
        kind = token_kinds.recognise(_text(found[0]))
        run = _text(unquote_to_bytes(found[0]) if kind == token_kinds.PERSONAL_TOKEN else found[0])
        token, certain = _checked(run, kind)
        cut = len(found[0]) - len(run)
        bounded = found.start() == 0 or text[found.start() - 1] not in _BEFORE
        if certain or (bounded and _looks_real(token, kind)):
            email = _EMAIL_BEFORE.search(text[max(found.start() - _NEAR, 0) : found.start()])
            span = found.start(), found.start() + len(token) + cut
            yield _match(TOKEN, span, token, _text(email[1]) if email else None, kind=kind, certain=certain)


def _checked(run: str, kind: str) -> tuple[str, bool]:
    """The token at the beginning of a run of characters that tokens are made of; and whether its checksum fits."""
    if kind == token_kinds.PERSONAL_TOKEN:
        return run, token_kinds.has_id(run)
    for token in (run, run[: _LENGTHS[kind][0]], run.rstrip("-_=")):
        if token_kinds.is_checksum_valid(token):
            return token, True
    return run, False


def _looks_real(token: str, kind: str) -> bool:
    lower = token.lower()
    return len(token) >= _LENGTHS[kind][1] and len(set(token)) >= _MIN_VARIETY and "xxxx" not in lower


def _in_headers(text: bytes, hosts: tuple[str, ...], context: host_context.HostContext) -> Iterator[Match]:
    """`Authorization: Basic …` and `Bearer …`, as in http.extraHeader: name and token as base64, or a token.

    Of unknown kind it counts only where its host is named, for every service has such headers.
    """
    for found in _HEADER.finditer(text):
        if found["scheme"].lower() == b"basic":
            user, _, secret = _decoded(found["value"]).partition(":")
            known = user in token_kinds.TOKEN_USERNAMES
        else:
            user, secret, known = "", _text(found["value"]), False
            if token_kinds.recognise(secret) != token_kinds.UNKNOWN:
                secret = _checked(secret, token_kinds.recognise(secret))[0]
        kind = token_kinds.recognise(secret)
        if not _is_real(secret):
            continue
        if (
            known
            or kind != token_kinds.UNKNOWN
            or (_is_opaque(found["value"], user, secret) and _is_for(hosts, text, found, context))
        ):
            before = max(found.start() - _NEAR, 0)
            name = _HEADER_NAME.search(text[before : found.start()])
            start = found.start() if name is None else before + name.start()
            yield _match(HEADER, (start, found.end()), secret, user or None)


def _is_opaque(value: bytes, user: str, secret: str) -> bool:
    """Whether a header of unknown kind looks like a secret, not like a word after `basic` or `bearer`."""
    if user:  # bytes that were no base64 decode to what nobody types
        return (user + secret).isprintable()
    return (
        len(value) >= _MIN_OPAQUE
        and len(set(value)) >= _MIN_VARIETY
        and re.search(rb"\d", value) is not None
        and re.search(rb"[A-Za-z]", value) is not None
    )


def _is_for(hosts: tuple[str, ...], text: bytes, header: re.Match[bytes], context: host_context.HostContext) -> bool:
    """Whether a header's context, or else the text close to it, names one of `hosts`."""
    told = context.host(header.start())
    if told is not None:
        return told[1] in hosts
    return _host(hosts).search(text, max(header.start() - _NEAR, 0), header.end() + _NEAR) is not None


def _decoded(value: bytes) -> str:
    """What base64 holds; empty where it is none."""
    try:
        return _text(binascii.a2b_base64(value))
    except binascii.Error:
        return ""


def _in_npmrc(text: bytes, hosts: tuple[str, ...]) -> Iterator[Match]:
    """A registry's secret; of unknown kind, it counts for our hosts only."""
    for found in _NPMRC.finditer(text):
        secret = _text(found["value"]) if found["key"] == b"_authToken" else _decoded(found["value"])
        user, _, secret = secret.partition(":") if found["key"] == b"_auth" else ("", "", secret)
        host = _text(found["host"] or b"").lower() or our_hosts.CLOUD_HOST
        kind = token_kinds.recognise(secret)
        if _is_real(secret) and (kind != token_kinds.UNKNOWN or (found["host"] and host in hosts)):
            yield _match(NPMRC, found.span("value"), secret, user or None, host=canonical(host))


def _references(text: bytes, secrets: list[Match]) -> Iterator[Match]:
    """The names of app passwords, one a line, where no secret stands on that line: code that waits for one.

    Another service's app password is left out by its name.
    """
    starts = [match.start for match in secrets]
    line = position = 0
    while found := _REFERENCE.search(text, position):
        # the line's start is looked for from where it was last: a text may be one long line
        line = max(line, text.rfind(b"\n", position, found.start()) + 1)
        before = _NAME_BEFORE.search(text[max(found.start() - 60, 0) : found.start()])
        name = ((before[0] if before else b"") + found[0]).lstrip(b"-.")
        position = found.end()
        if _OTHER_SERVICE.search(name.lower()):
            continue
        position = (text.find(b"\n", position) + 1) or len(text)
        first = bisect_left(starts, position) - 1
        if first < 0 or secrets[first].end <= line:
            match = _match(REFERENCE, found.span(), "", kind=token_kinds.APP_PASSWORD, certain=True)
            yield replace(match, name=_text(name))


def _assigned(text: bytes) -> Iterator[Match]:
    """A value given to a name that says what it is. `app_password` is other services' name too."""
    for found in _ASSIGNED.finditer(text):
        name = next(n for n in ("double", "single", "bare") if found[n] is not None)
        value = found[name]
        enough = len(value) >= (_MIN_BARE if name == "bare" else _MIN_QUOTED) and not set(value) & set(b" \t")
        mixed = name != "bare" or (re.search(rb"\d", value) and re.search(rb"[A-Za-z]", value))
        if not enough or not mixed or _is_placeholder(value) or len(set(value)) < _MIN_QUOTED - 2:
            continue
        name_says = found["name"].upper()
        named = b"BITBUCKET" in name_says and b"APP" in name_says  # before 2022 app passwords had no prefix
        kind = token_kinds.APP_PASSWORD if named else None
        yield _match(ASSIGNED, found.span(name), _text(value), kind=kind, certain=False)


def _in_netrc(text: bytes, hosts: tuple[str, ...]) -> Iterator[Match]:
    """`machine HOST login NAME password SECRET`."""
    for entry in host_context.netrc_entries(text):
        if entry[0][0] != b"machine" or len(entry) < 2:  # noqa: PLR2004 - the word and the host
            continue
        host = _text(entry[1][0]).lower()
        values = {_text(key[0]): value for key, value in zip(entry[2::2], entry[3::2], strict=False)}
        secret = _unquoted(values["password"][0]) if "password" in values else ""
        if host not in hosts or not _is_real(secret):
            continue
        login = values.get("login")
        span = entry[0].start(), max(v.end() for v in values.values())
        yield _match(NETRC, span, secret, _unquoted(login[0]) if login else None, host=canonical(host))


def _unquoted(word: bytes) -> str:
    if word.startswith(b'"'):
        word = re.sub(rb"\\(.)", rb"\1", word[1:-1])
    return _text(word)


def _is_real(secret: str) -> bool:
    kind = token_kinds.recognise(secret)
    if kind != token_kinds.UNKNOWN:
        return token_kinds.is_checksum_valid(secret) is True or _looks_real(secret, kind)
    return bool(secret) and not _is_placeholder(secret.encode("utf-8", "surrogateescape"))


def _is_placeholder(value: bytes) -> bool:
    """Whether a reader fills it in, or a program does: `$TOKEN`, `<password>`, `{{ secret }}`, `xxxx`."""
    return _PLACEHOLDER.match(value) is not None


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
