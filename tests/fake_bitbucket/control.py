"""Owns the control interface: a Unix socket, one JSON line with an action, one JSON line with its result.

It is how a test makes people, repositories and tokens, turns knobs, scripts faults and reads the log. The socket
lies in the stand-in's own directory (0700).
"""

import json
import socketserver
from dataclasses import asdict
from typing import TYPE_CHECKING, cast

from tests.fake_bitbucket import data_center, git_backend, http_tokens, tokens
from tests.fake_bitbucket.faults import Fault
from tests.fake_bitbucket.journal import Entry
from tests.fake_bitbucket.model import (
    API_TOKEN,
    OAUTH,
    PROJECT_TOKEN,
    REPOSITORY_TOKEN,
    WORKSPACE_TOKEN,
    Consumer,
    Login,
    Token,
)
from tests.fake_bitbucket.state import State

if TYPE_CHECKING:
    from collections.abc import Callable


class Actions:
    """Every public method is an action; its keyword arguments are the JSON line's other fields."""

    def __init__(self, state: State) -> None:
        self._state = state

    def reset(self) -> None:
        """Forget everything, knobs and log too."""
        self._state.reset()

    def create_person(
        self, username: str, email: str = "", places: list[str] | None = None, password: str = ""
    ) -> dict[str, object]:
        """A person, with access to `places` (all by default); the password is Data Center's."""
        person = self._state.add_person(username, email or f"{username}@example.com", places or ["*"], password)
        return asdict(person)

    def create_repository(
        self, place: str, project: str = "CORE", public: bool = False, files: dict[str, str] | None = None
    ) -> dict[str, object]:
        """`place` is workspace/slug. One commit with `files`; pass {} for an empty repository."""
        workspace, _, slug = place.partition("/")
        repository = self._state.add_repository(workspace, slug, project, public=public)
        git_backend.create(repository, {"README.md": f"# {place}\n"} if files is None else files)
        return asdict(repository)

    def head(self, place: str, ref: str = "refs/heads/main") -> str | None:
        """The commit that the server has at `ref`."""
        workspace, _, slug = place.partition("/")
        repository = self._state.repository(workspace, slug)
        return None if repository is None else git_backend.head(repository, ref)

    def issue_api_token(self, username: str, scopes: list[str], lifetime: float | None = None) -> str:
        """An API token of a person."""
        person = self._state.people[username.casefold()]
        return self._issue(Token(tokens.api_token(), API_TOKEN, scopes, person), lifetime)

    def issue_access_token(
        self, place: str, scopes: list[str], project: str = "", lifetime: float | None = None
    ) -> str:
        """A repository token for workspace/slug, a workspace token for a workspace, or a project token."""
        kind = PROJECT_TOKEN if project else REPOSITORY_TOKEN if "/" in place else WORKSPACE_TOKEN
        return self._issue(Token(tokens.access_token(), kind, scopes, place=place, project=project), lifetime)

    def issue_http_token(
        self, permissions: list[str], username: str = "", place: str = "", lifetime: float | None = None, name: str = ""
    ) -> str:
        """A Data Center HTTP access token: of a person, or of the project or repository `place`."""
        person = self._state.people[username.casefold()] if username else None
        return self._issue(http_tokens.make(self._state, person, place, permissions, name), lifetime)

    def http_tokens(self) -> dict[str, str]:
        """The names of the living HTTP access tokens, by their secret."""
        kinds, living = data_center.TOKENS, self._state.living
        return {one.secret: one.name for one in self._state.tokens.values() if one.kind in kinds and living(one.secret)}

    def failed_attempts(self, username: str) -> int:
        """How many logins of that name failed at the Data Center since one worked."""
        return self._state.failed_attempts.get(username.casefold(), 0)

    def issue_app_password(self) -> str:
        """What nobody accepts any more."""
        return tokens.app_password()

    def add_consumer(
        self, callback: str, private: bool, workspace: str, scopes: list[str], old_shape: bool = False
    ) -> dict[str, object]:
        """An OAuth consumer; key and secret are in the result."""
        key, secret = tokens.consumer_pair(old=old_shape)
        consumer = Consumer(key, secret, callback, private, workspace, scopes)
        with self._state.lock:
            self._state.consumers[key] = consumer
        return asdict(consumer)

    def issue_login(self, consumer: str, username: str, scopes: list[str] | None = None) -> dict[str, object]:
        """What a finished authorization code grant would have given, without the browser."""
        with self._state.lock:
            owner = self._state.consumers[consumer]
            login = self._state.add_login(owner, self._state.people[username.casefold()], scopes or owner.scopes)
            token, refresh = self._state.mint(login, with_refresh_token=True)
        return {"access_token": token.secret, "refresh_token": refresh.secret if refresh else None}

    def revoke(self, secret: str | None = None, kind: str = OAUTH, after: int = 0) -> int:
        """Revoke one token, or all that live of a kind, after so many more accepted git requests; how many."""
        with self._state.lock:
            named = [self._state.tokens[secret]] if secret else list(self._state.tokens.values())
            chosen = [each for each in named if secret or (each.kind == kind and self._state.living(each.secret))]
            for token in chosen:
                token.revoked = token.revoked or after == 0
                token.uses_left = after
        return len(chosen)

    def revoke_logins(self, username: str | None = None) -> int:
        """Take consents back: access and refresh tokens die. Of one person, or all. Returns how many."""
        with self._state.lock:
            chosen = [login for login in self._state.logins if not login.revoked and _is_of(login, username)]
            for login in chosen:
                login.revoked = True
        return len(chosen)

    def script_fault(self, endpoint: str, kind: str, **more: object) -> None:
        """See faults.Fault for what may be said."""
        self._state.faults.add(cast("Callable[..., Fault]", Fault)(endpoint, kind, **more))

    def release(self) -> None:
        """Let every held request go, and forget the faults still to come."""
        self._state.faults.release()

    def turn(self, **knobs: object) -> dict[str, object]:
        """Set knobs by name; returns them all."""
        self._state.turn(knobs)
        return asdict(self._state.knobs)

    def advance(self, seconds: float) -> None:
        """Move the stand-in's clock forward."""
        with self._state.lock:
            self._state.knobs.clock_offset += seconds

    def log(self, since: int = 0) -> list[dict[str, object]]:
        """The journal after entry number `since`."""
        return self._state.journal.since(since)

    def wait(self, endpoint: str, count: int, since: int = 0, answered: bool = False, timeout: float = 60.0) -> bool:
        """Whether `count` requests to `endpoint` arrive (or are answered) within `timeout` seconds."""

        def enough(entries: list[Entry]) -> bool:
            of_endpoint = [each for each in entries[since:] if each.endpoint == endpoint]
            return len([each for each in of_endpoint if not answered or each.status is not None]) >= count

        return self._state.journal.wait(enough, timeout)

    def wait_until_quiet(self, timeout: float = 60.0) -> bool:
        """Whether nobody is connected any more within `timeout` seconds."""
        return self._state.journal.wait_until_quiet(timeout)

    def is_spent(self, secret: str) -> bool:
        """Whether that refresh token has been used; one that was never given out counts as spent."""
        with self._state.lock:
            refresh = self._state.refresh_tokens.get(secret)
            return refresh is None or refresh.used

    def secrets(self) -> list[str]:
        """Every secret made so far, for a search whether one of them lies where it must not."""
        with self._state.lock:
            return [
                *self._state.tokens,
                *self._state.refresh_tokens,
                *self._state.codes,
                *(consumer.secret for consumer in self._state.consumers.values()),
            ]

    def _issue(self, token: Token, lifetime: float | None) -> str:
        if lifetime is not None:
            token.expires_at = self._state.now() + lifetime
        return self._state.add_token(token)


class Control(socketserver.ThreadingUnixStreamServer):
    """The listener on the control socket."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, path: str, state: State) -> None:
        self.actions = Actions(state)
        super().__init__(path, Line)


class Line(socketserver.StreamRequestHandler):
    """One connection: lines until it ends."""

    server: Control

    def handle(self) -> None:
        """Each line names an action; a mistake in it is answered, and ends nothing."""
        for line in self.rfile:
            try:
                result = {"result": perform(self.server.actions, json.loads(line))}
            except (ValueError, TypeError, KeyError, LookupError) as exc:
                result = {"error": f"{type(exc).__name__}: {exc}"}
            self.wfile.write(json.dumps(result).encode() + b"\n")


def perform(actions: Actions, line: dict[str, object]) -> object:
    """Do what one line of JSON says; the configuration file holds such lines as well."""
    name = str(line.pop("action", ""))
    method = None if name.startswith("_") else getattr(actions, name, None)
    if method is None:
        raise ValueError(f"no action {name!r}")
    return cast("Callable[..., object]", method)(**line)


def _is_of(login: Login, username: str | None) -> bool:
    if username is None:
        return True
    return login.person is not None and login.person.username.casefold() == username.casefold()
