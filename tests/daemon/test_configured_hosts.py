"""Which hosts are ours, while git's configuration changes."""

from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from git_credential_bitbucket.daemon.configured_hosts import ConfiguredHosts


def done_at_once(job: Callable[[], Any]) -> Future[Any]:
    """A job that has ended when `submit` returns."""
    future: Future[Any] = Future()
    future.set_result(job())
    return future


class Interrupting(dict[str, str]):
    """An environment that something happens in the middle of a look into."""

    then: Callable[[], object] | None = None

    def get(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - dict's own signature
        """As a dict's; the first time, `then` is called before."""
        then, self.then = self.then, None
        if then is not None:
            then()
        return super().get(name, default)


def test_a_reading_that_ends_in_the_middle_of_a_question_counts_for_the_next(bare_env: dict[str, str]) -> None:
    """What was found by the old configuration is not remembered for the new one: a host that was taken out is out."""
    config = Path(bare_env["HOME"]) / ".gitconfig"
    config.write_text('[credential "https://git.example"]\n\tprovider = bitbucket\n')
    env = Interrupting(bare_env)
    hosts = ConfiguredHosts(env, done_at_once)
    hosts.after_reading(lambda: b"")
    config.write_text("")

    def read_anew() -> None:
        hosts._read()

    env.then = read_anew
    assert hosts.find("https", "git.example") is not None
    assert hosts.find("https", "git.example") is None


def test_a_command_that_follows_a_change_at_once_knows_of_it(bare_env: dict[str, str]) -> None:
    """Configured, and logged in a moment later: the interval is for git's requests alone."""
    config = Path(bare_env["HOME"]) / ".gitconfig"
    config.write_text("")
    hosts = ConfiguredHosts(bare_env, done_at_once)
    hosts.after_reading(lambda: b"")
    config.write_text('[credential "https://git.example"]\n\tprovider = bitbucket\n')
    assert hosts.known("https", "git.example")
    assert hosts.find("https", "git.example") is None
    answer = hosts.after_reading(lambda: b"read")
    assert not isinstance(answer, bytes)
    assert hosts.find("https", "git.example") is not None
