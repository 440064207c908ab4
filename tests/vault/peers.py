"""The real peers of the vault's tests: a gnome-keyring on a bus of its own, small or read-only disks, another user."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Self

import pytest
from jeepney import DBusAddress, HeaderFields, MatchRule, message_bus, new_method_call  # type: ignore[import-untyped] # has no types  # it ships no types
from jeepney.io.blocking import DBusConnection, Proxy, open_dbus_connection  # type: ignore[import-untyped] # has no types
from secretstorage import Collection
from secretstorage.collection import SESSION_COLLECTION
from secretstorage.defines import SS_PATH
from secretstorage.util import BUS_NAME, DBusAddressWrapper, format_secret, open_session

from tests.daemon.daemons import eventually

REPOSITORY = Path(__file__).parents[2]
NOBODY = 65534
READY_TIMEOUT_S = 60
Child = subprocess.Popen[str]
LOGIN_COLLECTION = "/org/freedesktop/secrets/collection/login"
_BUS_CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path={socket}</listen>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
    {policy}
  </policy>
</busconfig>
"""
DENY_SECRETS = f'<deny send_destination="{BUS_NAME}" send_interface="org.freedesktop.Secret.Service"/>'


def programs_missing() -> str:
    """What a keyring of our own lacks here; empty where it lacks nothing."""
    for program, package in (("dbus-daemon", "dbus"), ("gnome-keyring-daemon", "gnome-keyring")):
        if shutil.which(program) is None:
            return f"{program} is not installed (Debian package {package})"
    return ""


class KeyringSession:
    """A gnome-keyring-daemon with a login keyring, unlocked, on a private D-Bus. Its state: the two processes."""

    def __init__(self, home: Path, *, keyring: bool = True, policy: str = "") -> None:
        """`keyring=False` leaves the bus empty; `policy` adds D-Bus rules."""
        if missing := programs_missing():
            pytest.skip(missing)
        self._password = os.urandom(12).hex()
        self.env = {
            "HOME": str(home),
            "PATH": "/usr/bin:/bin",
            "XDG_RUNTIME_DIR": str(home / "run"),
            "XDG_DATA_HOME": str(home / ".local" / "share"),
            "DBUS_SESSION_BUS_ADDRESS": f"unix:path={home}/run/bus",
        }
        config = home / "bus.conf"
        config.write_text(_BUS_CONFIG.format(socket=home / "run" / "bus", policy=policy))
        self.bus = subprocess.Popen(
            ["dbus-daemon", "--nofork", "--print-address", f"--config-file={config}"],
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self.bus.stdout is not None
        assert self.bus.stdout.readline()  # it prints its address when it listens
        self.keyring = self._start_keyring() if keyring else None
        if keyring and not policy:
            eventually(self._has_login_keyring)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in (self.keyring, self.bus):
            if process is not None:
                process.kill()
                process.wait()
        assert self.bus.stdout is not None
        self.bus.stdout.close()

    def lock(self) -> None:
        """Lock the login keyring, as the screen lock of some desktops does."""
        with closing(self.connection()) as bus:
            Collection(bus, LOGIN_COLLECTION).lock()

    def unlock(self) -> None:
        """Unlock it with its password, as the person's desktop would."""
        with closing(self.connection()) as bus:
            session = open_session(bus)
            inner = DBusAddressWrapper(SS_PATH, "org.gnome.keyring.InternalUnsupportedGuiltRiddenInterface", bus)
            secret = format_secret(session, self._password.encode(), "text/plain")
            inner.call("UnlockWithMasterPassword", "o(oayays)", LOGIN_COLLECTION, secret)

    def make_session_collection_the_default(self) -> None:
        """Point the default alias to the collection that lives in memory only."""
        with closing(self.connection()) as bus:
            service = DBusAddressWrapper(SS_PATH, "org.freedesktop.Secret.Service", bus)
            service.call("SetAlias", "so", "default", SESSION_COLLECTION)

    def items(self) -> list[str]:
        """The labels of what the login keyring holds."""
        with closing(self.connection()) as bus:
            return [item.get_label() for item in Collection(bus, LOGIN_COLLECTION).get_all_items()]

    @contextmanager
    def watching_prompts(self) -> "Iterator[Callable[[], int]]":
        """Counts how often anybody asks the keyring for a dialogue, as seen on the bus by its monitor."""
        with closing(self.connection()) as monitor:
            rule = MatchRule(type="method_call", interface="org.freedesktop.Secret.Prompt", member="Prompt")
            monitoring = DBusAddress(message_bus.object_path, message_bus.bus_name, "org.freedesktop.DBus.Monitoring")
            monitor.send_and_get_reply(new_method_call(monitoring, "BecomeMonitor", "asu", ([rule.serialise()], 0)))

            def count() -> int:
                seen = 0
                with contextlib.suppress(TimeoutError):
                    while True:
                        message = monitor.receive(timeout=0.2)
                        seen += message.header.fields.get(HeaderFields.member) == "Prompt"
                return seen

            yield count

    def connection(self) -> DBusConnection:
        """A connection to the bus."""
        return open_dbus_connection(self.env["DBUS_SESSION_BUS_ADDRESS"], auth_timeout=READY_TIMEOUT_S)

    def _has_login_keyring(self) -> bool:
        with closing(self.connection()) as bus:
            service = DBusAddressWrapper(SS_PATH, "org.freedesktop.Secret.Service", bus)
            return bool(service.call("ReadAlias", "s", "default") == (LOGIN_COLLECTION,))

    def _start_keyring(self) -> "subprocess.Popen[bytes]":
        rule = MatchRule(
            type="signal", sender=message_bus.bus_name, interface=message_bus.interface, member="NameOwnerChanged"
        )
        rule.add_arg_condition(0, BUS_NAME)
        with closing(self.connection()) as connection, connection.filter(rule) as owners:
            Proxy(message_bus, connection).AddMatch(rule)
            process = subprocess.Popen(
                ["gnome-keyring-daemon", "--foreground", "--unlock", "--components=secrets"],
                env=self.env,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            assert process.stdin is not None
            process.stdin.write(self._password.encode())
            process.stdin.close()
            connection.recv_until_filtered(owners, timeout=READY_TIMEOUT_S)
        return process


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """A tmpfs with `options` mounted at `folder`; skips where mounting is not allowed."""
    folder.mkdir(mode=0o700, parents=True)
    answer = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"mode=0700,{options}", "tmpfs", folder], capture_output=True, check=False
    )
    if answer.returncode:
        pytest.skip("mounting a tmpfs takes root with CAP_SYS_ADMIN")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Make a mounted `folder` read-only inside, once nobody writes there: modes do not stop root, a mount does."""
    eventually(lambda: not subprocess.run(["mount", "-o", "remount,ro", folder], check=False).returncode)
    try:
        yield
    finally:
        subprocess.run(["mount", "-o", "remount,rw", folder], check=True)


def python(code: str, *arguments: object, env: Mapping[str, str] | None = None) -> list[str]:
    """Run `code` in a Python of its own and return the lines it printed; its failure is the test's."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    answer = subprocess.run(
        command, env=dict(env or {}), cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=60
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout.split("\n")[:-1]


@contextmanager
def running(code: str, *arguments: object) -> Iterator[Child]:
    """`code` in a Python that runs beside the test and is killed at its end; its stdout and stdin are pipes."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={},
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    with process:
        try:
            yield process
        finally:
            process.kill()
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()


def line_of(child: Child) -> str:
    """The next line that `child` prints; waiting for it is how the tests wait for anything."""
    assert child.stdout is not None
    return child.stdout.readline().rstrip("\n")


def give(child: Child, *lines: str) -> None:
    """Write `lines` to the child's stdin."""
    assert child.stdin is not None
    child.stdin.write("".join(f"{line}\n" for line in lines))
    child.stdin.flush()


def as_nobody(code: str, *arguments: object) -> list[str]:
    """Run `code` as an unprivileged user: imports first, for that user may not be able to read this Python."""
    if os.geteuid() != 0:
        pytest.skip("becoming another user takes root")
    prelude = f"""
import os, sys
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from git_credential_bitbucket.errors import *
from git_credential_bitbucket.vault import key_sources, vault
from git_credential_bitbucket.vault.storage import file
from git_credential_bitbucket.vault.key import Key
from git_credential_bitbucket.vault.storage.file import FileStorage
from git_credential_bitbucket.vault.vault import Vault
import cryptography.exceptions, shlex
os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})
"""
    return python(prelude + code, *arguments)
