"""Owns what the fault tests run on: a home with a key file, daemons in it, its vault as the next process finds it."""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from git_credential_bitbucket.agent.renewal import merge_answer
from git_credential_bitbucket.vault.key import Key
from git_credential_bitbucket.vault.storage.file import FileStorage
from git_credential_bitbucket.vault.vault import Vault
from tests.daemon.daemons import Daemon
from tests.fake_bitbucket.client import ConsumerKey, FakeBitbucket


class Machine:
    """One home of one user. Its state: the environment of its programs, the key, the OAuth consumer."""

    def __init__(self, home: Path, bitbucket: FakeBitbucket, consumer: ConsumerKey) -> None:
        """`home` is an empty directory with a short path; the environment is built up from nothing."""
        self.home = home
        self.standin = bitbucket
        self.consumer = consumer
        self.started: list[Daemon] = []
        self.material = os.urandom(32)
        key = home / "key"
        descriptor = os.open(key, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o400)
        os.write(descriptor, self.material)
        os.close(descriptor)
        (home / "run").mkdir(mode=0o700, exist_ok=True)
        (home / ".gitconfig").write_text(config_of(bitbucket))
        os.utime(home / ".gitconfig", (0, 0))  # one that was written just now is read again and again
        self.env = {
            "HOME": str(home),
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LC_ALL": "C.UTF-8",
            "XDG_RUNTIME_DIR": str(home / "run"),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_SSL_CAINFO": shutil.copy(bitbucket.ca_file, str(home / "ca.pem")),
            "GIT_CREDENTIAL_BITBUCKET_VAULT": str(home / "data" / "vault"),
            "GIT_CREDENTIAL_BITBUCKET_KEY_FILE": str(key),
            "GIT_CREDENTIAL_BITBUCKET_KEYRING": "off",
        }

    @property
    def path(self) -> Path:
        """The vault."""
        return Path(self.env["GIT_CREDENTIAL_BITBUCKET_VAULT"])

    def daemon(
        self, *, enter: str | None = None, more: Mapping[str, str] | None = None, launcher: Sequence[str] = ()
    ) -> Daemon:
        """A daemon that is ready; with `more` in its environment. `started` has all of them."""
        daemon = Daemon({**self.env, **(more or {})}, enter=enter, launcher=launcher)
        self.started.append(daemon)
        assert daemon.told == "ready\n", daemon.told
        return daemon

    def vault(self) -> Vault:
        """The vault as the next process finds it."""
        vault = Vault(FileStorage(str(self.path), lock_timeout_s=20), Key(self.material, "file"))
        vault.merge = merge_answer
        return vault

    def records(self) -> list[dict[str, Any]]:
        """What the vault holds, read from the disk."""
        found: list[dict[str, Any]] = self.vault().snapshot().content.get("credentials", [])
        return found

    def request(self, path: str = "", **more: str) -> bytes:
        """What git writes for a repository on the stand-in."""
        fields = {"protocol": "https", "host": self.standin.netloc, **({"path": path} if path else {}), **more}
        return "".join(f"{key}={value}\n" for key, value in fields.items()).encode()

    def add(self, daemon: Daemon, **record: object) -> str:
        """Have a daemon keep what a login brings; the credential's id."""
        whole = {"place": self.standin.url, **record}
        told = daemon.told_about("add", f"record={json.dumps(whole)}\n".encode())
        assert "id" in told, told
        return told["id"]

    def log_in(self, daemon: Daemon, *, expires_in: float = 7200, place: str = "") -> str:
        """Have a daemon keep an OAuth login of alice's; the credential's id."""
        access, refresh = self.standin.issue_login(self.consumer)
        return self.add(
            daemon,
            place=self.standin.url + place,
            kind="oauth",
            secret=access,
            refresh_token=refresh,
            expires_in=expires_in,
            **self.renewed_by(),
        )

    def renewed_by(self) -> dict[str, object]:
        """What a renewal needs to know."""
        endpoint = {
            "authorize_url": f"{self.standin.url}/site/oauth2/authorize",
            "token_url": f"{self.standin.url}/site/oauth2/access_token",
            "revoke_url": f"{self.standin.url}/site/oauth2/revoke",
            "api_url": self.standin.api_url,
            "ca_file": self.standin.ca_file,
        }
        return {"client_id": self.consumer.key, "client_secret": self.consumer.secret, "endpoint": endpoint}


def config_of(bitbucket: FakeBitbucket) -> str:
    """A git configuration that names the stand-in as a Bitbucket host."""
    lines = []
    for name, value in bitbucket.git_config():
        section, _, key = name.rpartition(".")
        kind, _, url = section.partition(".")
        lines.append(f'[{kind} "{url}"]\n\t{key} = {value}\n')
    return "".join(lines)
