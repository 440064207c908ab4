"""Owns the authorization endpoint: the consent page that a person clicks through, and the redirect.

Sources: developer.atlassian.com/cloud/bitbucket/oauth-2 (code and implicit grant, the callback's fragment);
support.atlassian.com use-oauth-on-bitbucket-cloud (a redirect_uri must extend the consumer's callback).
"""

import html as markup
import secrets
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from tests.fake_bitbucket import plumbing
from tests.fake_bitbucket.model import Code, Consumer, Person
from tests.fake_bitbucket.oauth import answer
from tests.fake_bitbucket.plumbing import Request, Response
from tests.fake_bitbucket.state import State

# How many unanswered consent pages are remembered.
MAX_PENDING = 1000

_LOGGED = ("client_id", "response_type", "redirect_uri", "scope", "code_challenge_method")

_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><link rel="icon" href="data:,"><title>Confirm access to your account</title></head>
<body>
<h1>Confirm access to your account</h1>
<p>The consumer of the workspace <b>{workspace}</b> asks for access to your Bitbucket account: {scopes}</p>
<form method="post" action="">
<input type="hidden" name="ticket" value="{ticket}">
<label>Signed in as <select name="account" id="account">{accounts}</select></label>
<button type="submit" name="decision" value="grant" id="grant">Grant access</button>
<button type="submit" name="decision" value="deny" id="deny">Cancel</button>
</form>
</body>
</html>
"""

_REFUSAL = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><link rel="icon" href="data:,"><title>Authorization failed</title></head>
<body><h1>{error}</h1><p>This integration is misconfigured. Contact the vendor for assistance.</p></body>
</html>
"""


@dataclass
class Pending:
    """A consent page that was shown and not yet answered."""

    consumer: Consumer
    response_type: str
    redirect_uri: str | None
    state: str | None
    scopes: list[str]
    challenge: str | None
    challenge_method: str


class Authorize:
    """The endpoint. Its state: the consent pages that wait for a click, by the ticket in their form."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._pending: dict[str, Pending] = {}

    def serve(self, request: Request) -> Response:
        """The page for GET, the redirect for the form's POST."""
        if request.method == "POST":
            return self._decide(request.form())
        return self._ask(request)

    def _ask(self, request: Request) -> Response:
        parameters = request.parameters()
        request.entry.query.update({name: parameters[name] for name in _LOGGED if name in parameters})
        consumer = self._state.consumers.get(parameters.get("client_id", ""))
        if consumer is None:
            return _refusal("Invalid client_id")
        redirect_uri = parameters.get("redirect_uri")
        if not extends(redirect_uri or consumer.callback, consumer.callback):
            return _refusal("Invalid redirect_uri")
        pending = Pending(
            consumer,
            parameters.get("response_type", ""),
            redirect_uri,
            parameters.get("state"),
            parameters.get("scope", "").split() or consumer.scopes,
            parameters.get("code_challenge"),
            parameters.get("code_challenge_method", "plain"),
        )
        if pending.response_type not in {"code", "token"}:
            return _back(pending, {"error": "unsupported_response_type"})
        if not set(pending.scopes) <= set(consumer.scopes):
            return _back(pending, {"error": "invalid_scope", "error_description": "The consumer lacks that scope."})
        return plumbing.html(200, self._page(pending))

    def _page(self, pending: Pending) -> str:
        ticket = secrets.token_urlsafe(16)
        with self._state.lock:
            if len(self._pending) >= MAX_PENDING:
                self._pending.pop(next(iter(self._pending)))
            self._pending[ticket] = pending
            names = [person.username for person in self._state.people.values()]
        return _PAGE.format(
            workspace=markup.escape(pending.consumer.workspace),
            scopes=markup.escape(", ".join(pending.scopes)),
            ticket=ticket,
            accounts="".join(f"<option>{markup.escape(name)}</option>" for name in names),
        )

    def _decide(self, form: dict[str, str]) -> Response:
        with self._state.lock:
            pending = self._pending.pop(form.get("ticket", ""), None)
            person = self._state.people.get(form.get("account", "").casefold())
        if pending is None or person is None:
            return _refusal("This page has expired")
        if form.get("decision") != "grant":
            return _back(pending, {"error": "access_denied", "error_description": "The user denied access."})
        if pending.response_type == "token":
            return self._implicit(pending, person)
        return self._code(pending, person)

    def _code(self, pending: Pending, person: Person) -> Response:
        with self._state.lock:
            login = self._state.add_login(pending.consumer, person, pending.scopes)
            expires_at = self._state.now() + self._state.knobs.code_lifetime
            code = Code(
                secrets.token_urlsafe(12),
                login,
                expires_at,
                pending.redirect_uri,
                pending.challenge,
                pending.challenge_method,
            )
            self._state.codes[code.code] = code
        return _back(pending, {"code": code.code})

    def _implicit(self, pending: Pending, person: Person) -> Response:
        login = self._state.add_login(pending.consumer, person, pending.scopes)
        token, _ = self._state.mint(login, with_refresh_token=False)
        document = answer(self._state, token, None, "token")
        document.pop("state")
        return _back(pending, {name: str(value) for name, value in document.items()})


def extends(redirect_uri: str, callback: str) -> bool:
    """Whether `redirect_uri` is the callback or below it: the same place, and a path within its path."""
    asked, registered = urlsplit(redirect_uri), urlsplit(callback)
    if not callback or (asked.scheme, asked.netloc) != (registered.scheme, registered.netloc):
        return False
    base = registered.path.rstrip("/")
    return asked.path in {registered.path, base} or asked.path.startswith(base + "/")


def _back(pending: Pending, parameters: dict[str, str]) -> Response:
    """To the callback: in the query for a code, in the fragment for an implicit grant."""
    if pending.state is not None:
        parameters["state"] = pending.state
    address = urlsplit(pending.redirect_uri or pending.consumer.callback)
    encoded = urlencode(parameters)
    if pending.response_type == "token":
        return plumbing.redirect(address._replace(fragment=encoded).geturl())
    query = f"{address.query}&{encoded}" if address.query else encoded
    return plumbing.redirect(address._replace(query=query).geturl())


def _refusal(error: str) -> Response:
    return plumbing.html(400, _REFUSAL.format(error=markup.escape(error)))
