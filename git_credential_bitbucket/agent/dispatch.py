"""Answers whole requests, for the daemon and in-process: which actions there are, and who may ask for each.

An action is one of git's three operations or one of our verbs, and its body are `key=value` lines. No sockets here.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from git_credential_bitbucket import git_protocol, processes
from git_credential_bitbucket.agent import access_log_entry, event_log_entry
from git_credential_bitbucket.agent.agent import ACKNOWLEDGED, error_answer
from git_credential_bitbucket.agent.deferred_answer import Deferred, map_answer
from git_credential_bitbucket.agent.grants import Grant
from git_credential_bitbucket.errors import Error

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Literal, Protocol

    from git_credential_bitbucket.access_log import AccessLog
    from git_credential_bitbucket.agent.agent import Agent
    from git_credential_bitbucket.agent.answer_cache import Hit
    from git_credential_bitbucket.git_protocol import Request

    Role = Literal["git", "guest", "control"] | Grant

    class HostList(Protocol):
        """Which hosts git's configuration names, where reading it takes a job (`daemon/configured_hosts`)."""

        def known(self, protocol: str, host: str) -> bool:
            """Whether the host can be looked up without reading anything."""
            ...

        def after_reading(self, go_on: Callable[[], Answer]) -> Answer:
            """Read the configuration unless it is fresh, and go on."""
            ...


Answer = bytes | Deferred
Pairs = list[tuple[str, str]]

GIT: Role = "git"
"""A git of the user's own, or a program that passes its requests on."""
GUEST: Role = "guest"
"""Another user, admitted by setting: reads and changes nothing."""
CONTROL: Role = "control"
"""The user's own programs and front ends, at the control socket."""

_OPERATIONS = frozenset({"get", "store", "erase"})
"""git's own. What is wrong with such a request is answered with nothing: git would take a message for an answer."""
_CONTROL_ONLY: frozenset[Role] = frozenset({CONTROL})
ACTIONS: dict[str, frozenset[Role]] = {
    **dict.fromkeys(git_protocol.GIT_ACTIONS, frozenset({GIT, CONTROL})),
    **dict.fromkeys(["get", "why", "ping"], frozenset({GIT, GUEST, CONTROL})),
    **dict.fromkeys(["status", "explain", "token", "warn", "mint", "mint-erase"], _CONTROL_ONLY),
    **dict.fromkeys(
        ["add", "amend", "default", "identify", "remove", "restore", "refresh", "repositories"], _CONTROL_ONLY
    ),
    **dict.fromkeys(["backup-put", "backup-get", "backup-drop"], _CONTROL_ONLY),
    **dict.fromkeys(["grant", "grant-list", "grant-revoke"], _CONTROL_ONLY),
    **dict.fromkeys(["lock", "unlock", "rekey", "exit"], _CONTROL_ONLY),
}
"""Every action and who may ask for it; who may not is answered with nothing. Unknown ones are refused under CONTROL.

A grant's peer may ask for what a guest may, within the grant; all else is acknowledged to it, and ignored."""
_USES = ACTIONS.keys() - {"ping", "status", "why", "explain", "warn", "exit", "grant-list"}
"""Actions that use or change a credential: the others postpone neither a daemon's exit nor the idle lock."""
_FACTS_FOR_GRANTS = frozenset({"pid", "version", "vault_id"})
"""What `ping` tells a grant's peer: by it our helper knows a daemon of ours; not how busy that is."""
_READ_ALL_HOSTS = frozenset({"add", "explain", "mint", "token", "why"})
"""These keep the host's endpoint, CA and proxy with a credential, so git's configuration is read for every host."""


class Caller:
    """The process that asks, as the kernel knows it, and what it may ask as; `pid` is 0 in another pid namespace."""

    __slots__ = ("hit", "lifetime_s", "pid", "role", "uid", "was_examined")

    def __init__(self, pid: int, uid: int, role: Role, lifetime_s: float | None = None) -> None:
        """A class of few words, for one is made for each request. What it stores is kept for `lifetime_s` at most."""
        self.pid = pid
        self.uid = uid
        self.role = role
        self.lifetime_s = lifetime_s
        self.hit: Hit | None = None
        """How its `get` was answered."""
        self.was_examined = False
        """Whether the answer depends on which process asks."""

    def note_hit(self, hit: Hit) -> None:
        """Note how its `get` was answered."""
        self.hit = hit


class Dispatcher:
    """Answers requests to one agent, and logs them."""

    def __init__(
        self,
        agent: Agent,
        hosts: HostList | None = None,
        access_log: AccessLog | None = None,
        life_cycle_log: AccessLog | None = None,
        facts: Callable[[Role], Pairs] = lambda _: [],
        leave: Callable[[bool], None] | None = None,
        note_use: Callable[[], None] = lambda: None,
    ) -> None:
        """Without `hosts` the agent's `find_provider` reads the configuration itself.

        `facts` tells a role about a daemon, for `status` and `ping`; `leave(force)` begins to end it, without `force`
        only if nothing is lost; `note_use` hears of each answer for which a credential was used or changed.
        """
        self.agent = agent
        self.logs = [log for log in (access_log, life_cycle_log) if log is not None]
        self._access_log = access_log
        self.logs_access = access_log is not None
        """Whether each `get` is logged, with the process that asks."""
        self._life_cycle_log = life_cycle_log
        if life_cycle_log is not None:
            agent.credential_store.on_revoked = lambda one: life_cycle_log.note(event_log_entry.entry("revoke", one))
        self._hosts = hosts
        self._facts = facts
        self._leave = leave
        self.note_use = note_use

    def answer(self, action: str, body: bytes, caller: Caller) -> Answer | None:
        """The answer, noted in the logs once it is known; None where the caller asked the daemon to leave."""
        log = self._access_log if action in access_log_entry.OPERATIONS else None
        grant = caller.role if isinstance(caller.role, Grant) else None
        is_ignored = grant is not None and GUEST not in ACTIONS.get(action, _CONTROL_ONLY)
        events = None if is_ignored else self._life_cycle_log
        begun = None if events is None else event_log_entry.begin(self.agent, action, body)
        reply = self._answer(action, body, caller) if grant is None else self._answer_grant(action, body, caller, grant)
        if reply and action in _USES and not is_ignored:
            self.note_use()
        if log is None and begun is None:
            return reply

        def note(answer: bytes) -> bytes:
            noted = []
            if log is not None:
                entry = access_log_entry.entry(self.agent, action, body, answer)
                if grant is not None:
                    entry |= {"grant": grant.id, **({"outcome": "refused"} if is_ignored else {})}
                noted.append((log, entry))
            if events is not None and begun is not None:
                noted += [(events, event) for event in event_log_entry.entries(self.agent, begun, answer)]
            if noted:
                asker = {"uid": caller.uid, "pid": caller.pid, "program": processes.programs(caller.pid)}
                for each, entry in noted:
                    each.note({**entry, **asker})
            return answer

        if reply is None:
            note(b"")
            return None
        return map_answer(reply, note)

    def lock_for_idleness(self) -> None:
        """Lock the vault because it was not used for the time that its owner set."""
        self.agent.lock("because it was idle")
        if self._life_cycle_log is not None:
            self._life_cycle_log.note({"event": "lock", "why": "because it was idle"})

    def _answer_grant(self, action: str, body: bytes, caller: Caller, grant: Grant) -> Answer | None:
        """What a grant's peer is answered. A `get` counts when it is answered, which may be after the grant's end."""
        grants, guest = self.agent.grants, Caller(caller.pid, caller.uid, GUEST)
        if GUEST not in ACTIONS.get(action, _CONTROL_ONLY):
            grant.ignored += 1
            if action == "erase":
                grants.note_rejection(grant, self.agent.credential_store.named_in(body))
            return ACKNOWLEDGED if action in ACTIONS else b""
        if action == "ping":
            return git_protocol.emit([pair for pair in self._facts(GUEST) if pair[0] in _FACTS_FOR_GRANTS])
        try:
            request = git_protocol.parse(body)
        except Error:
            return b""
        if not (grants.is_open(grant) and grant.covers(request)):
            grant.ignored += 1
            return b"" if action == "get" else git_protocol.emit(grant.limits())
        if action == "why":
            named = [(name, getattr(request, name)) for name in ("protocol", "host", "path", "username")]
            return self._answer(action, git_protocol.emit([pair for pair in named if pair[1]]), guest)

        def give(answer: bytes) -> bytes:
            secret = dict(git_protocol.parse_pairs(answer)).get("password")
            found = self.agent.credential_store.with_secret(secret, grant.scope) if secret else None
            return answer if secret and grants.use(grant, found) else b""

        return map_answer(self._answer(action, body, guest) or b"", give)

    def _answer(self, action: str, body: bytes, caller: Caller) -> Answer | None:
        if caller.role not in ACTIONS.get(action, _CONTROL_ONLY):
            return b""
        if action in _OPERATIONS:
            return self._operation(action, body, caller)
        if action == "exit" and self._leave is not None:
            self._leave(("force", "1") in git_protocol.parse_pairs(body))
            return None
        if action == "ping":
            return git_protocol.emit(self._facts(caller.role))
        if action == "status":
            head = git_protocol.emit(self._facts(caller.role))
            return map_answer(self._verb(action, body, caller), lambda answer: head + answer)
        return self._verb(action, body, caller)

    def _operation(self, operation: str, body: bytes, caller: Caller) -> Answer:
        try:
            request = git_protocol.parse(body)
        except Error:
            return b""

        is_owners = caller.role != GUEST
        if not is_owners:  # its state would say that Bitbucket rejected the token: an `erase` by another name
            request.states = request.capabilities = frozenset()
        asked = partial(_asked_path, caller, request)
        asker = partial(processes.requesting_git, caller.pid)

        def go_on() -> Answer:
            try:
                if operation == "get":
                    return self.agent.get(request, asked, asker, is_owners=is_owners, on_hit=caller.note_hit)
                agent = self._owner(request)
                if operation == "erase" and request.secret is None and agent.consumers is not None:
                    agent.consumers.erase(request)  # truncated: it is about all that match
                if operation == "store":
                    approves = partial(processes.is_credential_approve, caller.pid)
                    return agent.store(request, asked, approves, asker, caller.lifetime_s)
                return agent.erase(request, asked)
            except Error as exc:
                return b"" if operation == "get" else error_answer(exc)

        if self._hosts is None or self._hosts.known(request.protocol, request.host):
            return go_on()
        return self._hosts.after_reading(go_on)

    def _owner(self, request: Request) -> Agent:
        """Who has what a `store` or `erase` names: the agent of callers' own consumers, where one's token is meant."""
        consumers = self.agent.consumers
        if consumers is None or request.secret is None:
            return self.agent
        return self.agent if consumers.credential_store.with_secret(request.secret) is None else consumers

    def _verb(self, action: str, body: bytes, caller: Caller) -> Answer:
        from git_credential_bitbucket.agent.control_actions import control  # lazy: git's own operations need none of it

        def go_on() -> Answer:
            return control(self.agent, action, body, lambda: _asked_path(caller, git_protocol.parse(body)))

        if self._hosts is None or (action not in _READ_ALL_HOSTS and _is_host_known(self._hosts, body)):
            return go_on()
        return self._hosts.after_reading(go_on)


def _is_host_known(hosts: HostList, body: bytes) -> bool:
    """Whether the host that a verb names is known; also where it names none, or is refused further on."""
    try:
        single, _ = git_protocol.parse_fields(body)
    except Error:
        return True
    protocol = single.get("protocol", "")
    return "host" not in single or hosts.known(protocol, git_protocol.normalise_host(protocol, single["host"]))


def _asked_path(caller: Caller, request: Request) -> str | None:
    caller.was_examined = True
    return processes.asked_path(caller.pid, request.protocol, request.host)
