"""The network: proxy, CA, DNS, TLS, and this machine's clock against Bitbucket's. Sends no secret.

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
from git_credential_bitbucket.diagnostics.finding import NOTE, OK, WRONG, DoctorContext, Finding
from git_credential_bitbucket.errors import BitbucketUnreachable, Error
from git_credential_bitbucket.git_protocol import printable

if TYPE_CHECKING:
    from collections.abc import Iterator


NAME_S = 5.0
"""For a name; the system's resolver may try for minutes."""
ANSWER_S = 12.0
"""For connection, TLS and answer of each of the two hosts, which are asked at once."""
SKEW_S, BAD_SKEW_S = 30.0, 300.0
"""Our own margins absorb half a minute; beyond five, tokens are wrongly taken for valid or expired."""
_ONLINE = "check the network, and http.proxy if there is a proxy in between"


def look(context: DoctorContext) -> Iterator[Finding]:
    """Proxy and CA as they are configured, then the hosts themselves."""
    provider = providers.find(context.trusted, context.url.protocol, context.url.host, context.env)
    if provider is None:
        return
    yield from _configured(provider)
    providers.check_addresses(provider)  # what it raises is a finding
    entry = provider.endpoint.proxy or context.url.base
    unknown = _resolve_error(entry)
    if unknown is not None:
        yield Finding("network", WRONG, unknown, _ONLINE)
        return
    yield from _hosts(context, provider.endpoint)


def _configured(provider: providers.Provider) -> Iterator[Finding]:
    endpoint = provider.endpoint
    if endpoint.proxy:
        yield Finding("proxy", OK, providers.origin(endpoint.proxy))
    if provider.unverified_by:
        cause = f"{provider.unverified_by} turns off TLS verification: anyone on the network path can read the tokens"
        hint = "remove that setting, and name the server's CA in http.sslCAInfo instead; OAuth does not work until then"
        yield Finding("TLS", WRONG, cause, hint)
    if endpoint.ca_file:
        yield Finding("CA", OK, f"{endpoint.ca_file}, by {endpoint.ca_from}")


def _resolve_error(address: str) -> str | None:
    """Why a host's name cannot be resolved; None where it can."""
    parts = urlsplit(address if "://" in address else f"http://{address}")
    name = parts.hostname or ""
    asked = {name: lambda: socket.getaddrinfo(name, parts.port or 443, type=socket.SOCK_STREAM)}
    found = deadline.each_within(NAME_S, asked)[name]
    if isinstance(found, TimeoutError):
        return f"could not resolve host {printable(name)} within {NAME_S:.0f} s"
    if isinstance(found, OSError | UnicodeError):
        return f"could not resolve host {printable(name)}"
    return None


def _hosts(context: DoctorContext, endpoint: providers.Endpoint) -> Iterator[Finding]:
    """The web host, which git talks to, and REST's, which only logins are checked at."""
    addresses = {"web": endpoint.token_url, "REST": endpoint.identity_url}
    asked = {name: partial(_clock_offset, endpoint, address) for name, address in addresses.items()}
    answers = deadline.each_within(ANSWER_S, asked)
    for name, answer in answers.items():
        if isinstance(answer, TimeoutError):
            cause = f"{providers.origin(addresses[name])} sent no complete response within {ANSWER_S:.0f} s"
            answers[name] = BitbucketUnreachable(cause, hint=_ONLINE)
        elif isinstance(answer, BaseException) and not isinstance(answer, Error):
            raise answer
    web, rest = answers["web"], answers["REST"]
    if isinstance(web, Error):
        yield Finding("network", WRONG, web.cause, web.hint)
    else:
        yield Finding("network", OK, f"{providers.origin(context.url.base)} answers, and its certificate is trusted")
        yield from _clock(web if isinstance(web, float) else None)
    if isinstance(rest, Error) and not isinstance(web, Error):
        yield Finding("network", NOTE, f"{rest.cause}; git works without it", rest.hint)


def _clock_offset(endpoint: providers.Endpoint, url: str) -> float | None:
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
