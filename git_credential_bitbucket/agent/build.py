"""Puts an agent together from its surroundings: the vault's place, the key's sources, the hosts in git's config."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from git_credential_bitbucket import paths
from git_credential_bitbucket.agent.agent import Agent
from git_credential_bitbucket.bitbucket import hosts
from git_credential_bitbucket.errors import SettingsError
from git_credential_bitbucket.vault.memory import MemoryPlace
from git_credential_bitbucket.vault.place import FilePlace
from git_credential_bitbucket.vault.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Future

    from git_credential_bitbucket.bitbucket.providers import Provider


def build(
    env: Mapping[str, str],
    submit: Callable[[Callable[[], Any]], Future[Any]],
    find_provider: Callable[[str, str], Provider | None],
) -> Agent:
    """An agent for the user of `env`."""
    vault = Vault(FilePlace(paths.vault_path(env)))
    return Agent(
        vault,
        Vault(MemoryPlace()),
        find_provider,
        lambda create: vault.acquire(env, create=create),
        submit,
    )


def find_now(env: Mapping[str, str], protocol: str, host: str) -> Provider | None:
    """The provider of a host, git's configuration read on the spot. Raises `SettingsError` where that decides."""
    from git_credential_bitbucket import settings  # here, not above: the daemon reads them in a job of its own
    from git_credential_bitbucket.bitbucket import providers

    try:
        known = settings.read(env)
    except SettingsError:
        if not hosts.is_cloud(protocol, host):
            raise
        known = None
    return providers.find(known, protocol, host, env)
