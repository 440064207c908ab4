"""What the fault tests run on: a home with a key file, daemons in it, its vault as the next process finds it."""

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
from tests.sandbox import Sandbox, endpoint_of, environment, key_settings, write_git_config


class Machine(Sandbox):
    """A machine of one user. Its state: beside the sandbox's the key, the OAuth consumer, the daemons started."""

    def __init__(self, home: Path, bitbucket: FakeBitbucket, consumer: ConsumerKey) -> None:
        """`home` is an empty directory with a short path; the environment is built up from nothing."""
        self.material = os.urandom(32)
        super().__init__(home, {**environment(home), **key_settings(home, self.material)})
        for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"):
            del self.env[name]  # a test that changes HOME moves everything with it
        self.env["GIT_CREDENTIAL_BITBUCKET_VAULT"] = str(home / "data" / "vault")
        self.standin = bitbucket
        self.consumer = consumer
        self.started: list[Daemon] = []
        (home / "run").mkdir(mode=0o700, exist_ok=True)
        write_git_config(home / ".gitconfig", bitbucket.git_config())
        os.utime(home / ".gitconfig", (0, 0))  # one that was written just now is read again and again
        self.env["GIT_SSL_CAINFO"] = shutil.copy(bitbucket.ca_file, str(home / "ca.pem"))

    @property
    def path(self) -> Path:
        """The vault."""
        return self.vault_file

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
        """Have a daemon store what a login brings; the credential's id."""
        whole = {"place": self.standin.url, **record}
        told = daemon.told_about("add", f"record={json.dumps(whole)}\n".encode())
        assert "id" in told, told
        return told["id"]

    def log_in(self, daemon: Daemon, *, expires_in: float = 7200, place: str = "") -> str:
        """Have a daemon store an OAuth login of alice's; the credential's id."""
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
        endpoint = endpoint_of(self.standin).to_record()
        return {"client_id": self.consumer.key, "client_secret": self.consumer.secret, "endpoint": endpoint}


def machines_with_one_vault(home: Path, bitbucket: FakeBitbucket, url: str, count: int) -> list[Machine]:
    """So many machines with one key, whose vault is the shared one at `url`."""
    made: list[Machine] = []
    for number in range(count):
        (home / f"h{number}").mkdir()
        made.append(Machine(home / f"h{number}", bitbucket, made[0].consumer if made else bitbucket.add_consumer()))
        made[-1].env["GIT_CREDENTIAL_BITBUCKET_VAULT"] = url
        made[-1].env["GIT_CREDENTIAL_BITBUCKET_KEY_FILE"] = made[0].env["GIT_CREDENTIAL_BITBUCKET_KEY_FILE"]
    return made
