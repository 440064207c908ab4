"""Writes the vaults of the release 0.1.0 into a folder, by that release's own code.

    mkdir /tmp/release && tar -C /tmp/release -xf tests/data/0.1.0/package.tar.xz
    PYTHONPATH=/tmp/release:. python tests/upgrade/make.py tests/data/0.1.0

Only the clock and the endpoints are the script's. Nothing is contacted: no token in it was ever issued by anybody.
"""

# It runs against the release, whose modules have other names: no tool can resolve them here.
# mypy: ignore-errors
# ruff: noqa: I001

import json
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from git_credential_bitbucket import wire
from git_credential_bitbucket.agent.agent import Agent
from git_credential_bitbucket.agent.control import control
from git_credential_bitbucket.agent.credential import digest
from git_credential_bitbucket.agent.pending import finish
from git_credential_bitbucket.bitbucket.providers import Endpoint, Provider
from git_credential_bitbucket.secret import Secret
from git_credential_bitbucket.vault import keys
from git_credential_bitbucket.vault.memory import MemoryPlace
from git_credential_bitbucket.vault.place import FilePlace
from git_credential_bitbucket.vault.vault import Vault
from tests.upgrade import release

CLOUD = "https://bitbucket.org"
ENDPOINT = Endpoint(
    f"{CLOUD}/site/oauth2/authorize",
    f"{CLOUD}/site/oauth2/access_token",
    f"{CLOUD}/site/oauth2/revoke",
    "https://api.bitbucket.org/2.0",
)


class Maker:
    """The release's agent on a new vault. Its state: the clock, which the recipe moves."""

    def __init__(self, path: Path, key: keys.Key) -> None:
        self.now = release.MADE_AT - 7200
        vault = Vault(FilePlace(str(path), clock=lambda: self.now))
        self.agent = Agent(
            vault,
            Vault(MemoryPlace()),
            lambda protocol, host: Provider(protocol, host, ENDPOINT) if host == "bitbucket.org" else None,
            lambda _: vault.unlock(key),
            ThreadPoolExecutor(1).submit,
            lambda: self.now,
        )

    def verb(self, action: str, **fields: str) -> dict[str, str]:
        """What a verb answers."""
        body = wire.emit(list(fields.items()))
        answer = finish(control(self.agent, action, body)).decode()
        assert answer.startswith("ok=1\n"), answer
        return dict(line.split("=", 1) for line in answer.split("\n") if line)

    def login(self, name: str, place: str, kind: str = "access-token", **more: object) -> str:
        """A log-in, as `login` sends it; the credential's id."""
        record = {"kind": kind, "place": f"{CLOUD}/{place}", "secret": release.secret(name, kind), **more}
        if kind in ("oauth", "client-credentials", "jwt-bearer"):
            record = {"client_id": "consumer", "client_secret": "of-nobody", "endpoint": ENDPOINT.to_record(), **record}
        return self.verb("add", record=json.dumps(record))["id"]

    def git(self, operation: str, name: str, username: str, path: str, kind: str = "access-token") -> bytes:
        """What git's `store` or `erase` is answered."""
        lines = f"protocol=https\nhost=bitbucket.org\npath={path}\nusername={username}\n"
        lines += f"password={release.secret(name, kind)}\n"
        answer = finish(getattr(self.agent, operation)(wire.parse(lines.encode())))
        assert answer.startswith(b"ok=1\n"), answer
        return answer

    def change(self, credential_id: str, **changes: object) -> None:
        """What a renewal would have written, had there been a Bitbucket."""
        self.agent.holdings.change(credential_id, lambda _: changes)


def make_all_states(path: Path) -> None:
    """Every kind and state, each in a workspace of its own."""
    maker = Maker(path, keys.Key(release.KEY, "file"))
    maker.login("login", "login", "api-token", account="alice@example.com")
    maker.login("nameless", "nameless", "api-token")
    maker.login("repository", "repository/app")
    maker.login("workspace", "workspace")
    maker.login("oauth", "oauth", "oauth", refresh_token="refresh-1", expires_in=28800, scopes=["repository"])
    maker.login("implicit", "implicit", "oauth", expires_in=28800)
    renewed = maker.login("renewed", "renewed", "oauth", refresh_token="refresh-2", expires_in=28800)
    before = digest(Secret(release.secret("before-renewed")))
    maker.change(renewed, generation=3, superseded=(before,), minted_at=maker.now, account="bob")
    expired = maker.login("expired", "expired", "oauth", refresh_token="refresh-3", expires_in=60)
    maker.change(expired, login_expired=True, failures=2, refusals=1, trouble="the log-in has ended")
    maker.login("consumer", "consumer", "client-credentials", expires_in=28800)
    maker.login("connect", "connect", "jwt-bearer", expires_in=28800, subject="client-key")
    maker.login("lifetime", "lifetime", lifetime=28800)
    ends = maker.login("ends", "ends")
    maker.verb("amend", id=ends, ends_at=str(release.MADE_AT + 5 * 86400))
    maker.git("store", "ends", "x-token-auth", "ends/app.git")
    maker.verb("warn", id=ends)
    maker.login("replaced", "replaced")
    maker.login("replacing", "replaced")
    maker.login("standing", "standing/app")
    maker.git("store", "in-reserve", "x-token-auth", "standing/app.git")
    maker.git("store", "typed", "x-token-auth", "typed/app.git")
    maker.git("store", "unknown", "carol", "unknown/app.git", "unknown")
    maker.git("store", "disabled", "x-token-auth", "disabled/app.git")
    for _ in range(3):
        maker.git("erase", "disabled", "x-token-auth", "disabled/app.git")
        maker.now += 1850
    maker.verb("backup-put", batch="b", part="what migrate took out of a file")
    maker.git("store", "suspended", "x-token-auth", "suspended/app.git")
    maker.now = release.MADE_AT
    maker.git("store", "foreign", "x-token-auth", "foreign/app.git", "unknown")
    maker.git("erase", "suspended", "x-token-auth", "suspended/app.git")
    maker.git("store", "login", "x-bitbucket-api-token-auth", "login/app.git", "api-token")
    maker.agent.close()


def make_two_accounts(path: Path) -> None:
    """API tokens as git stored them for two accounts of one host, under a key from the environment."""
    maker = Maker(path, keys.Key(release.KEY, "environment"))
    maker.git("store", "alice", "alice", "acme/app.git", "api-token")
    maker.git("store", "bob", "bob", "acme/app.git", "api-token")
    maker.agent.close()


def main(folder: Path) -> None:
    """Write them all."""
    with tempfile.TemporaryDirectory() as private:
        work = Path(private)
        make_all_states(work / "states.vault")
        make_two_accounts(work / "accounts.vault")
        stretched = keys.from_passphrase(Secret(release.PASSPHRASE))
        for source, key in (("passphrase", stretched), ("keyring", keys.Key(release.KEY, "keyring"))):
            Maker(work / f"{source}.vault", key).login(source, "acme")
        for name in ("states.vault", "states.vault.previous", "accounts.vault", "passphrase.vault", "keyring.vault"):
            shutil.copyfile(work / name, folder / name)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
