"""Owns the stand-in's memory: who and what exists, which tokens live. Only repositories touch the disk."""

import os
import shutil
import threading
import time
import uuid
from dataclasses import fields

from tests.fake_bitbucket import tokens
from tests.fake_bitbucket.faults import Faults
from tests.fake_bitbucket.journal import Journal
from tests.fake_bitbucket.model import (
    ACCESS_TOKENS,
    OAUTH,
    PROJECT_TOKEN,
    Code,
    Consumer,
    Knobs,
    Login,
    Person,
    RefreshToken,
    Repository,
    Token,
)


class State:
    """Everything one stand-in knows. `lock` is held by whoever reads and then writes."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.lock = threading.RLock()
        self.web_url = ""
        self.api_url = ""
        self.data_center_origin = ""
        self._forget()

    def _forget(self) -> None:
        self.knobs = Knobs()
        self.journal = Journal()
        self.faults = Faults()
        self.people: dict[str, Person] = {}
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.consumers: dict[str, Consumer] = {}
        self.tokens: dict[str, Token] = {}
        self.refresh_tokens: dict[str, RefreshToken] = {}
        self.codes: dict[str, Code] = {}
        self.logins: list[Login] = []
        self.failed_attempts: dict[str, int] = {}

    def reset(self) -> None:
        """As new, without a new process: requests that are held go on, and everything is forgotten."""
        with self.lock:
            self.faults.release()
            self._forget()
        for folder in ("repositories", "lfs"):
            shutil.rmtree(os.path.join(self.root, folder), ignore_errors=True)

    def now(self) -> float:
        """Epoch seconds by the stand-in's clock, which a test may move."""
        return time.time() + self.knobs.clock_offset

    def turn(self, knobs: dict[str, object]) -> None:
        """Set knobs by name; an unknown name or a wrong type is the test's mistake."""
        known = {field.name for field in fields(Knobs)}
        with self.lock:
            for name, value in knobs.items():
                if name not in known:
                    raise ValueError(f"no knob {name!r}; there are {', '.join(sorted(known))}")
                kind = type(getattr(self.knobs, name))
                setattr(self.knobs, name, kind(value))

    def add_person(self, username: str, email: str, places: list[str], password: str = "") -> Person:
        """A person with an account, unless it is known already."""
        ident = str(uuid.uuid4())
        with self.lock:
            return self.people.setdefault(
                username.casefold(),
                Person(username, email, places, username.title(), f"{{{ident}}}", f"712020:{ident}", password),
            )

    def add_repository(self, workspace: str, slug: str, project: str, *, public: bool) -> Repository:
        """Room for a repository; its bare directory is made by git_backend."""
        path = os.path.join(self.root, "repositories", workspace.casefold(), slug.casefold() + ".git")
        repository = Repository(workspace, slug, project, public, f"{{{uuid.uuid4()}}}", path)
        with self.lock:
            self.repositories[workspace.casefold(), slug.casefold()] = repository
        return repository

    def repository(self, workspace: str, slug: str) -> Repository | None:
        """By name, whatever its case, or as `{}/{uuid}`, which is how some LFS addresses name it."""
        if workspace == "{}":
            return next((each for each in self.repositories.values() if each.uuid == slug), None)
        return self.repositories.get((workspace.casefold(), slug.casefold()))

    def add_token(self, token: Token) -> str:
        """Make `token` known; returns its secret."""
        with self.lock:
            self.tokens[token.secret] = token
        return token.secret

    def add_login(self, consumer: Consumer, person: Person | None, scopes: list[str]) -> Login:
        """What a consent, or a grant without one, makes."""
        with self.lock:
            login = Login(len(self.logins) + 1, consumer, person, scopes)
            self.logins.append(login)
        return login

    def mint(self, login: Login, *, with_refresh_token: bool) -> tuple[Token, RefreshToken | None]:
        """A new access token for a login, and a refresh token if asked for. The older ones stay as they are."""
        with self.lock:
            length = self.knobs.oauth_token_length
            token = Token(
                tokens.oauth_token(length),
                OAUTH,
                login.scopes,
                login.person,
                login,
                expires_at=self.now() + self.knobs.token_lifetime,
            )
            self.tokens[token.secret] = token
            if not with_refresh_token:
                return token, None
            refresh = RefreshToken(tokens.oauth_token(length), login, self.now() + self.knobs.refresh_lifetime)
            self.refresh_tokens[refresh.secret] = refresh
            return token, refresh

    def living(self, secret: str) -> Token | None:
        """The token with that secret, if it may still be used."""
        with self.lock:
            token = self.tokens.get(secret)
            if token is None or token.revoked or (token.login is not None and token.login.revoked):
                return None
            if token.expires_at is not None and token.expires_at <= self.now():
                return None
            return token

    def use(self, token: Token) -> bool:
        """Count one git request; False when the token was to be revoked before this one."""
        with self.lock:
            if token.uses_left is None:
                return True
            if token.uses_left == 0:
                token.revoked = True
                return False
            token.uses_left -= 1
            return True

    def reaches(self, token: Token, repository: Repository) -> bool:
        """Whether the token's place, or its person's, holds that repository."""
        if token.kind in ACCESS_TOKENS:
            return _within(token, repository)
        if token.person is not None:
            return any(_place_holds(place, repository) for place in token.person.places)
        return token.login is not None and _place_holds(token.login.consumer.workspace, repository)


def _within(token: Token, repository: Repository) -> bool:
    in_project = token.kind != PROJECT_TOKEN or token.project == repository.project
    return in_project and _place_holds(token.place, repository)


def _place_holds(place: str, repository: Repository) -> bool:
    full_name = f"{repository.workspace}/{repository.slug}".casefold()
    place = place.casefold()
    return place in {"*", full_name} or full_name.startswith(place + "/")
