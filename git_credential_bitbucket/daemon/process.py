"""The daemon process: it reads its document, listens, imports the agent and serves."""

from __future__ import annotations

import gc
import json
import os
import time
from typing import TYPE_CHECKING, Any

from git_credential_bitbucket import access_log, git_config, paths
from git_credential_bitbucket.agent import upgrade_state  # not late: by then the files are another version's
from git_credential_bitbucket.daemon import hardening, lifecycle, limits, listener, peers, supervisor, upgrade
from git_credential_bitbucket.daemon.thread_pool import ThreadPool
from git_credential_bitbucket.errors import Error, SettingsError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping, Sequence

    from git_credential_bitbucket.agent.agent import Agent
    from git_credential_bitbucket.agent.dispatch import Role
    from git_credential_bitbucket.daemon.grant_sockets import GrantSockets

LISTENER_OPTIONS: dict[peers.SocketName, str] = {
    "git": "--listen-fd",
    "control": "--control-fd",
    "guests": "--guests-fd",
}
_CONFIG_PREFIX = "GIT_CONFIG_"
"""git's configuration by variables is one caller's, so a daemon that serves all reads the default files. A host that it
does not know then is served in the caller's process (`AgentClient.fall_back_in_process`)."""
_SECRET_PREFIXES = ("GIT_CREDENTIAL_BITBUCKET_KEY", "BITBUCKET_", *paths.SOURCE_PREFIXES)
"""Removed from our own environment, which child processes inherit."""


def serve(
    argv: Sequence[str], options: Mapping[str, str], descriptors: Mapping[str, int], step: Callable[[str], None]
) -> None:
    """Serve with the `options` of `argv` until the daemon stops; return at once if another daemon serves here.

    `step` is called with the named points of a renewal and of a vault's write. Raises an `Error` where it cannot start.
    """
    hardening.check_untraced()
    predecessor = upgrade.Predecessor(options["--predecessor"]) if "--predecessor" in options else None
    daemon = DaemonProcess(argv, descriptors, predecessor, options, step)
    if daemon.listeners:
        daemon.run()
    else:
        supervisor.report("ready\n")  # another daemon serves
    supervisor.report_clean_exit(daemon.descriptors)


class DaemonProcess:
    """A daemon, with what an upgrade hands over: environment, claimed paths, descriptors."""

    def __init__(
        self,
        argv: Sequence[str],
        descriptors: Mapping[str, int],
        predecessor: upgrade.Predecessor | None,
        options: Mapping[str, str],
        step: Callable[[str], None],
    ) -> None:
        """Read the document and claim the paths; there are no `listeners` if another daemon serves there."""
        self._argv = argv
        self._memory = "--memory" in options
        self._step = step
        self.descriptors = {**descriptors, **(predecessor.descriptors if predecessor is not None else {})}
        self._until_eof = descriptors.get("--until-eof")
        self._predecessor = predecessor
        self._handover: dict[str, Any] = predecessor.document if predecessor is not None else {}
        if "--handover-fd" in descriptors:
            self._handover = upgrade.read_handover(descriptors["--handover-fd"])
        self._env: dict[str, str] = self._handover.get("env") or _read_document(is_required="--detached" in options)
        if self._until_eof is None:
            self._env = {name: value for name, value in self._env.items() if not name.startswith(_CONFIG_PREFIX)}
        _replace_environment(self._env)
        self._idle_exit = 0.0
        if self._until_eof is None:
            self._idle_exit = lifecycle.seconds_of(self._env, lifecycle.IDLE_EXIT, lifecycle.IDLE_EXIT_S)
        self._lock_after = lifecycle.seconds_of(self._env, lifecycle.LOCK_AFTER, 0.0)
        self._guests = peers.admitted_uids(self._env)
        log = access_log.log_path(self._env)
        self._access_log = None if log is None else access_log.AccessLog(log)
        self._life_cycle_log = access_log.AccessLog(access_log.event_log_path(self._env), access_log.EVENT_RETENTION_S)
        self._vault_id = paths.vault_id(self._env)
        self._fault = ""
        self._claim = listener.Listener(paths.socket_path(self._env))
        self.listeners: dict[peers.SocketName, socket.socket] = {}
        wanted = listener.socket_paths(self._claim.path, guests=bool(self._guests))
        if "--listen-fd" in self.descriptors:
            self._inherit(self.descriptors, wanted)
        elif (taken := listener.claim(wanted)) is not None:
            self.listeners, self._claim = taken

    def _inherit(self, descriptors: Mapping[str, int], wanted: dict[peers.SocketName, str]) -> None:
        """Take the sockets of systemd or a predecessor, and make those that it did not have."""
        for door, option in LISTENER_OPTIONS.items():
            if option in descriptors:
                self.listeners[door] = listener.adopt_listener(descriptors[option])
        handed = self._handover
        held = handed.get("held") or ({self._claim.path: handed["claim"]} if handed.get("claim") else {})  # 0.1.0's
        self._claim.held = {path: tuple(identity) for path, identity in held.items()}
        try:
            self.listeners |= self._claim.listen({d: path for d, path in wanted.items() if d not in self.listeners})
        except Error as exc:
            if not handed:
                raise
            self._fault = exc.cause  # the state in memory matters more

    def run(self) -> None:
        """Serve until the daemon stops."""
        # lazy: clients that connect meanwhile wait at the socket
        from git_credential_bitbucket.agent.dispatch import Dispatcher
        from git_credential_bitbucket.agent.from_environment import build_agent
        from git_credential_bitbucket.daemon.configured_hosts import ConfiguredHosts
        from git_credential_bitbucket.daemon.grant_sockets import GrantSockets
        from git_credential_bitbucket.daemon.request_handler import RequestHandler
        from git_credential_bitbucket.daemon.server import Server

        workers = ThreadPool(on_end=lambda: server.wake())  # noqa: PLW0108 - it is made further down
        hosts = ConfiguredHosts(self._env, workers.submit)
        agent = build_agent(
            self._env,
            workers.submit,
            hosts.find,
            in_memory=self._memory,
            # The predecessor decides: the vault may have been locked by a person.
            with_key=not self._handover,
            step=self._step,
            submit_renewal=workers.submit_renewal,
        )
        agent.grants.elapsed = lifecycle.clock
        self._take_over(agent)
        # A daemon of one command is not upgraded.
        watch = None if self._memory or self._until_eof is not None else upgrade.PackageWatch()
        started_at = self._handover.get("started_at", time.time())
        idle_s = self._handover.get("idle_s", 0.0)
        life = lifecycle.Lifecycle(self._claim, workers, self._idle_exit, watch, started_at, self._lock_after, idle_s)
        life.adopted = self._env if watch is not None else None
        admit = peers.admission_rules(self._guests)
        dispatcher = Dispatcher(
            agent,
            hosts,
            self._access_log,
            self._life_cycle_log,
            lambda role: [*life.facts(server), *self._facts(role)],
            life.request_exit,
            life.mark_used,
        )
        peer_limits = limits.Limits(clients=limits.max_clients(hardening.open_files_limit()))
        handler = RequestHandler(dispatcher, self._vault_id, hosts.current)
        server = Server(
            {listener: admit[door] for door, listener in self.listeners.items()}, handler.answer, peer_limits
        )
        server.on_answered = handler.look_again
        server.fault = self._fault
        sockets = GrantSockets(self._claim.path, server, agent.grants)
        sockets.adopt(self.descriptors, self._handover.get("grant_sockets", {}))
        life.lock_for_idleness = dispatcher.lock_for_idleness
        life.install_signal_handlers(server)
        for name in ("--until-eof", supervisor.SUPERVISOR):
            if name in self.descriptors:
                life.stop_with(self.descriptors[name], server)
        if self._predecessor is not None and not self._predecessor.hands_over():
            os._exit(1)
        supervisor.report("ready\n")
        gc.freeze()
        gc.enable()
        agent.credential_store.vault.follow()
        life.run(
            server,
            agent,
            can_start=lambda: upgrade.can_start(upgrade.command(["--check"], self._argv)),
            start_successor=lambda: self._start_successor(agent, life, sockets),
        )
        sockets.close()
        self._close_logs()
        if self._until_eof is not None:
            listener.remove_directory(self._claim.path)

    def _facts(self, role: Role) -> list[tuple[str, str]]:
        """The facts of `ping` and `status` beside the process's: the vault's id and, for control, paths."""
        places = [
            ("vault_path", paths.shown(paths.vault_address(self._env))),
            ("socket", paths.shown(self._claim.path)),
        ]
        return [("vault_id", self._vault_id), *(places if role == "control" else [])]

    def _take_over(self, agent: Agent) -> None:
        if "agent" not in self._handover:
            return
        try:
            upgrade_state.import_state(agent, self._handover["agent"])
        except Error:  # the vault has another key now, so it is locked
            pass
        del self._handover["agent"]

    def _close_logs(self) -> None:
        for log in filter(None, (self._access_log, self._life_cycle_log)):
            log.close()

    def _start_successor(self, agent: Agent, life: lifecycle.Lifecycle, sockets: GrantSockets) -> None:
        document = {
            "env": self._env,
            "held": self._claim.held,
            "agent": upgrade_state.export_state(agent),
            "grant_sockets": sockets.held(),
            "started_at": life.started_at,
            "idle_s": life.idle_s,
        }
        self._close_logs()
        descriptors = {LISTENER_OPTIONS[door]: listener.fileno() for door, listener in self.listeners.items()}
        descriptors |= sockets.descriptors()
        if not supervisor.IS_SEPARATE:
            upgrade.exec_successor(upgrade.command([], self._argv), document, descriptors)
            return
        if supervisor.SUPERVISOR in self.descriptors:
            descriptors[supervisor.SUPERVISOR] = self.descriptors[supervisor.SUPERVISOR]
        command = upgrade.command(["--detached"], self._argv)
        if upgrade.hand_over(command, document, descriptors, lambda: not life.is_stopping):
            os._exit(0)


def _read_document(*, is_required: bool) -> dict[str, str]:
    """The starter's environment from standard input; our own where a service manager or a user started us.

    Raises `SettingsError` for an invalid document, and where one `is_required` and the starter has exited without it.
    """
    if not os.isatty(0):
        with open(0, "rb", closefd=False) as file:
            data = file.read()
        if data or is_required:
            try:
                env = json.loads(data)["env"]
                return {str(name): str(value) for name, value in env.items()}
            except (ValueError, KeyError, TypeError, AttributeError):
                hint = "run: git-credential-bitbucket daemon start"
                raise SettingsError("the document on the daemon's standard input is invalid", hint=hint) from None
    env = dict(os.environ)
    git_config.adopt(env)
    return env


def _replace_environment(env: Mapping[str, str]) -> None:
    """Replace our environment by `env` without its secrets: libraries read it (proxies, D-Bus), and children get it."""
    os.environ.clear()
    os.environ.update({n: v for n, v in env.items() if not n.startswith(_SECRET_PREFIXES)})
