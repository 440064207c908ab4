"""A `get` without an answer: resolves the reason where that is possible at once, else reports it."""

import os

from git_credential_bitbucket import git_protocol
from git_credential_bitbucket.client import interactivity, messages
from git_credential_bitbucket.client.agent_client import AgentClient
from git_credential_bitbucket.errors import Error
from git_credential_bitbucket.helper import without_daemon

QUIT = b"quit=1\n"
"""git stops with our message instead of asking for a password (git-credential(1))."""


def resolve_missing(request: git_protocol.Request, data: bytes, client: AgentClient) -> bytes:
    """The answer once the reason is resolved; else empty or QUIT, and the reason has been reported."""
    why = ask_reason(data, client)
    for remedy in (foreign_daemon_replaced, host_known_here, unlocked_by_environment, renewal_finished):
        if remedy(why, client):
            messages.trace(f"{remedy.__name__.replace('_', ' ')}: trying again")
            reply = client.answer("get", data)
            if reply:
                return reply
            why = ask_reason(data, client)
    locked = why.get("state") == "locked"
    who = interactivity.available_prompt(os.environ, request.url)
    if who == interactivity.TERMINAL and (locked or why.get("state") in interactivity.RESOLVED_BY_LOGIN):
        if not resolved_by_person(request, why):
            return b""  # git asks for username and password itself
        reply = client.answer("get", data)
        if reply:
            if locked and client.in_process:
                without_daemon.mark_given(request, reply)
            return reply
        why = ask_reason(data, client)
    if who != interactivity.ASKPASS:
        report_missing(request, data, why, client)
    return QUIT if locked and who == interactivity.NON_INTERACTIVE else b""


def report_missing(request: git_protocol.Request, data: bytes, why: dict[str, str], client: AgentClient) -> None:
    """Report the reason with the hint for this process and this request."""
    if why.get("state") == "locked" and client.in_process:
        why["hint"] = without_daemon.locked_hint(request, why, client)
    if why.get("state") == git_protocol.OTHER_ACCOUNT:
        why = ask_reason(git_protocol.emit([("telling", "1")]) + data, client)  # other accounts are named once a day
    report(why)


def ask_reason(data: bytes, client: AgentClient) -> dict[str, str]:
    """The reply to `why`: `state`, `error`, `hint`. Empty where another program listens."""
    why = dict(git_protocol.parse_pairs(client.reply("why", data)))
    messages.trace(f"no credential: {why.get('state', 'the daemon gives no reason')}")
    return why


def report(why: dict[str, str]) -> None:
    """Print the reason and its hint."""
    messages.failure(interactivity.missing_credential(why))


def foreign_daemon_replaced(why: dict[str, str], client: AgentClient) -> bool:
    """Whether a daemon was started since the empty answer; starts one where another program listens.

    That is git's own cache daemon, which takes any free socket, and does not know `why`.
    """
    if not why and not client.in_process:
        client.start()
    return client.started


def host_known_here(why: dict[str, str], client: AgentClient) -> bool:
    """Whether this process answers: its configuration names a host that the daemon does not know."""
    return client.fall_back_in_process(why)


def renewal_finished(why: dict[str, str], _client: AgentClient) -> bool:
    """Whether a renewal that took longer than a `get` may has finished."""
    return why.get("state") == git_protocol.READY


def unlocked_by_environment(why: dict[str, str], client: AgentClient) -> bool:
    """Whether a daemon without the vault's key was unlocked with the key of this environment.

    An error of that key replaces the reason in `why`.
    """
    if why.get("state") != "locked" or client.in_process or not without_daemon.has_key():
        return False
    from git_credential_bitbucket.client.activate import third_party  # lazy: the rare case

    third_party()
    from git_credential_bitbucket.vault import key_sources  # lazy: the rare case

    try:
        key = key_sources.from_environment(os.environ)
    except Error as exc:
        why.update(error=exc.cause, hint=exc.hint or "")
        return False
    if key is None:
        return False
    try:
        client.answer("unlock", git_protocol.emit(list(key.to_record().items())))
    except Error:  # the wrong key; `why` has the better message
        return False
    return True


def resolved_by_person(request: git_protocol.Request, why: dict[str, str]) -> bool:
    """Have the user at the terminal unlock the vault or log in; False where they decline."""
    from git_credential_bitbucket.client.activate import third_party  # lazy: only a prompt needs it

    third_party()
    from git_credential_bitbucket import git_config  # lazy: as above

    git_config.adopt(os.environ)  # it may name the vault and its key
    if why.get("state") == "locked":
        from git_credential_bitbucket.cli import unlock  # lazy: it brings prompts and the keyring

        return unlock.during_get(request, why)
    from git_credential_bitbucket.cli import login  # lazy: it brings prompts, a browser and OAuth

    return login.during_get(request, why)
