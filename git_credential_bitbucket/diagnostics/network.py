"""The way to Bitbucket: proxy, CA, name, TLS, and the clock that its answers are dated by. Sends no secret.

Every step has a limit, and a machine without a network gives one finding.
"""

from __future__ import annotations

import socket
import time
from email.utils import parsedate_to_datetime
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from git_credential_bitbucket import deadline
from git_credential_bitbucket.bitbucket import providers
from git_credential_bitbucket.diagnostics.finding import NOTE, OK, WRONG, Finding
from git_credential_bitbucket.errors import BitbucketUnreachable, Error
from git_credential_bitbucket.git_protocol import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from git_credential_bitbucket.bitbucket.providers import Endpoint, Provider
    from git_credential_bitbucket.diagnostics.finding import Scene

NAME_S = 5.0
"""For a name; the system's resolver may try for minutes."""
ANSWER_S = 12.0
"""For connection, TLS and answer of each of the two hosts, which are asked at once."""
SKEW_S, BAD_SKEW_S = 30.0, 300.0
"""Our own margins absorb half a minute; beyond five, tokens are taken for fresh or ended that are not."""
_ONLINE = "check the network, and http.proxy if there is a proxy in between"


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
        hint = "remove that setting, and name the server's CA in http.sslCAInfo instead; OAuth is refused until then"
        yield Finding("TLS", WRONG, cause, hint)
    if endpoint.ca_file:
        yield Finding("CA", OK, f"{endpoint.ca_file}, by {endpoint.ca_from}")


def _unknown_name(address: str) -> str | None:
    """What to say of a host whose name leads nowhere; None where it leads somewhere."""
    parts = urlsplit(address if "://" in address else f"http://{address}")
    name = parts.hostname or ""
    asked = {name: lambda: socket.getaddrinfo(name, parts.port or 443, type=socket.SOCK_STREAM)}
    found = deadline.each_within(NAME_S, asked)[name]
    if isinstance(found, TimeoutError):
        return f"nobody said within {NAME_S:.0f} s where {printable(name)} is (DNS)"
    if isinstance(found, OSError | UnicodeError):
        return f"the name {printable(name)} is not known (DNS)"
    return None


def _hosts(scene: Scene, endpoint: Endpoint) -> Iterator[Finding]:
    """The web host, which git talks to, and REST's, which only logins are checked at."""
    addresses = {"web": endpoint.token_url, "REST": f"{endpoint.api_url}/user"}
    asked = {name: partial(_ahead, endpoint, address) for name, address in addresses.items()}
    answers = deadline.each_within(ANSWER_S, asked)
    for name, answer in answers.items():
        if isinstance(answer, TimeoutError):
            cause = f"{providers.origin(addresses[name])} gave no whole answer within {ANSWER_S:.0f} s"
            answers[name] = BitbucketUnreachable(cause, hint=_ONLINE)
        elif isinstance(answer, BaseException) and not isinstance(answer, Error):
            raise answer
    web, rest = answers["web"], answers["REST"]
    if isinstance(web, Error):
        yield Finding("network", WRONG, web.cause, web.hint)
    else:
        yield Finding("network", OK, f"{providers.origin(scene.url.base)} answers, and its certificate is trusted")
        yield from _clock(web if isinstance(web, float) else None)
    if isinstance(rest, Error) and not isinstance(web, Error):
        yield Finding("network", NOTE, f"{rest.cause}; git does without it", rest.hint)


def _ahead(endpoint: Endpoint, url: str) -> float | None:
    """How far the answer's date is ahead of our clock, None where it has none. Raises an `Error` without an answer."""
    from git_credential_bitbucket.bitbucket import transport  # lazy: 110 ms, and doctor first says what it can without

    try:
        date = transport.send_request(endpoint, "GET", url).headers.get("Date", "")
        return parsedate_to_datetime(date).timestamp() - time.time()
    except (ValueError, OverflowError):  # no date that can be read
        return None


def _clock(ahead: float | None) -> Iterator[Finding]:
    if ahead is None:
        return
    hint = "set this machine's clock: timedatectl set-ntp true"
    which = "behind" if ahead > 0 else "ahead of"
    if abs(ahead) > SKEW_S:
        level = WRONG if abs(ahead) > BAD_SKEW_S else NOTE
        yield Finding("clock", level, f"this machine's clock is {abs(ahead):.0f} s {which} Bitbucket's", hint)
    else:
        yield Finding("clock", OK, "it agrees with Bitbucket's")
