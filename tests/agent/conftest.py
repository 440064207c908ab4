"""An agent over a real vault, its jobs in real threads, its clock in the test's hand, its Bitbucket the stand-in."""

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from git_credential_bitbucket import git_protocol
from git_credential_bitbucket.agent import retention
from git_credential_bitbucket.agent.agent import Agent
from git_credential_bitbucket.agent.credential import Credential
from git_credential_bitbucket.agent.deferred_answer import wait_for
from git_credential_bitbucket.bitbucket import token_kinds
from git_credential_bitbucket.bitbucket.providers import Provider
from git_credential_bitbucket.errors import VaultUnwritable
from git_credential_bitbucket.vault.key import Key
from git_credential_bitbucket.vault.storage.contract import Storage
from git_credential_bitbucket.vault.storage.file import FileStorage
from git_credential_bitbucket.vault.storage.memory import MemoryStorage
from git_credential_bitbucket.vault.vault import Renewing, Vault
from tests.fake_bitbucket.client import FakeBitbucket
from tests.sandbox import endpoint_of


class World:
    """One machine with a vault. Its state: the clock's offset, the key, the stand-in, the agents made."""

    def __init__(self, bitbucket: FakeBitbucket, folder: Path) -> None:
        self.standin = bitbucket
        self.offset = 0.0
        self.key = os.urandom(32)
        self.path = folder / "vault"
        self.executor = ThreadPoolExecutor(16)
        self.endpoint = endpoint_of(bitbucket)
        self.agent = self.another()

    def clock(self) -> float:
        """The time, as far as the test has moved it."""
        return time.time() + self.offset

    def another(self, step: Callable[[str], None] = lambda _: None, storage: Storage | None = None) -> Agent:
        """Another agent on the same vault, as another process would have it. `step` is told each point of a renewal."""
        vault = Vault(storage or FileStorage(str(self.path)))
        return Agent(
            vault,
            Vault(MemoryStorage()),
            self.find_provider,
            lambda _: vault.unlock(Key(self.key, "environment")),
            self.executor.submit,
            self.clock,
            step,
        )

    def find_provider(self, protocol: str, host: str) -> Provider | None:
        """The stand-in alone is ours."""
        if (protocol, host) != ("https", self.standin.netloc):
            return None
        return Provider(protocol, host, self.endpoint)

    def login(self, **more: object) -> Credential:
        """An OAuth login for the whole host, kept in the vault."""
        consumer = self.standin.add_consumer()
        access, refresh = self.standin.issue_login(consumer)
        record = {
            "kind": token_kinds.OAUTH,
            "place": self.standin.url,
            "secret": access,
            "refresh_token": refresh,
            "client_id": consumer.key,
            "client_secret": consumer.secret,
            "endpoint": self.endpoint.to_record(),
            "expires_in": 7200,
        }
        return self.keep(retention.credential_from_login(record | more, self.clock()))

    def keep(self, credential: Credential) -> Credential:
        """Put a credential into the vault."""
        return retention.add(self.agent.credential_store, credential, self.clock())

    def lines(self, text: str = "", path: str = "acme/app.git") -> git_protocol.Request:
        """A request to the stand-in."""
        head = f"protocol=https\nhost={self.standin.netloc}\n" + (f"path={path}\n" if path else "")
        return git_protocol.parse(f"{head}{text}".encode())

    def get(self, text: str = "", agent: Agent | None = None, path: str = "acme/app.git") -> dict[str, str]:
        """What git reads for a `get`."""
        reply = wait_for((agent or self.agent).get(self.lines(text, path)))
        return dict(line.split("=", 1) for line in reply.decode().split("\n") if line)

    def hanging(self, login: Credential, agent: Agent | None = None, count: int = 1) -> Future[Credential]:
        """A renewal whose request, the token endpoint's `count`-th, is not answered until `release`."""
        self.standin.script_fault("token", "hold")
        job = (agent or self.agent).renewals.start(login)
        self.standin.wait_for("token", count)
        return job

    def store(self, username: str, password: str, path: str = "acme/app.git", *, approved: bool = True) -> bytes:
        """What the `store` of `git credential approve` is answered, or of a git that was given a URL."""
        request = self.lines(f"username={username}\npassword={password}\n", path)
        return wait_for(self.agent.store(request, approves=lambda: approved))

    def erase(self, password: str | None = None, path: str = "acme/app.git") -> bytes:
        """What git's `erase` is answered."""
        text = "" if password is None else f"username=x\npassword={password}\n"
        return wait_for(self.agent.erase(self.lines(text, path)))

    @contextmanager
    def full_disk(self, *, has_room: bool = False) -> Iterator[None]:
        """While it lasts the disk takes no write of the vault, nor, without `has_room`, an answer into its room.

        The room itself is taken before the request, and to be had.
        """

        def full(*_: object, **__: object) -> None:
            raise VaultUnwritable("the disk is full")

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(FileStorage, "write", full)
            if not has_room:
                patched.setattr(Renewing, "keep", full)
            yield

    def kept(self) -> list[Credential]:
        """What the vault holds, read from the disk by somebody else."""
        vault = Vault(FileStorage(str(self.path)), Key(self.key, "environment"))
        return [Credential.from_record(r) for r in vault.snapshot().content.get("credentials", [])]


@pytest.fixture
def world(bitbucket: FakeBitbucket, home: Path) -> Iterator[World]:
    """A machine of this test's own."""
    made = World(bitbucket, home / "vaults")
    yield made
    made.executor.shutdown()
