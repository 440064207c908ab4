"""Why a shared vault's server cannot be used, and what helps: the errors of redis-py and below it, in words."""

import errno
import os
import re
import socket
import ssl
from typing import TYPE_CHECKING

import redis
from redis.sentinel import MasterNotFoundError

from git_credential_bitbucket.paths import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from git_credential_bitbucket.vault.storage.address import ServerAddress

FOREIGN = "these keys hold something other than a vault", "use another ?vault=NAME, or another database"
_ANSWERS = {
    "NOAUTH": (
        "it requires a password",
        "set GIT_CREDENTIAL_BITBUCKET_VAULT_PASSWORD_FILE to a private file that contains it",
    ),
    "WRONGPASS": (
        "it does not accept this user and password",
        "check the user in the vault's address, and GIT_CREDENTIAL_BITBUCKET_VAULT_PASSWORD_FILE",
    ),
    "OOM": ("its memory is full", "raise maxmemory in its configuration"),
    "READONLY": ("it is a replica", "name the primary in the vault's address, or its Sentinels: redis+sentinel://"),
    "NOREPLICAS": ("too few of its replicas are connected", "check that they run, or lower its min-replicas-to-write"),
    "MISCONF": ("it cannot write to its disk", "check its disk and its log"),
    "LOADING": ("it is still loading its data", "try again in a minute"),
    "WRONGTYPE": FOREIGN,
}
_DENIED_COMMAND = re.compile(r"'([a-z|]{1,30})' command")


def explain(error: redis.RedisError, address: "ServerAddress", permissions: str) -> tuple[str, str | None]:
    """The cause and a hint; None for the usual one. `permissions` is the line that allows what is needed.

    What the server says is not repeated, beyond the name of a command.
    """
    text, code = str(error), error.status_code or str(error).split(" ")[0]
    if code == "NOPERM" or "ACL failure" in text:
        denied = _DENIED_COMMAND.search(text)
        what = f"the command {denied[1]}" if denied else "keys or a channel"
        return f"it denies {what} to this user", f"on the server, run: {permissions}"
    if code in _ANSWERS:
        return _ANSWERS[code]
    if isinstance(error, MasterNotFoundError):
        if " : " not in text:
            return f"its Sentinels know no primary named {shown(address.service)}", "check the vault's address"
        return "no Sentinel answers", None
    if isinstance(error, redis.TimeoutError):
        hint = "check that it runs, and with TLS: without, its address begins with redis://"
        return "no answer in time", None if address.tls is None else hint
    if isinstance(error, redis.ConnectionError):
        return _explain_connection(error, address)
    return _explain_answer(text, code, address)


def _explain_answer(text: str, code: str, address: "ServerAddress") -> tuple[str, str | None]:
    if text.startswith("DB index"):
        return f"it has no database {address.db}", "change the database's number in the vault's address"
    if text.startswith("unknown command") and address.service:
        return "that is no Sentinel", "name the Sentinels (port 26379), or begin a server's address with redis://"
    if text.startswith("unknown command"):
        return "it does not know a command that is needed", "if it is a Sentinel, the address is redis+sentinel://"
    return f"it answered {code[:40]!a}", None


def _explain_connection(error: BaseException, address: "ServerAddress") -> tuple[str, str | None]:
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            hint = "check ca= in the vault's address, and that the certificate is for the host that it names"
            return f"its certificate is not accepted ({shown(cause.verify_message)})", hint
        if isinstance(cause, ssl.SSLError):
            hint = "check ca=, cert= and key= in the vault's address; without TLS, it begins with redis://"
            return f"no TLS connection ({cause.reason})", hint
        if isinstance(cause, FileNotFoundError | PermissionError) and address.tls:
            return "a file of ca=, cert= or key= cannot be read", "check these paths in the vault's address"
        if isinstance(cause, socket.gaierror):
            return "no host has that name", "check the vault's address"
        if isinstance(cause, OSError) and cause.errno not in (None, errno.ECONNRESET):
            return f"no connection ({os.strerror(cause.errno).lower()})", None
    if address.tls is None and not address.path:
        return "no connection", "check that it runs and accepts this host; with TLS, its address begins with rediss://"
    return "no connection", None


def _causes(error: BaseException | None) -> "Iterator[BaseException]":
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
