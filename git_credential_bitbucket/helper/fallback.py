"""Serves git's request where the daemon was not asked, does not run, or had no answer.

Decides whether the host is a Bitbucket and whether the environment answers, before a daemon is started. Imports little:
with a token in the environment, each git command runs this.
"""

import os
import time

from git_credential_bitbucket import git_protocol
from git_credential_bitbucket.bitbucket import hosts, scopes, token_kinds
from git_credential_bitbucket.client import environment_tokens, ipc, messages, secret_markers
from git_credential_bitbucket.errors import Error, SettingsError, SourceFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from git_credential_bitbucket.client.agent_client import AgentClient

STALL_S = 5.0
"""A daemon that takes so long for an empty reply is busy, and is not asked again at once."""


def run(operation: str, data: bytes, outcome: str) -> bytes:
    """The answer to git's request; `outcome` is the relay's with the daemon."""
    try:
        request = git_protocol.parse(data)
        product = hosts.find_product_now(os.environ, request.protocol, request.host) if request.is_web else None
        ours = product is not None and scopes.is_below(product[1], request.path)
        messages.trace(
            f"{operation}: {request.url}: {'a Bitbucket host' if ours else 'not a configured Bitbucket host'}"
        )
        if not ours:
            return b""
        if outcome == ipc.TIMEOUT:
            # It may be renewing a token, so it is neither bypassed nor stopped.
            from git_credential_bitbucket.client.agent_client import daemon_timeout  # lazy: it needs the daemon

            raise daemon_timeout()
        if operation == "get":
            reply = get(request, data, outcome)
            if messages.is_traced():
                from git_credential_bitbucket.helper import trace  # lazy: somebody looks into something

                trace.trace_answer(reply)
            return reply
        if operation == "store":
            store(request, data)
        else:
            erase(request, data)
    except Error as exc:
        messages.failure(exc)
    except OSError as exc:  # out of descriptors or memory
        messages.system_error(exc)
    except ImportError as exc:
        report_missing_module(operation, exc)
    return b""


def report_missing_module(operation: str, exc: ImportError) -> None:
    """Report a missing module; the one-file program has only what the environment needs, and ignores a `store`."""
    from git_credential_bitbucket.client import activate  # lazy: a token from the environment needs none of it

    if activate.archive() is None:
        hint = "reinstall git-credential-bitbucket for the Python that it runs on"
        messages.error(f"the installation is incomplete: module {exc.name} is missing", hint)
    elif operation == "get":
        cause = "the environment holds no token for this host, and this one-file program has no vault and no login"
        hint = "set BITBUCKET_API_TOKEN or BITBUCKET_ACCESS_TOKEN, or install the whole program"
        messages.error(cause, hint)


def get(request: git_protocol.Request, data: bytes, outcome: str) -> bytes:
    """The answer to git's `get`; where it is empty, the reason has been reported. Raises an `Error`."""
    found = environment_tokens.find(os.environ, request)
    goes_first = (
        "no token and no consumer" if found is None else f"{found.variable} takes precedence over stored credentials"
    )
    messages.trace(f"the environment: {goes_first}")
    if found is not None and found.client_id is None:
        environment_tokens.check(found, request.base, os.environ)
        return environment_tokens.format_answer(found)
    # lazy: a token from the environment needs none of it
    from git_credential_bitbucket.client.agent_client import AgentClient

    client = AgentClient().for_request(data)
    if found is not None:
        return get_client_credentials(request, data, found, client)
    if messages.is_traced():
        from git_credential_bitbucket.helper import trace  # lazy: somebody looks into something

        trace.trace_candidates(request, data, client)
    if outcome == ipc.UNACKNOWLEDGED:
        client.replace_foreign_daemon()  # it may be git's own cache daemon
    reply = client.answer("get", data) if outcome != ipc.EMPTY else b""
    if reply:
        return reply
    from git_credential_bitbucket.helper import no_credential  # lazy: an answer needs none of it

    return no_credential.resolve_missing(request, data, client)


def get_client_credentials(
    request: git_protocol.Request,
    data: bytes,
    consumer: "environment_tokens.EnvironmentCredential",
    client: "AgentClient",
) -> bytes:
    """The answer with the OAuth consumer of the environment; where it is empty, the reason has been reported.

    Raises an `Error`.
    """
    from git_credential_bitbucket.client import consumer_tokens  # lazy: few runners have a consumer
    from git_credential_bitbucket.helper import no_credential  # lazy: as above

    reply = consumer_tokens.mint(request, data, consumer, client)
    for remedy in (no_credential.foreign_daemon_replaced, no_credential.host_known_here):
        if not reply and remedy(no_credential.ask_reason(data, client), client):
            reply = consumer_tokens.mint(request, data, consumer, client)
    if not reply:
        no_credential.report(no_credential.ask_reason(data, client))
    return reply


def store(request: git_protocol.Request, data: bytes) -> None:
    """Have a secret stored, unless it comes from the environment. Raises an `Error` where it is not stored."""
    if request.password is None:
        messages.trace("store: the request has no password, so nothing is stored")  # it is another helper's (authtype)
        return
    if environment_tokens.is_fetched(os.environ) and request.username in token_kinds.TOKEN_USERNAMES:
        messages.trace("store: a source in the environment has tokens of this kind, so it is not stored")
        return  # without asking the source again
    found = find_usable(request)
    if found is not None and environment_tokens.is_about(request, found):
        messages.trace(f"store: the secret comes from {found.variable}, so it is not stored")
    else:
        deliver("store", request, data)


def erase(request: git_protocol.Request, data: bytes) -> None:
    """Record a rejection: here for a secret of the environment, else where it is stored. Raises an `Error`."""
    found = find_usable(request)
    if found is None or not environment_tokens.is_about(request, found):
        deliver("erase", request, data)
    elif found.client_id is None or not reject_client_credentials(request, data, found):
        messages.trace(f"erase: {found.variable} is not offered again for now")
        product = hosts.find_product_now(os.environ, request.protocol, request.host)
        if product is not None and product[0] == hosts.DATA_CENTER:
            secret_markers.mark(
                os.environ, environment_tokens.login_at(request.base, found), found.secret, secret_markers.REJECTED
            )
        else:
            secret_markers.mark(os.environ, request.base, found.secret)


def reject_client_credentials(
    request: git_protocol.Request, data: bytes, consumer: "environment_tokens.EnvironmentCredential"
) -> bool:
    """Report the rejection of a consumer's token; returns whether it is recorded where the token is."""
    if not ipc.is_daemon_off(os.environ) and not deliver("erase", request, data):
        return True
    from git_credential_bitbucket.client import consumer_tokens  # lazy: see `get`
    from git_credential_bitbucket.client.agent_client import AgentClient  # lazy: see `get`

    client = AgentClient()
    client.in_process = True
    return consumer_tokens.erase(request, data, consumer, client)


def find_usable(request: git_protocol.Request) -> "environment_tokens.EnvironmentCredential | None":
    """The environment's credential for `request`, if it is usable; else the `get` before has reported why."""
    try:
        return environment_tokens.find(os.environ, request)
    except (SettingsError, SourceFailed):
        return None


def deliver(operation: str, request: git_protocol.Request, data: bytes) -> bool:
    """Have a `store` or `erase` done: by the daemon, a new one, or this process. Raises an `Error` where it fails.

    Returns whether it was this process, which has no memory of it later.
    """
    # lazy: see `get`
    from git_credential_bitbucket.client.agent_client import AgentClient, daemon_timeout
    from git_credential_bitbucket.helper import without_daemon

    client = AgentClient().for_request(data)
    asked_at = time.monotonic()
    if is_acknowledged(without_daemon.store_or_erase(operation, request, data, client), client) or client.in_process:
        return client.in_process
    waited_s = time.monotonic() - asked_at
    if waited_s > STALL_S:
        raise daemon_timeout(waited_s)
    # An empty reply: a daemon that does not know the host or is stopping, or git's own cache daemon.
    if not client.fall_back_in_process(dict(git_protocol.parse_pairs(client.reply("why", data)))):
        if client.start() and is_acknowledged(without_daemon.store_or_erase(operation, request, data, client), client):
            return False
        client.in_process = True
    is_acknowledged(without_daemon.store_or_erase(operation, request, data, client), client)
    return True


def is_acknowledged(reply: bytes, client: "AgentClient") -> bool:
    """Whether `reply` acknowledges a `store` or `erase`. Prints the notices in it."""
    if not reply.startswith(ipc.ACKNOWLEDGED):
        return False
    if reply != ipc.ACKNOWLEDGED:
        from git_credential_bitbucket.helper import notices  # lazy: a few times in a token's life

        notices.print_notices(reply, client)
    return True
