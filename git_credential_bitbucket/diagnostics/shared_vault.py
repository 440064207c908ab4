"""What `doctor` says of a shared vault's server: whether it keeps what it has acknowledged, and whom it lets in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from git_credential_bitbucket import paths
from git_credential_bitbucket.diagnostics.finding import NOTE, OK, WRONG, Finding
from git_credential_bitbucket.vault.storage.redis_server import OLDEST, RedisServer, is_too_old

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from git_credential_bitbucket.vault.storage.address import ServerAddress

CHECK = "shared vault"
MAX_SKEW_S = 30.0
_EVICTING = "allkeys-"
_FULL_AT = 0.9
_SET = "on the server, run: CONFIG SET {} (and write that into its configuration file)"


def look(env: Mapping[str, str]) -> Iterator[Finding]:
    """The findings about the server; none where the vault is a file. Raises what the server does."""
    if (address := _address(env)) is None:
        return
    server = RedisServer(address, env)
    told = server.deployment()
    yield Finding(CHECK, OK, f"{address.shown} answers: {_program(told)}")
    yield from judge(told, address)
    hint = f"on the server, run: {server.permissions()}"
    if denied := [] if is_too_old(told.get("redis_version", "")) else server.denied():
        yield Finding(CHECK, WRONG, f"the server denies this user {', '.join(map(paths.shown, denied))}", hint)
    else:
        yield Finding(CHECK, NOTE, "what its user needs, and no more", hint)


def durability(env: Mapping[str, str]) -> dict[str, str | int] | None:
    """What the server does to keep a write, in its own words; None where the vault is a file. Raises what it does."""
    if (address := _address(env)) is None:
        return None
    told = RedisServer(address, env).deployment()
    is_on_disk = told.get("aof_enabled") == "1"
    settings = {"appendonly": "yes" if is_on_disk else "no", "appendfsync": told.get("appendfsync", "unknown")}
    return {"server": _program(told), **settings, "replicas": address.replicas}


def _address(env: Mapping[str, str]) -> ServerAddress | None:
    vault = paths.vault_address(env)
    if not vault.startswith(paths.SHARED):
        return None
    from git_credential_bitbucket.vault.storage.address import parse  # lazy: few vaults are shared

    return parse(vault)


def _program(told: Mapping[str, str]) -> str:
    name = "Valkey" if told.get("server_name") == "valkey" else "Redis"
    return f"{name} {told.get('valkey_version') or told.get('redis_version', 'of an unknown version')}"


def judge(told: Mapping[str, str], address: ServerAddress) -> Iterator[Finding]:
    """What in `RedisServer.deployment` endangers a login, and what to set instead."""
    if is_too_old(told.get("redis_version", "")):
        cause = f"version {told.get('redis_version')} cannot confirm that a write is on its disk: nothing is renewed"
        yield Finding(CHECK, WRONG, cause, f"use {OLDEST}")
    if told.get("maxmemory_policy", "").startswith(_EVICTING):
        cause = f"the server removes credentials when its memory is full (maxmemory-policy {told['maxmemory_policy']})"
        yield Finding(CHECK, WRONG, cause, _SET.format("maxmemory-policy noeviction"))
    used, most = _number(told, "used_memory", 0), _number(told, "maxmemory", 0)
    if used > _FULL_AT * most > 0:
        cause = f"the server uses {used} of {most} bytes of memory: when that is full, nothing is stored or renewed"
        yield Finding(CHECK, WRONG, cause, _SET.format("maxmemory with a higher limit"))
    if told.get("aof_enabled") != "1":
        cause = "a restart of the server loses its last writes: a token that another host got may be spent again"
        yield Finding(CHECK, WRONG, cause, _SET.format("appendonly yes"))
    elif told.get("appendfsync") == "everysec":
        cause = "a renewal waits up to two seconds for the server's disk (appendfsync everysec)"
        yield Finding(CHECK, NOTE, cause, "if that is too slow, run on the server: CONFIG SET appendfsync always")
    elif told.get("appendfsync") == "no":
        cause = "the operating system decides when writes reach the disk (appendfsync no)"
        yield Finding(CHECK, WRONG, cause, _SET.format("appendfsync everysec"))
    yield from _judge_replicas(told, address)
    clients, most = _number(told, "connected_clients", 0), _number(told, "maxclients", 0)
    if clients > 0.8 * most > 0:
        cause = f"the server has {clients} connections of {most} that it takes; a host uses two"
        hint = "set there maxclients to two for each host and some more, and the limit of open files above that"
        yield Finding(CHECK, WRONG, cause, hint)
    if address.tls is None and not address.path and not _is_local(address):
        cause = "names and times of the vault's records are sent unencrypted, and so is the server's password"
        yield Finding(CHECK, WRONG, cause, "use rediss:// (or tls=on with Sentinel)")
    if float(told.get("clock_skew_s", "0")) > MAX_SKEW_S:
        cause = f"the server's clock and this host's differ by {told['clock_skew_s']} s"
        yield Finding(CHECK, NOTE, cause, "set both to the right time")


def _judge_replicas(told: Mapping[str, str], address: ServerAddress) -> Iterator[Finding]:
    replicas = _number(told, "connected_slaves", 0)
    if told.get("role") == "slave":
        cause = "the server is a replica, which accepts no writes"
        yield Finding(
            CHECK, WRONG, cause, "name the primary in the vault's address, or its Sentinels: redis+sentinel://"
        )
    elif replicas < address.replicas:
        cause = f"the vault's address has replicas={address.replicas}, but {replicas} connected: nothing is renewed"
        yield Finding(CHECK, WRONG, cause, "check that they run, or change the address")
    elif replicas < (required := _number(told, "min-replicas-to-write", 0)):
        cause = f"min-replicas-to-write is {required}, but {replicas} connected: the server accepts no writes"
        yield Finding(CHECK, WRONG, cause, "check that they run, or set it lower")
    elif replicas and not address.replicas:
        cause = "a failover may bring a spent token back: writes do not wait for a replica"
        hint = f"add replicas=1 to the vault's address; {_SET.format('min-replicas-to-write 1')}"
        yield Finding(CHECK, WRONG, cause, hint)
    elif address.replicas and told.get("min-replicas-to-write") == "0":
        cause = "a server that is cut off from its replicas takes writes that are lost later"
        yield Finding(CHECK, NOTE, cause, _SET.format(f"min-replicas-to-write {address.replicas}"))


def _number(told: Mapping[str, str], name: str, otherwise: int) -> int:
    """A whole number that the server tells; `otherwise` where it tells something else."""
    text = told.get(name, "")
    return int(text[:18]) if text.isascii() and text.isdigit() else otherwise


def _is_local(address: ServerAddress) -> bool:
    return all(host in ("localhost", "127.0.0.1", "::1") for host, _ in address.hosts)
