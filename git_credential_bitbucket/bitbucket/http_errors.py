"""Errors of the network, of TLS and of HTTP as this program's errors.

Imports requests and urllib3, so only transport.py and those who have it import this. Texts name hosts and
reasons, never what was sent: a proxy's URL may hold a password, an HTTP exception quotes its request.
"""

import socket
import ssl
from collections.abc import Iterator

import requests
import urllib3.exceptions

from git_credential_bitbucket.bitbucket.providers import origin
from git_credential_bitbucket.errors import BitbucketUnreachable, Error, SettingsError
from git_credential_bitbucket.git_protocol import printable

NETWORK_HINT = "check the network, and http.proxy if you use a proxy, then try again"


def timed_out(url: str, seconds: float, *, sent: bool) -> Error:
    """The error for what was cut off after `seconds`: an answer, or, before anything was `sent`, the way there."""
    said = "sent no complete answer" if sent else "accepted no connection"
    return BitbucketUnreachable(f"{origin(url)} {said} within {seconds:.0f} seconds", hint=NETWORK_HINT)


def translate(url: str, proxy: str | None, exc: Exception, *, sent: bool, ca: str | None = None) -> Error:
    """Our error for theirs. `sent`: TLS stood, so the request may have left. `ca` is where a CA was named, in words."""
    where = origin(url)
    causes = list(_causes(exc))
    certificate = next((each for each in causes if isinstance(each, ssl.SSLCertVerificationError)), None)
    if certificate is not None:
        return _untrusted(where, certificate, ca)
    if isinstance(exc, requests.exceptions.ProxyError):
        return BitbucketUnreachable(
            f"the proxy {origin(proxy or '')} could not connect to {where}: {_reason(causes)}",
            hint="check http.proxy in git's configuration and https_proxy, then log in again or retry",
        )
    if isinstance(exc, ValueError) and not sent:
        return SettingsError(
            f"the address {where} is not valid", hint="check credential.<url>.oauthTokenURL and apiURL"
        )
    if sent:
        cause = f"{where} sent an incomplete answer: {_reason(causes)}"
    else:
        cause = f"cannot connect to {where}: {_reason(causes)}"
    return BitbucketUnreachable(cause, hint=NETWORK_HINT)


def _causes(exc: BaseException) -> Iterator[BaseException]:
    """`exc` and everything it wraps: requests and urllib3 keep the cause in `args` or `reason` as often as in
    the chain.
    """
    pending, seen = [exc], set[int]()
    while pending:
        current = pending.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        inner = [current.__cause__, current.__context__, getattr(current, "reason", None), *current.args]
        pending += [each for each in inner if isinstance(each, BaseException)]


def _reason(causes: list[BaseException]) -> str:
    """The plain words for what lies at the bottom; never the text of an HTTP exception, which
    quotes the request.
    """
    for exc in causes:
        if isinstance(exc, socket.gaierror):
            return "host name not found (DNS)"
        if isinstance(exc, ssl.SSLError):
            return f"TLS failed: {printable(exc.reason or 'no reason given')}"
        if isinstance(exc, OSError) and exc.strerror:
            return printable(exc.strerror.lower())
        if isinstance(exc, OSError) and str(exc).startswith("Tunnel connection failed: "):
            return printable(str(exc).removeprefix("Tunnel connection failed: "))
    # Last, for urllib3 derives its error for a refused connection from the one for a time-out.
    if any(isinstance(exc, (TimeoutError, requests.Timeout, urllib3.exceptions.TimeoutError)) for exc in causes):
        return "timed out"
    return "the connection was closed"


def _untrusted(where: str, certificate: ssl.SSLCertVerificationError, ca: str | None) -> BitbucketUnreachable:
    why = printable(certificate.verify_message or "it cannot be verified").lower().removesuffix(".")
    if "hostname" in why or "ip address" in why:
        hint = "another server answers for that name: check DNS, the hosts file and the proxy"
    elif "expired" in why or "not yet valid" in why:
        hint = "check this machine's clock"
    elif ca is not None:
        hint = f"it was verified with {ca}: set the right CA there, then log in again or retry"
    else:
        hint = "if your own proxy or server presents it, run: git config --global http.sslCAInfo FILE"
    return BitbucketUnreachable(f"the certificate of {where} is not trusted: {why}", hint=hint)
