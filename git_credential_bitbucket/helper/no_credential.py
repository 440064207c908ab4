"""A `get` that got nothing: why, whether it can be mended here and now, and else who is told what."""

import os

from git_credential_bitbucket import git_protocol
from git_credential_bitbucket.client import interactivity, messages
from git_credential_bitbucket.client.agent_client import AgentClient
from git_credential_bitbucket.errors import Error
from git_credential_bitbucket.helper import without_daemon

QUIT = b"quit=1\n"
"""git stops with our message, instead of asking for a password that would not help (git-credential(1))."""


def resolve_missing(request: git_protocol.Request, data: bytes, client: AgentClient) -> bytes:
    """The answer once the reason is out of the way; else empty, or QUIT, and the reason has been told."""
    why = ask_reason(data, client)
    for mend in (foreign_daemon_replaced, host_known_here, unlocked_by_environment, renewal_finished):
        if mend(why, client):
            messages.trace(f"{mend.__name__.replace('_', ' ')}: asked again")
            reply = client.answer("get", data)
            if reply:
                return reply
            why = ask_reason(data, client)
    locked = why.get("state") == "locked"
    who = interactivity.available_prompt(os.environ, request.url)
    if who == interactivity.TERMINAL and (locked or why.get("state") in interactivity.RESOLVED_BY_LOGIN):
        if not resolved_by_person(request, why):
            return b""  # git asks for username and password itself, and hands us what it was given
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
    """Tell the reason, in the words for this process and this request."""
    if why.get("state") == "locked" and client.in_process:
        why["hint"] = without_daemon.locked_hint(request, why, client)
    if why.get("state") == git_protocol.OTHER_ACCOUNT:
        why = ask_reason(
            git_protocol.emit([("telling", "1")]) + data, client
        )  # whose there are instead is told once a day
    report(why)


def ask_reason(data: bytes, client: AgentClient) -> dict[str, str]:
    """What the client knows: `state`, `error`, `hint`. Empty where whoever listens does not know the question."""
    why = dict(git_protocol.parse_pairs(client.reply("why", data)))
    messages.trace(f"no credential: {why.get('state', 'the daemon gives no reason')}")
    return why


def report(why: dict[str, str]) -> None:
    """One line, and one with the cure."""
    messages.failure(interactivity.missing_credential(why))


def foreign_daemon_replaced(why: dict[str, str], client: AgentClient) -> bool:
    """Whether another daemon listens now than the one that had no answer.

    Who does not know the question is none of ours: git's own cache daemon, which sits down wherever it finds nobody.
    """
    if not why and not client.in_process:
        client.start()
    return client.started


def host_known_here(why: dict[str, str], client: AgentClient) -> bool:
    """Whether this process answers instead: its configuration names a host that the daemon's does not."""
    return client.fall_back_in_process(why)


def renewal_finished(why: dict[str, str], _client: AgentClient) -> bool:
    """Whether what the client waited for has come meanwhile: a renewal that took longer than a `get` may."""
    return why.get("state") == git_protocol.READY


def unlocked_by_environment(why: dict[str, str], client: AgentClient) -> bool:
    """Whether a daemon that was started without the vault's key has got it from this environment now.

    What is wrong with the key here is why it has not, so that becomes what `why` tells.
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
    except Error:  # it does not fit; why has the better words for that
        return False
    return True


def resolved_by_person(request: git_protocol.Request, why: dict[str, str]) -> bool:
    """Have the person at the terminal unlock or log in; False if they would not."""
    from git_credential_bitbucket.client.activate import third_party  # lazy: nobody waits for a machine

    third_party()
    from git_credential_bitbucket import git_config  # lazy: as above

    git_config.adopt(os.environ)  # a verb knows from there which vault is meant, and where its key is
    if why.get("state") == "locked":
        from git_credential_bitbucket.cli import unlock  # lazy: it brings prompts and the keyring

        return unlock.during_get(request, why)
    from git_credential_bitbucket.cli import login  # lazy: it brings prompts, a browser and OAuth

    return login.during_get(request, why)
