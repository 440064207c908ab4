"""What Bitbucket really does where this program relies on an assumption: a transcript without secrets, to be reported.

Each credential is sent as git or REST would send it. Nothing is revoked but a token that was minted here for that, and
that is the one rejected credential that is sent on purpose. A renewal is the daemon's own, so what it brings is stored
as ever. Repositories, accounts and workspaces are not named.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from git_credential_bitbucket.bitbucket import providers, rest, scopes, token_kinds
from git_credential_bitbucket.client import environment_tokens, rest_authorization
from git_credential_bitbucket.client.shared_client import find, renew
from git_credential_bitbucket.errors import Error
from git_credential_bitbucket.git_protocol import printable
from git_credential_bitbucket.ui import arguments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from requests import Response

    from git_credential_bitbucket.agent.status_views import CredentialView
    from git_credential_bitbucket.diagnostics.finding import DoctorContext
    from git_credential_bitbucket.secret import Secret

AS_ASSUMED, DIFFERS, UNTESTED = "as assumed", "differs", "could not be tested"
REALM = 'Basic realm="Bitbucket.org HTTP"'
_OK, _UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _TOO_MANY, _SERVER_ERROR = 200, 401, 403, 404, 429, 500
_SHOWN = ("WWW-Authenticate", "X-Credential-Type", "X-OAuth-Scopes", "Retry-After")
_LIMITS = re.compile(r"x-ratelimit-", re.IGNORECASE)
_PERSON = ("type", "username", "nickname", "account_id")
_NO_REPOSITORY = "name a REPOSITORY, or run it in one whose remote is at Bitbucket"
_NO_LOGIN = "no OAuth login is stored: git-credential-bitbucket login --oauth"
_NOT_AGREED = "it changes something, and was not confirmed: run it at a terminal, or with --yes"

Verdict = tuple[str, str | None]


@dataclass(frozen=True, slots=True)
class Observation:
    """One assumption, what was sent to test it (header names only), what came, and what follows; `why` may be None."""

    assumption: str
    request: str = "none"
    answer: str = "none"
    verdict: str = UNTESTED
    why: str | None = None


@dataclass(frozen=True, slots=True)
class Token:
    """A token that is sent, by its kind; `told` is what the daemon or the environment tells of it."""

    kind: str
    told: dict[str, str] = field(repr=False)


class Live:
    """One run. Its state: the answers by the kind of token, the rejected tokens, which are not sent again, and all
    secrets, which no line may repeat.
    """

    def __init__(self, context: DoctorContext, provider: providers.Provider, agrees: Callable[[str], bool]) -> None:
        """`agrees` asks the person before a step that changes something."""
        self.context, self.provider, self.confirm = context, provider, agrees
        self.answers: list[tuple[str, Response]] = []
        self.rejected: list[str] = []
        self._secrets: list[str] = []

    def send(self, url: str, kind: str = "", **headers: str) -> Response:
        """The answer to a GET. Raises `Error` where no whole one comes."""
        from git_credential_bitbucket.bitbucket import transport  # lazy: 110 ms

        self.hide(headers.get("Authorization", "").partition(" ")[2])
        answer = transport.send_request(self.provider.endpoint, "GET", url, headers=headers)
        self.answers.append((kind, answer))
        return answer

    def ask_user(self, told: dict[str, str]) -> Response:
        """REST's answer to whose the token is. Raises `Error`."""
        url, header = self.provider.endpoint.identity_url, rest_authorization.header(told)
        return self.send(url, told["kind"], Authorization=header)

    def hide(self, *secrets: str) -> None:
        """Keep these out of every line of the report."""
        self._secrets += [secret for secret in secrets if secret]

    def observed(
        self, assumption: str, send: Callable[[], Response], judge: Callable[[Response], Verdict]
    ) -> Observation:
        """What comes of one request; without an answer it could not be tested."""
        try:
            answer = send()
        except Error as exc:
            return Observation(assumption, why=self._clean(exc.cause))
        is_busy = answer.status_code == _TOO_MANY or answer.status_code >= _SERVER_ERROR
        verdict, why = (UNTESTED, "Bitbucket was too busy to answer") if is_busy else judge(answer)
        return Observation(assumption, self._request(answer), self._answer(answer), verdict, why)

    def _request(self, answer: Response) -> str:
        url = urlsplit(answer.request.url or "")
        path = self.context.url.path.removesuffix(".git")
        place = url.path.replace(f"/{path}.git/", "/WORKSPACE/REPOSITORY.git/") if path else url.path
        query = f"?{url.query}" if url.query else ""
        names = ", ".join(sorted(answer.request.headers))
        return self._clean(f"{answer.request.method} {place}{query}; headers {names}")

    def _answer(self, answer: Response) -> str:
        shown = [(n, v) for n, v in answer.headers.items() if n.lower() in map(str.lower, _SHOWN) or _LIMITS.match(n)]
        parts = [str(answer.status_code), *(f"{name}: {value}" for name, value in shown)]
        if answer.status_code == _OK and answer.url.endswith("/user"):
            parts.append(
                f"fields {', '.join(name for name in _PERSON if name in rest.document_of(answer)) or 'none known'}"
            )
        return self._clean("; ".join(parts))

    def _clean(self, text: str) -> str:
        for secret in sorted(self._secrets, key=len, reverse=True):  # one may be a part of another
            text = text.replace(secret, "…")
        return printable(text, 1000)


def look(context: DoctorContext, agrees: Callable[[str], bool]) -> Iterator[Observation]:
    """All of it, in the order in which a command of git's meets it. Raises `Error` where nothing can be sent at all."""
    provider = providers.find(context.trusted, context.url.protocol, context.url.host, context.env)
    if provider is None:
        return
    providers.check_addresses(provider)
    live = Live(context, provider, agrees)
    yield _challenge(live)
    repository = arguments.parse_scope(f"{context.url.base}/{context.url.path}") if context.url.path else None
    for_git, for_rest = (_tokens(context, repository) if repository is not None else []), _tokens(context, None)
    live.hide(*(token.told["password"] for token in (*for_git, *for_rest)))
    yield from _git(live, for_git)
    for token in for_rest:
        yield _user(live, token)
    yield from _client_credentials(live)
    logins = [one for one in _stored(context) if one["kind"] == token_kinds.OAUTH and one["renewed_at"] is not None]
    yield _rotation(live, logins)
    yield _pkce(logins)
    yield from _limits(live)


def _tokens(context: DoctorContext, repository: arguments.ScopeArgument | None) -> list[Token]:
    """One token of each kind, and of access tokens for each length of their scope: for a repository, or for REST."""
    base = arguments.parse_scope(context.url.base)
    found: dict[tuple[str, int], Token] = {}
    try:
        given = rest_authorization.from_environment(context.env, (repository or base).request())
    except Error:  # `doctor` says what is wrong with it
        given = None
    if given is not None:
        found[given["kind"], 0] = Token(given["kind"], given)
    for one in _stored(context):
        key = (one["kind"], scopes.depth(one["url"]) if one["kind"] == token_kinds.ACCESS_TOKEN else 0)
        if key not in found:
            told = find("token", [("id", one["id"])], (repository or arguments.requested_scope(one)).request())
            if told.get("password"):
                found[key] = Token(one["kind"], told)
    return list(found.values())


def _stored(context: DoctorContext) -> list[CredentialView]:
    """The credentials for the host that work, and are not bound to one request."""
    stored = [one for one in arguments.stored_credentials() if one["state"] == "ready" and one["bound_to"] is None]
    here = [one for one in stored if f"{one['url']}/".startswith(f"{context.url.base}/")]
    return sorted(here, key=lambda one: "@" not in (one["account"] or ""))  # REST takes an API token with its email


def _info_refs(context: DoctorContext, service: str) -> str:
    return f"{context.url.base}/{context.url.path.removesuffix('.git')}.git/info/refs?service={service}"


def _challenge(live: Live) -> Observation:
    assumption = f"without a credential, git is answered with 401 and {REALM}"
    if not live.context.url.path:
        return Observation(assumption, why=_NO_REPOSITORY)

    def judge(answer: Response) -> Verdict:
        is_so = (answer.status_code, answer.headers.get("WWW-Authenticate")) == (_UNAUTHORIZED, REALM)
        return (AS_ASSUMED if is_so else DIFFERS), None

    # to push: a public repository needs no credential to fetch
    return live.observed(assumption, lambda: live.send(_info_refs(live.context, "git-receive-pack")), judge)


def _git(live: Live, tokens: list[Token]) -> Iterator[Observation]:
    if not tokens:
        why = "no credential that works is stored for this repository" if live.context.url.path else _NO_REPOSITORY
        yield Observation("git takes each kind of token by Basic with the username of its kind", why=why)
    url, version = _info_refs(live.context, "git-upload-pack"), {"Git-Protocol": "version=2"}
    accepted = []
    for token in tokens:
        username = token_kinds.git_username(token.kind)
        assumption = f"git takes the kind {token.kind} by Basic with the username {username}"

        basic = token_kinds.basic_header(token.told["username"], token.told["password"])

        def judge(answer: Response, token: Token = token) -> Verdict:
            accepted.extend([token] if answer.status_code == _OK else [])
            live.rejected.extend([token.told["password"]] if answer.status_code == _UNAUTHORIZED else [])
            if answer.status_code in (_FORBIDDEN, _NOT_FOUND):
                return UNTESTED, "this credential has no access to the repository"
            return _accepted(answer)

        yield live.observed(assumption, partial(live.send, url, token.kind, Authorization=basic, **version), judge)
    assumption = "git does not accept Bearer, so Basic is sent"
    bearer = next((token for token in accepted if token.kind != token_kinds.API_TOKEN), None)
    if bearer is None:
        yield Observation(assumption, why="it needs an access token or an OAuth login that was accepted above")
        return
    value = f"Bearer {bearer.told['password']}"
    sending = partial(live.send, url, bearer.kind, Authorization=value, **version)
    yield live.observed(f"{assumption} ({bearer.kind})", sending, _rejected)


def _rejected(answer: Response) -> Verdict:
    return (AS_ASSUMED if answer.status_code == _UNAUTHORIZED else DIFFERS), None


def _accepted(answer: Response) -> Verdict:
    if answer.status_code == _UNAUTHORIZED:
        return UNTESTED, "Bitbucket rejects this credential: it may be revoked, have expired, or be of another account"
    return (AS_ASSUMED, None) if answer.status_code == _OK else (DIFFERS, None)


def _user(live: Live, token: Token) -> Observation:
    """Access tokens are no person's: 403, with headers that tell what they are. The others may lack the scope."""
    is_access_token = token.kind == token_kinds.ACCESS_TOKEN
    expected = "403 with X-Credential-Type" if is_access_token else "200, or 403 with X-OAuth-Scopes"
    wanted = "X-Credential-Type" if is_access_token else "X-OAuth-Scopes"

    def judge(answer: Response) -> Verdict:
        if answer.status_code == _FORBIDDEN and answer.headers.get(wanted):
            return AS_ASSUMED, None
        verdict, why = _accepted(answer)
        return (DIFFERS, why) if verdict == AS_ASSUMED and is_access_token else (verdict, why)

    assumption = f"REST's /user answers the kind {token.kind} with {expected}"
    if token.told["password"] in live.rejected:
        return Observation(assumption, why="git was rejected with this credential, so it is not sent again")
    return live.observed(assumption, lambda: live.ask_user(token.told), judge)


def _client_credentials(live: Live) -> Iterator[Observation]:
    """Client credentials, and the revocation of the token that they brought: of nothing else."""
    minted, revoked = "client credentials bring no refresh token", "a token that is revoked is rejected from then on"
    consumer = _consumer(live)
    if consumer is None or not live.confirm(
        "Create a token with the OAuth consumer and revoke it (its other tokens may be revoked too)?"
    ):
        why = "no OAuth consumer is in the environment or in git's configuration" if consumer is None else _NOT_AGREED
        yield from (Observation(assumption, why=why) for assumption in (minted, revoked))
        return
    from git_credential_bitbucket.bitbucket import oauth  # lazy: 130 ms

    endpoint = live.provider.endpoint
    try:
        grant = oauth.fetch_with_client_credentials(endpoint, *consumer)
    except Error as exc:
        yield from (Observation(assumption, why=exc.cause) for assumption in (minted, revoked))
        return
    token, further = grant.access_token, grant.refresh_token
    live.hide(token.reveal(), further.reveal() if further is not None else "")
    came = "no refresh token" if further is None else "a refresh token"
    lasts = "without an expiry" if grant.expires_in is None else f"for {grant.expires_in} s"
    request = f"POST {urlsplit(endpoint.token_url).path}, grant_type=client_credentials"
    yield Observation(minted, request, f"200 {lasts}; {came}", AS_ASSUMED if further is None else DIFFERS)
    yield _revoked(live, revoked, consumer, token)


def _revoked(live: Live, assumption: str, consumer: tuple[str, Secret], token: Secret) -> Observation:
    """The endpoint is not documented, so what it says is not believed until the token is rejected."""
    from git_credential_bitbucket.bitbucket import oauth  # lazy: as above

    request = f"POST {urlsplit(live.provider.endpoint.revoke_url).path}"
    try:
        taken = oauth.revoke(live.provider.endpoint, *consumer, token)
    except Error as exc:
        return Observation(assumption, why=exc.cause)
    if not taken:
        return Observation(assumption, request, "rejected" if taken is False else "no conclusive answer", DIFFERS)
    told = {"kind": token_kinds.CLIENT_CREDENTIALS, "password": token.reveal()}
    return live.observed(f"{assumption} ({request} accepted it)", lambda: live.ask_user(told), _rejected)


def _consumer(live: Live) -> tuple[str, Secret] | None:
    try:
        found = environment_tokens.consumer(live.context.env)
    except Error:  # `doctor` says what is wrong with it
        return None
    if found is not None and found.client_id is not None:
        return found.client_id, found.secret
    provider = live.provider
    return (provider.client_id, provider.client_secret) if provider.client_id and provider.client_secret else None


def _rotation(live: Live, logins: list[CredentialView]) -> Observation:
    """By `refresh`, as a person types it: the new refresh token is on disk before anything is told of it."""
    assumption = "a renewal brings a new refresh token"
    if not logins:
        return Observation(assumption, why=_NO_LOGIN)
    if not live.confirm("Renew the OAuth login now?"):
        return Observation(assumption, why=_NOT_AGREED)
    try:
        told = renew(logins[0]["id"])
    except Error as exc:
        return Observation(assumption, why=exc.cause)
    is_new = told.get("rotated") == "1"
    request = f"POST {urlsplit(live.provider.endpoint.token_url).path}, grant_type=refresh_token, by the daemon"
    answer = f"200; {'a new refresh token' if is_new else 'the same refresh token, or none'}"
    return Observation(assumption, request, answer, AS_ASSUMED if is_new else DIFFERS)


def _pkce(logins: list[CredentialView]) -> Observation:
    """Every login by a code sends it, so a stored one shows that it is accepted."""
    assumption = "PKCE (S256), which is not documented, is accepted beside the consumer's secret"
    if not any(one["origin"] == "login" for one in logins):
        return Observation(assumption, why=_NO_LOGIN)
    return Observation(assumption, "sent by `login --oauth`", "the login that is stored", AS_ASSUMED)


def _limits(live: Live) -> Iterator[Observation]:
    """From the answers to all of the above: nothing is sent to get a 429."""
    request = f"the {len(live.answers)} requests above"
    limited = [answer for _, answer in live.answers if answer.status_code == _TOO_MANY]
    named = [answer for answer in limited if answer.headers.get("Retry-After")]
    assumption = "a 429 says in Retry-After how long to wait"
    if limited:
        answer = f"{len(limited)} times 429, {len(named)} with Retry-After"
        yield Observation(assumption, request, answer, AS_ASSUMED if named == limited else DIFFERS)
    else:
        yield Observation(assumption, request, "no 429", why="it would take thousands of requests")
    assumption = "X-RateLimit-… comes only with access tokens"
    told = {kind for kind, answer in live.answers if any(map(_LIMITS.match, answer.headers))}
    if not told:
        yield Observation(assumption, request, "none had it", why="no answer tells of a limit")
    else:
        verdict = AS_ASSUMED if told == {token_kinds.ACCESS_TOKEN} else DIFFERS
        yield Observation(assumption, request, f"it came with: {', '.join(sorted(told)) or 'none'}", verdict)
