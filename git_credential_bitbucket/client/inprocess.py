"""The agent in this process, where no daemon may run (`GIT_CREDENTIAL_BITBUCKET_DAEMON=off`) or none can be started."""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial

from git_credential_bitbucket import wire
from git_credential_bitbucket.client.activate import third_party
from git_credential_bitbucket.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from git_credential_bitbucket.agent.agent import Agent


def reply(action: str, body: bytes) -> bytes:
    """The answer to `action`, as the daemon would give it. Raises an `Error` where a `store` would be lost at once."""
    third_party()
    from git_credential_bitbucket.client.signals import until_written  # here, not above: nobody else needs it

    held = agent()
    with until_written(held.renewals):
        return _reply(held, action, body)


def _reply(held: "Agent", action: str, body: bytes) -> bytes:
    from git_credential_bitbucket.agent.agent import refusal  # here, not above: it needs third-party packages
    from git_credential_bitbucket.agent.control import control
    from git_credential_bitbucket.agent.deferred import finish

    try:
        if action in ("get", "store"):
            answer = finish(getattr(held, action)(*told_of(wire.parse(body))))
        elif action == "erase":
            answer = finish(held.erase(wire.parse(body)))
        else:
            answer = finish(control(held, action, body, partial(repository_at_work, body)))
    except Error as exc:
        return refusal(exc)
    held.close()
    _note(held, action, body, answer)
    if action == "store" and held.holdings.in_memory_only:
        raise Error(
            "the secret was not kept: there is no key to encrypt it with, and no daemon to hold it in memory",
            hint="set GIT_CREDENTIAL_BITBUCKET_KEY_FILE, or type: git-credential-bitbucket login",
        )
    return answer


def told_of(request: wire.Request) -> "tuple[wire.Request, Callable[[], str | None]]":
    """What `get` and `store` take; our own ancestors tell which repository git works on, if git does not."""
    from git_credential_bitbucket.agent import asker  # here, not above: as all that answers

    return request, lambda: asker.asked_path(os.getpid(), request.protocol, request.host)


def repository_at_work(body: bytes) -> str | None:
    """The hint of `told_of`, for a verb with git's request."""
    return told_of(wire.parse(body))[1]()


def _note(held: "Agent", action: str, body: bytes, answer: bytes) -> None:
    """A line in the audit log, where it is on; losing it stops no answer."""
    from git_credential_bitbucket import journal  # here, not above: nobody but this process's own answers needs it
    from git_credential_bitbucket.agent import noted

    try:
        log = journal.place(os.environ)
    except Error:
        return
    if log is None or action not in noted.OPERATIONS:
        return
    asker = {"uid": os.getuid(), "pid": os.getpid(), "program": journal.programs(os.getpid())}
    lines = journal.Journal(log)  # not `journal.write`: it waits for a lock that somebody may hold for ever
    lines.note({**noted.entry(held, action, body, answer), **asker})
    lines.close()


@cache
def agent() -> "Agent":
    """The agent of this process: one, for `why` must know what `get` met."""
    from git_credential_bitbucket.agent.build import build, find_now  # here, not above: third-party packages

    # In threads, for a job may wait for another; and git's configuration does not change under one command.
    return build(os.environ, ThreadPoolExecutor(max_workers=4).submit, cache(partial(find_now, os.environ)))
