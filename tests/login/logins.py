"""A login that runs beside the test."""

import threading
from collections.abc import Callable
from queue import Queue

from git_credential_bitbucket.bitbucket.providers import Provider
from git_credential_bitbucket.errors import Error
from git_credential_bitbucket.login import browser
from git_credential_bitbucket.login.authorization import Attempt
from git_credential_bitbucket.login.pages import Page


class RunningLogin:
    """A login that waits for its browser. Its state: the address that it shows, and what became of it."""

    def __init__(self, attempt: Attempt, redeem: Callable[[str], Page]) -> None:
        self._shown: Queue[str] = Queue()
        self.error: Error | None = None
        self._thread = threading.Thread(target=self._run, args=(attempt, redeem), daemon=True)
        self._thread.start()
        self.url = self._shown.get(timeout=60)

    def end(self) -> None:
        """Wait for its end."""
        self._thread.join(60)
        assert not self._thread.is_alive()

    def _run(self, attempt: Attempt, redeem: Callable[[str], Page]) -> None:
        try:
            browser.log_in(
                attempt, redeem=redeem, show=self._shown.put, warn=no_warning, open_browser=False, timeout_s=60
            )
        except Error as exc:
            self.error = exc


def attempt_at(provider: Provider, *, implicit: bool = False) -> Attempt:
    """A login with a provider's consumer, which asks for no more than to fetch and push."""
    return Attempt(provider, provider.client_id or "", ("repository", "repository:write"), implicit=implicit)


def no_warning(cause: str, hint: str) -> None:
    """What nothing in these tests gives an occasion for."""
    raise AssertionError(f"{cause}; {hint}")
