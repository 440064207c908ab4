"""Where thinking starts: the daemon was not asked, is not there, or had nothing to offer.

Decides whether the host is ours and whether the environment answers; only then is a daemon started. Imports little, for
a token from the environment passes here with every git command.
"""

import os
import time

from git_credential_bitbucket import wire
from git_credential_bitbucket.bitbucket import hosts
from git_credential_bitbucket.client import environment, exchange, markers, tell
from git_credential_bitbucket.errors import Error, SettingsError
from git_credential_bitbucket.front import relay

TYPE_CHECKING = False
if TYPE_CHECKING:
    from git_credential_bitbucket.client.ask import Holder

STUCK_S = 5.0
"""A daemon that takes so long to say nothing is at work on something, and not to be asked again at once."""


def run(operation: str, data: bytes, outcome: str) -> None:
    """Serve git's request from the start; `outcome` is what became of it at the daemon (one of relay's words)."""
    try:
        request = wire.parse(data)
        ours = request.is_web and hosts.is_ours_now(os.environ, request.protocol, request.host)
        tell.trace(f"{operation}: {request.url}: {'a host of ours' if ours else 'not a host of ours, so no word'}")
        if not ours:
            return
        if outcome == exchange.TIMEOUT:
            # It may be refreshing at this moment, so nobody refreshes beside it, or ends it.
            from git_credential_bitbucket.client.ask import silent  # here, not above: as all that needs the daemon

            raise silent()
        if operation == "get":
            reply = get(request, data, outcome)
            if tell.is_traced():
                from git_credential_bitbucket.front import traced  # here, not above: somebody looks into something

                traced.tell_answer(reply)
            relay.write(1, reply)
        elif operation == "store":
            store(request, data)
        else:
            erase(request, data)
    except Error as exc:
        tell.failure(exc)
    except OSError as exc:  # no descriptor or no memory to be had: nothing that one request could mend
        tell.refused(exc)
    except ImportError as exc:
        hint = "install git-credential-bitbucket again, for the Python that it runs on"
        tell.error(f"the installation is not whole: there is no {exc.name}", hint)


def get(request: wire.Request, data: bytes, outcome: str) -> bytes:
    """The answer to git's `get`; where it is empty, the reason has been told. Raises an `Error` that is the reason."""
    found = environment.find(os.environ, request)
    goes_first = "no token and no consumer" if found is None else f"{found.variable} goes before anything kept"
    tell.trace(f"the environment: {goes_first}")
    if found is not None and found.client_id is None:
        environment.check(found, request.base, os.environ)
        return environment.answer(found)
    # here, not above: a token from the environment needs none of it
    from git_credential_bitbucket.client.ask import Holder
    from git_credential_bitbucket.front import unanswered

    holder = Holder().for_(data)
    if found is not None:
        from git_credential_bitbucket.front import client_credentials  # lazy: a runner without a token of its own

        return client_credentials.get(request, data, found, holder)
    if tell.is_traced():
        from git_credential_bitbucket.front import traced  # here, not above: somebody looks into something

        traced.tell_choice(request, data, holder)
    if outcome == exchange.UNACKNOWLEDGED:
        holder.takes_over()  # it may be git's own cache daemon that has answered
    reply = holder.answer("get", data) if outcome != exchange.EMPTY else b""
    return reply or unanswered.mended(request, data, holder)


def store(request: wire.Request, data: bytes) -> None:
    """Have it kept, unless it comes from the environment. Raises an `Error` where it is not kept."""
    if request.password is None:
        tell.trace("store: it holds no password, so nothing to keep")  # ready-made by another helper (authtype)
        return
    found = usable(request)
    if found is not None and environment.names(request, found):
        tell.trace(f"store: it comes from {found.variable}, and is not kept")
    else:
        insist("store", request, data)


def erase(request: wire.Request, data: bytes) -> None:
    """Have the rejection judged: here for what comes from the environment, else where it is kept. Raises an `Error`."""
    found = usable(request)
    if found is None or not environment.names(request, found):
        insist("erase", request, data)
    # Whoever minted a consumer's token judges its rejection, unless that was a process that has ended since.
    elif found.client_id is None or exchange.is_off(os.environ) or insist("erase", request, data):
        tell.trace(f"erase: nothing of {found.variable} is offered for a minute")
        markers.leave(os.environ, request.base, found.secret)


def usable(request: wire.Request) -> "environment.EnvironmentCredential | None":
    """What the environment holds for `request`, if it can be used: else the `get` before this has told why."""
    try:
        return environment.find(os.environ, request)
    except SettingsError:
        return None


def insist(operation: str, request: wire.Request, data: bytes) -> bool:
    """Have a `store` or `erase` done: by the daemon, by a new one, by this process. Raises an `Error` if it is not.

    Returns whether it was this process, which will not remember it.
    """
    # here, not above: see `get`
    from git_credential_bitbucket.client.ask import Holder, silent
    from git_credential_bitbucket.front import alone

    holder = Holder().for_(data)
    asked_at = time.monotonic()
    if is_done(alone.reply(operation, request, data, holder), holder) or holder.in_process:
        return holder.in_process
    waited_s = time.monotonic() - asked_at
    if waited_s > STUCK_S:
        raise silent(waited_s)
    # It took the request and said nothing: a daemon that does not know the host, one on its way out, or git's own cache
    # daemon on our socket.
    if not holder.stands_in(dict(wire.parse_pairs(holder.reply("why", data)))):
        if holder.start() and is_done(alone.reply(operation, request, data, holder), holder):
            return False
        holder.in_process = True
    is_done(alone.reply(operation, request, data, holder), holder)
    return True


def is_done(reply: bytes, holder: "Holder") -> bool:
    """Whether `reply` acknowledges a `store` or `erase`. If it names a credential that ends soon, that is told."""
    if not reply.startswith(exchange.ACKNOWLEDGED):
        return False
    if reply != exchange.ACKNOWLEDGED:
        from git_credential_bitbucket.front import ending  # here, not above: a few times in a token's life

        ending.tell_of(reply, holder)
    return True
