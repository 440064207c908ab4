"""Builds an agent from its surroundings: the vault's path, the key's sources, the hosts in git's configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from git_credential_bitbucket.agent.agent import Agent
from git_credential_bitbucket.bitbucket import scopes
from git_credential_bitbucket.errors import Error
from git_credential_bitbucket.vault.storage.file import no_step
from git_credential_bitbucket.vault.storage.memory import MemoryStorage
from git_credential_bitbucket.vault.storage.selection import open_storage
from git_credential_bitbucket.vault.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Future

    from git_credential_bitbucket.agent.credential import Credential
    from git_credential_bitbucket.bitbucket.providers import Provider
    from git_credential_bitbucket.vault.key import Key


def build_agent(
    env: Mapping[str, str],
    submit: Callable[[Callable[[], Any]], Future[Any]],
    find_provider: Callable[[str, str], Provider | None],
    *,
    in_memory: bool = False,
    with_key: bool = True,
    step: Callable[[str], None] = no_step,
    submit_renewal: Callable[[Callable[[], Any]], Future[Any]] | None = None,
) -> Agent:
    """An agent for the user of `env`; `in_memory` keeps the whole vault there, else it is where `env` says.

    `with_key` uses a key that `env` itself holds at once. `step` is told the named points of a renewal and of a write.
    `submit` and `submit_renewal` are `Agent`'s.
    """
    storage = MemoryStorage() if in_memory else open_storage(env, step)
    vault = Vault(storage, _key_at_hand(env) if with_key else None)
    memory = Vault(MemoryStorage())
    agent = Agent(
        vault,
        memory,
        find_provider,
        lambda create: vault.acquire(env, create=create),
        submit,
        step=step,
        submit_renewal=submit_renewal,
    )
    agent.renewals.environment = env
    agent.renewals.with_endpoint = lambda credential: _with_endpoint(env, credential)
    return agent


def _with_endpoint(env: Mapping[str, str], credential: Credential) -> Credential:
    """A credential with its host's endpoint as git's configuration has it now. For a job: it runs git."""
    from git_credential_bitbucket.bitbucket import providers  # lazy: only a renewal needs it

    kept = providers.Endpoint.from_record(credential.endpoint or {})
    now = providers.current_endpoint(env, *scopes.split_host(credential.place), kept)
    return credential._replace(endpoint=now.to_record())


def _key_at_hand(env: Mapping[str, str]) -> Key | None:
    """The key that `env` holds or names a file for: the first answer then needs no job, whose threads cost 7 ms.

    Whether it fits the vault shows when that is opened, and what is wrong with it is told when it is asked for.
    """
    from git_credential_bitbucket.vault import key_sources  # lazy: a successor is handed its key

    try:
        return key_sources.from_environment(env)
    except Error:
        return None
