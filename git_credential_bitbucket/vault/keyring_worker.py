"""The child process that talks to the keyring, so that a hanging D-Bus or dialogue blocks no one. See keyring_key.

A newline on stdout when it has started; one JSON request on stdin, one JSON answer on stdout: {"key": text or null} or
{"reason": …, "cause": …}. Imports keyring and its back ends, which nothing else in the program may. What a library
prints never gets into the answer.
"""

import json
import os
import resource
import signal
import sys
from contextlib import closing, suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

from git_credential_bitbucket.processes import START_LIMIT_S, import_secretstorage

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

SECRET_SERVICE = ("keyring.backends.SecretService.Keyring", "keyring.backends.libsecret.Keyring")
KWALLET = ("keyring.backends.kwallet.DBusKeyring", "keyring.backends.kwallet.DBusKeyringKWallet4")
ACCEPTED = (*SECRET_SERVICE, *KWALLET, "keyring.backends.macOS.Keyring", "keyring.backends.Windows.WinVaultKeyring")
"""By name: every back end that is not known to encrypt is refused, whatever priority it gives itself."""
NOTHING = ("keyring.backends.fail.Keyring", "keyring.backends.null.Keyring")


class Unavailable(Exception):
    """Why there is no key: `reason` as in errors.KeyringUnavailable."""

    def __init__(self, reason: str, cause: str) -> None:
        """`cause` is lower case without a full stop."""
        super().__init__(cause)
        self.reason = reason


def main() -> None:
    """Answer the one request."""
    answer_fd = os.dup(1)
    os.dup2(2, 1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.alarm(START_LIMIT_S + 1)  # the parent may be killed before it kills us
    _import_libraries()
    os.write(answer_fd, b"\n")
    request = json.loads(sys.stdin.buffer.read())
    signal.alarm(request["limit_s"] + 1)
    try:
        answer = {"key": _carry_out(request)}
    except Unavailable as exc:
        answer = {"reason": exc.reason, "cause": str(exc)}
    os.write(answer_fd, json.dumps(answer).encode())


def _import_libraries() -> None:
    """The slow part, which asks nobody anything."""
    import_module("keyring.errors")
    with suppress(ImportError):  # Linux only
        import_secretstorage()


def _carry_out(request: dict[str, Any]) -> str | None:
    from keyring.errors import InitError, KeyringError, KeyringLocked, PasswordDeleteError

    ring = _accepted(_chosen())
    unlock: bool = request["unlock"]
    _check(ring, unlock=unlock)
    service, account = request["service"], request["account"]
    try:
        if request["operation"] == "set":
            ring.set_password(service, account, request["key"])
        elif request["operation"] == "delete":
            ring.delete_password(service, account)
        return ring.get_password(service, account)
    except PasswordDeleteError:
        return None
    except (KeyringLocked, InitError) as exc:
        if unlock:
            raise Unavailable("denied", "the keyring is still locked: its dialogue was dismissed") from exc
        raise Unavailable("locked", "the keyring is locked") from exc
    except KeyringError as exc:
        raise Unavailable("denied", f"the keyring reported an error: {type(exc).__name__}") from exc


def _chosen() -> "KeyringBackend":
    """What the user or keyring's own priorities chose."""
    import keyring

    try:
        return keyring.get_keyring()
    except (ImportError, AttributeError, RuntimeError, ValueError) as exc:  # a back end named that does not work here
        raise Unavailable("absent", "the configured keyring back end does not work here") from exc


def _accepted(ring: "KeyringBackend") -> "KeyringBackend":
    """The first accepted one of `ring`'s members: a chainer would go on to a plain-text one where the first says no."""
    from keyring.backends.chainer import ChainerBackend

    members = ring.backends if isinstance(ring, ChainerBackend) else [ring]
    for member in members:
        if name_of(member) in ACCEPTED:
            return member
    others = [name for member in members if (name := name_of(member)) not in NOTHING]
    if others:
        raise Unavailable("plaintext", f"the only keyring is {others[0]}, which is not known to encrypt")
    raise Unavailable("absent", "there is no keyring")


def name_of(ring: "KeyringBackend") -> str:
    """The name that `ACCEPTED` goes by."""
    return f"{type(ring).__module__}.{type(ring).__qualname__}"


def _check(ring: "KeyringBackend", *, unlock: bool) -> None:
    """Raise `Unavailable` where `ring` cannot be reached, and, without `unlock`, where asking it shows a dialogue."""
    if name_of(ring) in SECRET_SERVICE:
        _check_secret_service(unlock=unlock)
    elif name_of(ring) in KWALLET and not unlock:
        _check_kwallet(ring)


def _check_secret_service(*, unlock: bool) -> None:
    import secretstorage
    from jeepney import DBusErrorResponse  # type: ignore[import-untyped]  # it ships no types
    from secretstorage.collection import SERVICE_IFACE, SESSION_COLLECTION
    from secretstorage.defines import SS_PATH
    from secretstorage.util import DBusAddressWrapper

    try:
        with closing(secretstorage.dbus_init()) as bus:
            # ReadAlias and not get_default_collection: that one makes a collection, by a dialogue, where there is none
            (path,) = DBusAddressWrapper(SS_PATH, SERVICE_IFACE, bus).call("ReadAlias", "s", "default")
            if path == SESSION_COLLECTION:
                raise Unavailable("absent", "the only keyring is deleted at logout")
            if not unlock and (path == "/" or secretstorage.Collection(bus, path).is_locked()):
                raise Unavailable("locked", "the keyring is locked" if path != "/" else "no keyring is set up")
    except secretstorage.SecretStorageException as exc:
        raise Unavailable("absent", "the keyring's service cannot be reached") from exc
    except DBusErrorResponse as exc:
        raise Unavailable("denied", f"D-Bus error: {exc.name}") from exc


def _check_kwallet(ring: Any) -> None:  # noqa: ANN401 - keyring has no types, and dbus-python is there on KDE only
    dbus = import_module("dbus")
    try:
        remote = dbus.SessionBus().get_object(ring.bus_name, ring.object_path)
        wallet = dbus.Interface(remote, "org.kde.KWallet")
        if not wallet.isOpen(wallet.networkWallet()):
            raise Unavailable("locked", "the wallet is closed")
    except dbus.DBusException as exc:
        raise Unavailable("absent", "KWallet cannot be reached") from exc
