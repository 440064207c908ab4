"""The storage that the environment names: the vault's file, or a server that several hosts share."""

from typing import TYPE_CHECKING

from git_credential_bitbucket import paths
from git_credential_bitbucket.vault.storage.file import FileStorage, no_step

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from git_credential_bitbucket.vault.storage.contract import Storage


def open_storage(env: "Mapping[str, str]", step: "Callable[[str], None]" = no_step) -> "Storage":
    """The storage of `env`'s vault. Raises `SettingsError`, `InsecurePath`."""
    address, path = paths.vault_address(env), paths.vault_path(env)
    if not address.startswith(paths.SHARED):
        return FileStorage(path, step=step)
    # lazy: redis-py and what belongs to it cost 40 ms
    from git_credential_bitbucket.vault.storage.address import parse
    from git_credential_bitbucket.vault.storage.redis_server import RedisServer
    from git_credential_bitbucket.vault.storage.shared import SharedStorage

    return SharedStorage(RedisServer(parse(address), env), path, step=step)
