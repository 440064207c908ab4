"""The Bitbucket hosts of git's configuration: read by a job when first needed, and again when its files change."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from git_credential_bitbucket.agent.deferred_answer import Deferred
from git_credential_bitbucket.bitbucket import hosts
from git_credential_bitbucket.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Future

    from git_credential_bitbucket.bitbucket.providers import Provider
    from git_credential_bitbucket.git_config import GitConfig

CHECK_INTERVAL_S = 1.0
"""The interval at which the files' stamps are compared for git's requests."""
MAX_CACHED = 256
"""Cached hosts; a peer that names ever new ones must not fill the memory."""


class ConfiguredHosts:
    """The cached configuration, and the providers found in it."""

    def __init__(self, env: Mapping[str, str], submit: Callable[..., Future[None]]) -> None:
        """`env` is the starter's: it says where git's configuration is."""
        self._env = env
        self._submit = submit
        self._settings: GitConfig | SettingsError | None = None
        self._checked_at = float("-inf")
        self._reading: Future[None] | None = None
        self._found: dict[tuple[str, str], Provider | None] = {}

    def find(self, protocol: str, host: str) -> Provider | None:
        """The provider of `host`, by the configuration as read. Raises `SettingsError` where it cannot be."""
        named = (protocol, host)
        found = self._found  # the job may replace it: results of the old configuration stay in the old cache
        if named not in found:
            if len(found) >= MAX_CACHED:
                found.clear()
            from git_credential_bitbucket.bitbucket import providers  # lazy: 3 ms, and few answers need it

            found[named] = providers.find(self._settings, protocol, host, self._env)
        return found[named]

    def known(self, protocol: str, host: str) -> bool:
        """Whether `find` needs no reading first: bitbucket.org needs no configuration."""
        if self._settings is None:
            return hosts.is_cloud(protocol, host)
        return self.current() is not None

    def current(self) -> object:
        """What stands for the configuration as it is, another after each change; None where it has to be read first.

        bitbucket.org needs none, so nothing has to be read while it alone is asked for.
        """
        found = self._found
        if self._settings is None or time.monotonic() - self._checked_at < CHECK_INTERVAL_S or self._is_current():
            return found
        return None

    def _is_current(self) -> bool:
        if self._settings is None or isinstance(self._settings, SettingsError) or self._settings.is_stale():
            return False
        self._checked_at = time.monotonic()
        return True

    def after_reading(self, go_on: Callable[[], bytes | Deferred]) -> bytes | Deferred:
        """Read the configuration unless it is current, then call `go_on`. Concurrent requests share one reading.

        The files are looked at without an interval: a command may follow at once the one that configured its host.
        """
        if self._is_current():
            return go_on()
        if self._reading is None or self._reading.done():
            self._reading = self._submit(self._read)
        return Deferred(self._reading, go_on)

    def _read(self) -> None:
        """A job. `find` raises its error; for git it is tried again after `CHECK_INTERVAL_S`."""
        from git_credential_bitbucket import git_config  # lazy: bitbucket.org is served without it

        try:
            self._settings = git_config.read(self._env)
        except SettingsError as exc:
            self._settings = exc
        self._found = {}
        self._checked_at = time.monotonic()
