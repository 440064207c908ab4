"""Asks whoever holds the credentials: the daemon, started if there is none, or an agent in this process.

The client's side of the socket protocol, for the fallback and for a person's verbs: what git's socket answers is asked
there, all else at the control socket. Who is none of ours and listens on
our socket (git's own cache daemon sits down wherever it finds nobody) has a daemon started in its place.
"""

import os

from git_credential_bitbucket import git_protocol, paths
from git_credential_bitbucket.client import ipc, messages
from git_credential_bitbucket.errors import DaemonDisabled, DaemonUnavailable, Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, MutableMapping

Pairs = list[tuple[str, str]]


class AgentClient:
    """Who holds the credentials. A class for its state: once no daemon can be had, this process answers to its end.

    `started` tells whether a daemon was started on the way: what one before it said may not hold any more. `instead`
    tells that this process answers in the place of a daemon that does not know the host.
    """

    __slots__ = ("env", "in_process", "replaces_daemon", "started")

    def __init__(self) -> None:
        if ipc.names_settings(os.environ):
            from git_credential_bitbucket import git_config  # lazy: it runs git, and only `git -c` needs it here

            git_config.adopt(os.environ)
        self.env: MutableMapping[str, str] = os.environ
        self.in_process = ipc.is_daemon_off(os.environ)
        self.replaces_daemon = False
        self.started = False

    def for_request(self, request: bytes, *, start: bool = True) -> "AgentClient":
        """Itself, turned to the innermost `exec` around here that covers git's `request`, or to the outermost."""
        while outer := self.env.get(ipc.OUTER):
            if dict(git_protocol.parse_pairs(self.reply("why", request, start=start))).get("state") != "none":
                break
            socket, _, further = outer.partition(":")
            self.env = {**self.env, ipc.OUTER: further, **paths.private_daemon_variables(socket)}
            messages.trace(f"no credential of this exec covers the request; asking the exec around it at {socket}")
        return self

    def reply(self, action: str, body: bytes, *, start: bool = True) -> bytes:
        """The bytes that answer `action`; empty where there is nothing to offer, or whoever listens is none of ours.

        With `start` off, no daemon is started: where none runs, this process answers.

        Raises `DaemonUnavailable` where the daemon keeps silent, and where only git's socket can be reached and it does
        not answer `action`; and `InsecurePath` where somebody else could have put the socket there.
        """
        if not self.in_process:
            outcome, reply = self._send(action, body)
            is_there = outcome != ipc.ABSENT
            if not is_there:
                is_there = action not in git_protocol.GIT_ACTIONS and "vault_id" in self._ping()
                is_there = is_there or (start and self.start())
                if is_there:
                    outcome, reply = self._send(action, body)
            if outcome == ipc.TIMEOUT:
                raise daemon_timeout()
            if outcome != ipc.ABSENT:
                return reply
            if is_there and action != "mint":  # which needs no vault
                raise control_unreachable()
            self.in_process = start  # a daemon that could not be started is not tried again
        from git_credential_bitbucket.client import in_process

        messages.trace(f"{action}: handled in this process, without a daemon")
        return in_process.reply(action, body)

    def _send(self, action: str, body: bytes) -> "tuple[ipc.Outcome, bytes]":
        path, vault_id = paths.socket_path(self.env), paths.named_vault_id(self.env)
        if action not in git_protocol.GIT_ACTIONS:
            path = paths.control_socket(path)
            vault_id = paths.vault_id(self.env) if action != "mint" else ""
        outcome, reply = ipc.send_request(path, ipc.format_request(action, body, vault_id))
        messages.trace(f"{action}: the daemon at {path}: {outcome}")
        return outcome, reply

    def _ping(self) -> dict[str, str]:
        """What whoever listens at git's socket says of itself. Raises `DaemonUnavailable` where it keeps silent."""
        outcome, reply = self._send("ping", b"")
        if outcome == ipc.TIMEOUT:
            raise daemon_timeout()
        return dict(git_protocol.parse_pairs(reply))

    def answer(self, action: str, body: bytes) -> bytes:
        """As `reply`; raises the `Error` that a refusal tells."""
        reply = self.reply(action, body)
        raise_error(git_protocol.parse_pairs(reply))
        return reply

    def offered(self, action: str, body: bytes) -> bytes:
        """As `answer`, for a question that may be answered with nothing, but not by who is none of ours."""
        return self.answer(action, body) or (self.answer(action, body) if self.replace_foreign_daemon() else b"")

    def replace_foreign_daemon(self, *, start: bool = True) -> bool:
        """Whether another answers from now on than listened, which is none of ours: a daemon, or this process.

        With `start` off it is this process, and whoever listens goes on.
        Who keeps silent is not replaced: it may be a daemon of ours, in the middle of something.
        """
        if self.in_process:
            return False
        if "pid" in self._ping():
            return False
        messages.trace("another program listens at the daemon's socket")
        self.in_process = not (start and self.start())
        return True

    def fall_back_in_process(self, why: "Mapping[str, str]") -> bool:
        """Whether this process answers from now on, for the daemon says in `why` that it does not know the host.

        The caller's configuration has named it already: by `git -c`, or by variables, which are one command's and not
        the daemon's. What follows is as where no daemon may run, for every question that this process still has.
        """
        if self.in_process or why.get("state") != git_protocol.UNKNOWN_HOST:
            return False
        messages.trace(
            "only this process's configuration names the host, so this process answers instead of the daemon"
        )
        os.environ[ipc.DAEMON] = "off"
        self.in_process = self.replaces_daemon = True
        return True

    def start(self) -> bool:
        """Start a daemon, also in the place of who is none of ours. False, and the reason told, if that cannot be."""
        from git_credential_bitbucket.client import daemon_launcher  # lazy: mostly the daemon is there

        try:
            daemon_launcher.start(self.env)
        except DaemonDisabled as exc:
            messages.trace(exc.cause)
            return False
        except DaemonUnavailable as exc:
            messages.failure(exc)  # and go on: the vault's lock makes it safe without
            return False
        self.started = True
        messages.trace("daemon started")
        return True


def ask(
    action: str,
    fields: "Iterable[tuple[str, str]]" = (),
    request: bytes = b"",
    *,
    start: bool = True,
    client: AgentClient | None = None,
) -> Pairs:
    """The lines that answer `action`, in their order. Raises the `Error` that the answer tells, or `DaemonUnavailable`.

    `request` are git's own lines, for the verbs that take them. With `start` off no daemon is started. Who asks more
    than once keeps the `client`.
    """
    directed, body = (
        (client or AgentClient()).for_request(request, start=start),
        git_protocol.emit(list(fields)) + request,
    )
    found = git_protocol.parse_pairs(directed.reply(action, body, start=start))
    if not found and directed.replace_foreign_daemon(start=start):
        found = git_protocol.parse_pairs(directed.reply(action, body))
    if not found:
        raise DaemonUnavailable(
            "another program listens at the daemon's socket",
            hint="run: git-credential-bitbucket daemon start",
        )
    raise_error(found)
    return found


def raise_error(reply: Pairs) -> None:
    """Raise what a reply of `error=` and `hint=` says; other replies pass."""
    if reply and reply[0][0] == "error":
        raise Error(reply[0][1], hint=dict(reply).get("hint"))


def control_unreachable() -> DaemonUnavailable:
    """What to say where a daemon answers at git's socket alone: one that is forwarded, or mounted."""
    return DaemonUnavailable(
        "this command needs the daemon's control socket, and only git's socket can be reached here",
        hint="run it where the daemon runs, not in a container or through a forwarded socket",
    )


def daemon_timeout(seconds: float = ipc.RELAY_TIMEOUT_S) -> DaemonUnavailable:
    """What to say of a daemon that took a request and did not answer it in time."""
    hint = "if it is stuck, run: git-credential-bitbucket daemon stop"
    return DaemonUnavailable(f"the daemon did not answer within {seconds:.0f} seconds", hint=hint)
