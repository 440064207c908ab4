"""The address of a shared vault: a URL without a password, which is read elsewhere."""

from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from git_credential_bitbucket.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

_FORMS = "redis://HOST:PORT/DB?vault=NAME, rediss://…, unix:///PATH or redis+sentinel://HOST:PORT,HOST:PORT/SERVICE/DB"
_PORTS = {"redis": 6379, "rediss": 6379, "redis+sentinel": 26379}
_OPTIONS = frozenset({"vault", "replicas", "user", "db", "ca", "cert", "key", "tls"})
MAX_REPLICAS = 5


class ServerAddress(NamedTuple):
    """Where a shared vault is, and what its server promises."""

    hosts: tuple[tuple[str, int], ...]
    path: str
    """Of its Unix socket; empty where there are `hosts`."""
    service: str
    """What Sentinel calls it; empty without Sentinel."""
    db: int
    vault: str
    """Its name on the server."""
    user: str | None
    replicas: int
    """How many replicas must have a write before a refresh token is spent, or a new one counts as stored."""
    tls: "Mapping[str, str] | None"
    """The files `ca`, `cert` and `key`, where there are such; None without TLS."""
    shown: str


def parse(url: str) -> ServerAddress:
    """The address that `url` is. Raises `SettingsError`, which repeats nothing of a password."""
    try:
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
        user, at, hosts = parts.netloc.rpartition("@")
        if ":" in unquote(user) or ":" in options.get("user", "") or "password" in options:
            hint = "remove it there, and set GIT_CREDENTIAL_BITBUCKET_VAULT_PASSWORD_FILE to a file that has it"
            raise SettingsError("the vault's address contains a password, which others can see", hint=hint)
        path, service, db = parts.path, "", options.get("db", "0")
        if parts.scheme == "redis+sentinel":
            service, _, db = path.strip("/").partition("/")
        elif parts.scheme != "unix":
            db, path = path.strip("/") or db, ""
        name = options.get("vault", "default")
        tls: dict[str, str] = {option: options[option] for option in ("ca", "cert", "key") if option in options}
        found = ServerAddress(
            tuple(_host(host, _PORTS[parts.scheme]) for host in hosts.split(",")) if parts.scheme != "unix" else (),
            path if parts.scheme == "unix" else "",
            service,
            int(db or "0"),
            name,
            unquote(user) if at else options.get("user"),
            int(options.get("replicas", "0")),
            tls if parts.scheme == "rediss" or "tls" in options else None,
            url if url.isprintable() and url.isascii() else ascii(url)[1:-1],
        )
    except (ValueError, KeyError):
        raise SettingsError("the vault's address cannot be read", hint=f"write {_FORMS}") from None
    unknown = sorted(options.keys() - _OPTIONS)
    is_named = name.isascii() and name.replace("-", "").replace("_", "").replace(".", "").isalnum()
    relative = [file for file in tls.values() if not file.startswith("/")]
    is_plain = found.tls is None or bool(found.path)
    if options.get("tls", "on") != "on" or (is_plain and (tls or "tls" in options)):
        hint = "write rediss:// (or redis+sentinel://… with tls=on), and ca=, cert= and key= only there"
        raise SettingsError("the vault's address asks for TLS in a way that would leave it out", hint=hint)
    if unknown or not is_named or relative or parts.fragment or not 0 <= found.replicas <= MAX_REPLICAS or found.db < 0:
        hint = f"write {_FORMS}; options: {', '.join(sorted(_OPTIONS))}, with absolute paths"
        raise SettingsError("the vault's address has an option that cannot be used", hint=hint)
    has_hosts = bool(hosts) if parts.scheme == "unix" else "," in hosts and parts.scheme != "redis+sentinel"
    if (parts.scheme == "redis+sentinel") != bool(service) or (parts.scheme == "unix") != bool(found.path) or has_hosts:
        raise SettingsError("the vault's address lacks a part, or has one too many", hint=f"write {_FORMS}")
    return found


def _host(text: str, port: int) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError(text)
    return parts.hostname, parts.port or port
