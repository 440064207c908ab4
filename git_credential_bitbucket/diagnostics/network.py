"""The way to Bitbucket: proxy, CA, name, TLS, and the clock that its answers are dated by. Sends no secret.

Every step has a limit, and a machine without a network gives one finding.
"""

from __future__ import annotations

import queue
import socket
import threading
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from git_credential_bitbucket.bitbucket import providers
from git_credential_bitbucket.diagnostics.finding import NOTE, OK, WRONG, Finding
from git_credential_bitbucket.errors import BitbucketUnreachable, Error
from git_credential_bitbucket.git_protocol import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from git_credential_bitbucket.bitbucket.providers import Endpoint, Provider
    from git_credential_bitbucket.diagnostics.finding import Scene

NAME_S = 5.0
"""For a name; the system's resolver may try for minutes."""
ANSWER_S = 12.0
"""For connection, TLS and answer of each of the two hosts, which are asked at once."""
SKEW_S, BAD_SKEW_S = 30.0, 300.0
"""Our own margins absorb half a minute; beyond five, tokens are taken for fresh or ended that are not."""
_ONLINE = "check the network, and http.proxy if there is a proxy in between"

Answer = TypeVar("Answer")


def look(scene: Scene) -> Iterator[Finding]:
    """Proxy and CA as they are configured, then the hosts themselves."""
    provider = providers.find(scene.trusted, scene.url.protocol, scene.url.host, scene.env)
    if provider is None:
        return
    yield from _configured(provider)
    providers.check_addresses(provider)  # what it raises is a finding
    entry = provider.endpoint.proxy or scene.url.base
    unknown = _unknown_name(entry)
    if unknown is not None:
        yield Finding("network", WRONG, unknown, _ONLINE)
        return
    yield from _hosts(scene, provider.endpoint)


def _configured(provider: Provider) -> Iterator[Finding]:
    endpoint = provider.endpoint
    if endpoint.proxy:
        yield Finding("proxy", OK, providers.origin(endpoint.proxy))
    if provider.unverified_by:
        cause = f"{provider.unverified_by} turns TLS verification off: anybody on the way can take the tokens"
        cure = "remove that setting, and name the server's CA in http.sslCAInfo instead; OAuth is refused until then"
        yield Finding("TLS", WRONG, cause, cure)
    if endpoint.ca_file:
        yield Finding("CA", OK, f"{endpoint.ca_file}, by {endpoint.ca_from}")


def _unknown_name(address: str) -> str | None:
    """What to say of a host whose name leads nowhere; None where it leads somewhere."""
    parts = urlsplit(address if "://" in address else f"http://{address}")
    name = parts.hostname or ""
    try:
        within(NAME_S, lambda: socket.getaddrinfo(name, parts.port or 443, type=socket.SOCK_STREAM))
    except TimeoutError:
        return f"nobody said within {NAME_S:.0f} s where {printable(name)} is (DNS)"
    except (OSError, UnicodeError):
        return f"the name {printable(name)} is not known (DNS)"
    return None


def _hosts(scene: Scene, endpoint: Endpoint) -> Iterator[Finding]:
    """The web host, which git talks to, and REST's, which only log-ins are checked at."""
    addresses = {"web": endpoint.token_url, "REST": f"{endpoint.api_url}/user"}
    answers: dict[str, float | Error | None] = {}

    def ask(name: str) -> None:
        answers[name] = _answered(endpoint, addresses[name])

    threads = [threading.Thread(target=ask, args=(name,), daemon=True) for name in addresses]
    deadline = time.monotonic() + ANSWER_S
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    for name, address in addresses.items():
        cause = f"{providers.origin(address)} gave no whole answer within {ANSWER_S:.0f} s"
        answers.setdefault(name, BitbucketUnreachable(cause, hint=_ONLINE))
    web, rest = answers["web"], answers["REST"]
    if isinstance(web, Error):
        yield Finding("network", WRONG, web.cause, web.hint)
    else:
        yield Finding("network", OK, f"{providers.origin(scene.url.base)} answers, and its certificate is trusted")
        yield from _clock(web)
    if isinstance(rest, Error) and not isinstance(web, Error):
        yield Finding("network", NOTE, f"{rest.cause}; git does without it", rest.hint)


def _answered(endpoint: Endpoint, url: str) -> float | Error | None:
    """How far the answer's date is ahead of our clock, None where it has none; or why there is no answer."""
    from git_credential_bitbucket.bitbucket import transport  # lazy: 110 ms, and doctor first says what it can without

    try:
        date = transport.ask(endpoint, "GET", url).headers.get("Date", "")
        return parsedate_to_datetime(date).timestamp() - time.time()
    except (ValueError, OverflowError):  # no date that can be read
        return None
    except Error as exc:
        return exc


def _clock(ahead: float | None) -> Iterator[Finding]:
    if ahead is None:
        return
    cure = "set this machine's clock: timedatectl set-ntp true"
    which = "behind" if ahead > 0 else "ahead of"
    if abs(ahead) > SKEW_S:
        level = WRONG if abs(ahead) > BAD_SKEW_S else NOTE
        yield Finding("clock", level, f"this machine's clock is {abs(ahead):.0f} s {which} Bitbucket's", cure)
    else:
        yield Finding("clock", OK, "it agrees with Bitbucket's")


def within(seconds: float, work: Callable[[], Answer]) -> Answer:
    """What `work` returns or raises, or TimeoutError; it goes on in a thread that holds nobody up."""
    done: queue.Queue[tuple[Answer | None, BaseException | None]] = queue.Queue()

    def run() -> None:
        try:
            done.put((work(), None))
        except (OSError, UnicodeError) as exc:
            done.put((None, exc))

    threading.Thread(target=run, daemon=True).start()
    try:
        answer, error = done.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError from None
    if error is not None:
        raise error
    return answer  # type: ignore[return-value]  # without an error there is one
