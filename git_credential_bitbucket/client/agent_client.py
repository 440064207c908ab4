"""The client of the daemon, which is started where none runs; without a daemon, the agent in this process answers.

Used by the fallback and by commands. git's actions go to git's socket, all others to the control socket. Another
program that listens there (git's own cache daemon takes any socket that is free) is replaced by a daemon.
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
    """The daemon, or this process from the moment that no daemon can be started.

    `started` is whether it started a daemon, which may know more than the one before; `replaces_daemon`, whether this
    process answers because the daemon does not know the host.
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
        """The client, directed to the innermost enclosing `exec` that covers git's `request`, or to the outermost."""
        while outer := self.env.get(ipc.OUTER):
            if dict(git_protocol.parse_pairs(self.reply("why", request, start=start))).get("state") != "none":
                break
            socket, _, further = outer.partition(":")
            self.env = {**self.env, ipc.OUTER: further, **paths.private_daemon_variables(socket)}
            messages.trace(f"no credential of this exec covers the request; asking the exec around it at {socket}")
        return self

    def reply(self, action: str, body: bytes, *, start: bool = True) -> bytes:
        """The reply to `action`; empty where there is no answer, or where another program listens.

        With `start` off, no daemon is started: where none runs, this process answers. Raises `DaemonUnavailable` where
        the daemon does not answer, or only git's socket can be reached and it does not serve `action`; `InsecurePath`
        where another user could have made the socket.
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
            if is_there and action != "mint":  # it needs no vault
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
        """The reply of git's socket to `ping`. Raises `DaemonUnavailable` where none comes."""
        outcome, reply = self._send("ping", b"")
        if outcome == ipc.TIMEOUT:
            raise daemon_timeout()
        return dict(git_protocol.parse_pairs(reply))

    def answer(self, action: str, body: bytes) -> bytes:
        """As `reply`; raises the `Error` that the reply names."""
        reply = self.reply(action, body)
        raise_error(git_protocol.parse_pairs(reply))
        return reply

    def offered(self, action: str, body: bytes) -> bytes:
        """As `answer`, for an action whose reply may be empty; another program that listens is replaced first."""
        return self.answer(action, body) or (self.answer(action, body) if self.replace_foreign_daemon() else b"")

    def replace_foreign_daemon(self, *, start: bool = True) -> bool:
        """Replace another program that listens at the socket; returns whether one was replaced.

        A daemon takes its place; with `start` off, this process. A program that does not answer is not replaced: it may
        be a busy daemon of ours.
        """
        if self.in_process:
            return False
        if "pid" in self._ping():
            return False
        messages.trace("another program listens at the daemon's socket")
        self.in_process = not (start and self.start())
        return True

    def fall_back_in_process(self, why: "Mapping[str, str]") -> bool:
        """Answer in this process from now on if `why` says that the daemon does not know the host; returns whether so.

        The caller's configuration names it: by `git -c` or variables, which count for one command and not for the
        daemon.
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
        """Start a daemon, also in place of another program. Returns False, and reports why, where that fails."""
        from git_credential_bitbucket.client import daemon_launcher  # lazy: mostly the daemon is there

        try:
            daemon_launcher.start(self.env)
        except DaemonDisabled as exc:
            messages.trace(exc.cause)
            return False
        except DaemonUnavailable as exc:
            messages.failure(exc)  # go on without: the vault's lock makes that safe
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
    """As `reply_to`, the reply as pairs in order."""
    return git_protocol.parse_pairs(reply_to(action, fields, request, start=start, client=client))


def reply_to(
    action: str,
    fields: "Iterable[tuple[str, str]]" = (),
    request: bytes = b"",
    *,
    start: bool = True,
    client: AgentClient | None = None,
) -> bytes:
    """The reply to `action`, a line a pair. Raises the `Error` that the reply names, or `DaemonUnavailable`.

    `request` is git's own lines, where the action takes them. With `start` off no daemon is started.
    """
    directed = (client or AgentClient()).for_request(request, start=start)
    body = git_protocol.emit(list(fields)) + request
    reply = directed.reply(action, body, start=start)
    if b"=" not in reply and directed.replace_foreign_daemon(start=start):
        reply = directed.reply(action, body)
    if b"=" not in reply:
        hint = "run: git-credential-bitbucket daemon start"
        raise DaemonUnavailable("another program listens at the daemon's socket", hint=hint)
    if reply.startswith(b"error="):
        raise_error(git_protocol.parse_pairs(reply))
    return reply


def raise_error(reply: Pairs) -> None:
    """Raise the `Error` of a reply that is `error=` and `hint=`."""
    if reply and reply[0][0] == "error":
        raise Error(reply[0][1], hint=dict(reply).get("hint"))


def control_unreachable() -> DaemonUnavailable:
    """The error where only git's socket can be reached: one that is forwarded, or mounted."""
    return DaemonUnavailable(
        "this command needs the daemon's control socket, and only git's socket can be reached here",
        hint="run it where the daemon runs, not in a container or through a forwarded socket",
    )


def daemon_timeout(seconds: float = ipc.RELAY_TIMEOUT_S) -> DaemonUnavailable:
    """The error for a daemon that accepted a request and did not answer within `seconds`."""
    hint = "if it is stuck, run: git-credential-bitbucket daemon stop"
    return DaemonUnavailable(f"the daemon did not answer within {seconds:.0f} seconds", hint=hint)
