"""What other helpers keep in the Secret Service: git-credential-manager's entries and those of git's libsecret helper.

Asked for in a child process, as the vault's key is: D-Bus may hang. No dialogue is ever shown: what is locked is
counted. The attributes are git-credential-manager's (SecretServiceCollection.cs) and contrib/credential/libsecret's.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

from git_credential_bitbucket import config, processes
from git_credential_bitbucket.scan import patterns
from git_credential_bitbucket.scan.found_secret import KEYRING, SecretFinding

if TYPE_CHECKING:
    from collections.abc import Mapping

LIMIT_S = 5
_VARIABLES = ("DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR", "HOME", "PATH", "LC_ALL")
_GCM_SCHEMA = "com.microsoft.GitCredentialManager"


def findings(env: Mapping[str, str], hosts: tuple[str, ...]) -> tuple[list[SecretFinding], str | None]:
    """The entries for our hosts; and why not all could be looked at, in words, if so."""
    if not config.is_on(env, config.KEYRING, default=True):
        return [], None
    chosen = processes.session_variables(env, _VARIABLES)
    if "DBUS_SESSION_BUS_ADDRESS" not in chosen:
        return [], None  # there is no keyring here
    answer = processes.answer_of(processes.own_command("scan.keyrings", json.dumps(hosts)), chosen, b"", LIMIT_S)
    if answer is None:
        return [], f"the keyring did not answer within {LIMIT_S} seconds"
    try:
        told = json.loads(answer)
    except ValueError:
        return [], "the keyring could not be read"
    locked = int(told["locked"])
    return [f for f in map(_finding, told["items"]) if f is not None], (
        f"{locked} {'entry' if locked == 1 else 'entries'} could not be read: the keyring is locked" if locked else None
    )


def main() -> None:
    """The child: a newline on standard output when it has started, then one JSON document."""
    out = os.dup(1)
    os.dup2(2, 1)
    signal.alarm(processes.START_LIMIT_S + 1)  # the parent, which would end this process, may be killed first
    processes.import_secretstorage()
    os.write(out, b"\n")
    signal.alarm(LIMIT_S + 1)
    hosts = tuple(json.loads(sys.argv[1]))
    os.write(out, json.dumps(_looked(hosts)).encode())


def _looked(hosts: tuple[str, ...]) -> dict[str, Any]:
    import secretstorage  # lazy, both: only the child needs them, where there is a bus
    from jeepney import DBusErrorResponse  # type: ignore[import-untyped]  # it ships no types

    items: list[dict[str, str | None]] = []
    locked = 0
    names = dict.fromkeys(host.partition(":")[0] for host in hosts)
    try:
        with closing(secretstorage.dbus_init()) as bus:
            for query in ({"xdg:schema": _GCM_SCHEMA}, *({"server": host, "protocol": "https"} for host in names)):
                for item in secretstorage.search_items(bus, query):
                    found = _described(item.get_attributes(), hosts)
                    if found is None:
                        continue
                    if item.is_locked():
                        locked += 1
                    else:
                        items.append({**found, "secret": item.get_secret().decode("utf-8", "surrogateescape")})
    except (secretstorage.SecretStorageException, DBusErrorResponse):
        pass  # nobody on the bus keeps secrets; what was read before counts
    return {"items": items, "locked": locked}


def _described(attributes: Mapping[str, str], hosts: tuple[str, ...]) -> dict[str, str | None] | None:
    """Whose entry it is and for which host; None where it is for another host."""
    if attributes.get("xdg:schema") == _GCM_SCHEMA:
        # `git:https://bitbucket.org`; its OAuth refresh tokens are at `…/refresh_token`
        address = attributes.get("service", "").partition("://")[2].rpartition("@")[2].lower()
        host, _, path = address.partition("/")
        token = path.startswith("refresh_token")
        label = f"git-credential-manager's {'refresh token' if token else 'entry'} for {host}"
        account, repository = attributes.get("account"), None if token else path or None
    else:
        host, port = attributes.get("server", "").lower(), attributes.get("port", "0")
        host = host if port in ("0", "443") else f"{host}:{port}"
        account, repository = attributes.get("user"), attributes.get("object") or None
        label = f"git's libsecret entry for {host}/{repository or ''}".rstrip("/")
    if host not in hosts:
        return None
    return {"host": host, "account": account, "path": repository, "label": label}


def _finding(told: dict[str, str | None]) -> SecretFinding | None:
    # The libsecret helper keeps lines of its own behind the password (since git 2.42: password_expiry_utc=… and more).
    secret = (told["secret"] or "").partition("\n")[0].encode("utf-8", "surrogateescape")
    match = patterns.stored(secret, told["account"] or None, told["host"] or "", told["path"])
    return None if match is None else SecretFinding(match=match, source=KEYRING, path=told["label"] or "keyring")
