"""git's rules for `section.<url>.key`: which URLs in its configuration match a given URL, and which matches best.

A port of what git's urlmatch.c and credential.c do, because asking git itself costs a process for every key.
Imports nothing. What is not a URL matches nothing.
"""

_DEFAULT_PORTS = {"http": "80", "https": "443"}
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_DELIMITERS = frozenset("!$&'()*+,;=:@/[]%?#")
_HOST_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789.-_")
_SCHEME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789+.-")
_HEX = frozenset("0123456789abcdefABCDEF")
_MAX_PORT = 65535

Match = tuple[int, int, bool]
"""How well a URL matches: length of the host as configured, length of the path, user named. Bigger is better."""


class NormalUrl:
    """A URL in git's normal form: scheme and host in lower case, no default port, no dot segments in the path."""

    __slots__ = ("host", "path", "port", "scheme", "user")

    def __init__(self, scheme: str, user: str | None, host: str, port: str, path: str) -> None:
        """`port` is empty where it is the scheme's own; `path` starts with a slash."""
        self.scheme, self.user, self.host, self.port, self.path = scheme, user, host, port, path


def normalise(url: str, *, globs: bool = False) -> NormalUrl | None:
    """`url` in normal form, or None if git would reject it. `globs` allows `*` for a label of the host."""
    scheme, separator, rest = url.partition("://")
    scheme = scheme.lower()
    if not separator or not scheme[:1].isalpha() or not set(scheme) <= _SCHEME_CHARACTERS:
        return None
    end = _authority_end(rest)
    userinfo, at, hostport = rest[:end].rpartition("@")
    host, port = _split_port(hostport.lower())
    path = _normal_path(rest[end:])
    user = _normal_escapes(userinfo.partition(":")[0]) if at else None
    if host is None or path is None or (at and user is None) or not _is_host(host, globs=globs):
        return None
    number = _normal_port(scheme, port)
    return None if number is None else NormalUrl(scheme, user, host, number, path)


def match(wanted: NormalUrl, configured: NormalUrl) -> Match | None:
    """How well `configured`, a `<url>` of git's configuration, matches `wanted`; None if it does not."""
    if (wanted.scheme, wanted.port) != (configured.scheme, configured.port):
        return None
    if configured.user is not None and configured.user != wanted.user:
        return None
    labels, patterns = wanted.host.split("."), configured.host.split(".")
    if len(labels) != len(patterns):
        return None
    if any(p not in ("*", label) for label, p in zip(labels, patterns, strict=True)):
        return None
    prefix = configured.path.rstrip("/")
    if wanted.path.rstrip("/") != prefix and not wanted.path.startswith(prefix + "/"):
        return None
    return len(configured.host), len(prefix) + 1, configured.user is not None


def match_partially(url: str, configured: str) -> bool:
    """Whether `configured`, which is no full URL (`example.com`, `https://`), names only what `url` also has.

    git allows such names for credential.* alone (credential.c, match_partial_url).
    """
    wanted, pattern = _pieces(url), _pieces(configured)
    return all(pattern[name] in (None, wanted[name]) for name in pattern)


def _authority_end(rest: str) -> int:
    return min((i for i in (rest.find(c) for c in "/?#") if i >= 0), default=len(rest))


def _split_port(hostport: str) -> tuple[str | None, str]:
    if hostport.startswith("["):
        address, bracket, tail = hostport.partition("]")
        if not bracket or (tail and not tail.startswith(":")):
            return None, ""
        return address + bracket, tail[1:]
    host, _, port = hostport.partition(":")
    return host, port


def _is_host(host: str, *, globs: bool) -> bool:
    if host.startswith("["):
        return set(host[1:-1]) <= _HEX | {":", "."}
    allowed = _HOST_CHARACTERS | {"*"} if globs else _HOST_CHARACTERS
    # A star stands for one whole label; within a label git refuses it.
    whole = all("*" not in label or label == "*" for label in host.split("."))
    return bool(host) and set(host) <= allowed and whole


def _normal_port(scheme: str, port: str) -> str | None:
    if not port:
        return ""
    digits = port.lstrip("0")
    if not (port.isascii() and port.isdigit() and digits) or len(digits) > len(str(_MAX_PORT)):
        return None
    if int(digits) > _MAX_PORT:
        return None
    return "" if _DEFAULT_PORTS.get(scheme) == digits else digits


def _normal_path(path: str) -> str | None:
    """The path without dot segments; None if they leave the root or an escape is invalid."""
    plain = _normal_escapes(path)
    if plain is None:
        return None
    done: list[str] = []
    segments = plain.removeprefix("/").split("/")
    for segment in segments:
        if segment == "..":
            if not done:
                return None
            done.pop()
        elif segment != ".":
            done.append(segment)
    if segments[-1] in (".", "..") and done:
        done.append("")
    return "/" + "/".join(done)


def _normal_escapes(text: str) -> str | None:
    out: list[str] = []
    raw = text.encode("utf-8", "surrogateescape")
    at = 0
    while at < len(raw):
        char, step = chr(raw[at]), 1
        if char == "%":
            digits = raw[at + 1 : at + 3].decode("latin-1")
            if len(digits) != 2 or not set(digits) <= _HEX:  # noqa: PLR2004 - an escape has two digits
                return None
            char, step = chr(int(digits, 16)), 3
            out.append(char if char in _UNRESERVED else "%" + digits.upper())
        else:
            out.append(char if char in _UNRESERVED or char in _DELIMITERS else f"%{ord(char):02X}")
        at += step
    return "".join(out)


def _pieces(url: str) -> dict[str, str | None]:
    scheme, separator, rest = url.partition("://")
    if not separator:
        scheme, rest = "", url
    end = _authority_end(rest)
    userinfo, at, host = rest[:end].rpartition("@")
    path = rest[end:].strip("/")
    return {
        "scheme": scheme or None,
        "user": userinfo.partition(":")[0] if at else None,
        "host": host or None,
        "path": path or None,
    }
