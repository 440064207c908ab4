"""When a person is warned that an API token or access token expires, and in which words.

Bitbucket tells no program when an API token or an access token ends, so the dates are those that people enter. git's
`store` after a command that worked is the moment: no one waits for it, and only this program reads its answer.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from git_credential_bitbucket.agent import naming
from git_credential_bitbucket.errors import InvalidRequest

if TYPE_CHECKING:
    from git_credential_bitbucket.agent.credential import Credential
    from git_credential_bitbucket.agent.credential_store import CredentialStore

HOUR_S, DAY_S = 3600, 86400
WARNING_STEPS_S = (30 * DAY_S, 7 * DAY_S, DAY_S, 0)
"""How long before its expiry a token is warned of: once at each step, and once more if it works after its expiry."""
MAX_EXPIRY = 253402300799
"""The end of the year 9999: a later one has no date to be shown."""
JUST_STORED_S = 60
"""How long it is told that a secret is in memory only, or disabled: the front end sends its `store` twice for that."""
MAX_NOTES = 2
"""How often it is said what became of such a secret: the front end sends its `store` twice to be told."""
SILENCED_S = 60 * 60
"""How long nothing is said after a build was to be told, which does not want to hear it; later it may be a person."""


def warning_due(credential_store: CredentialStore, credential: Credential, now: float) -> bytes:
    """What the acknowledgement of a `store` has behind it: nothing, or whom to ask `warn` about."""
    if not is_due(credential, credential_store.last_warned(credential), now):
        return b""
    if 0 <= now - credential_store.silenced.get(credential.id, -math.inf) < SILENCED_S:
        return b""
    return b"warn=%b\n" % credential.id.encode()


def storage_note(credential_store: CredentialStore, credential: Credential, now: float) -> bytes:
    """What the acknowledgement of a `store` says of a secret that git just stored, or nothing.

    It says so twice, for the front end sends its `store` again to be told; then never again.
    """
    if not credential.origin.startswith("git") or not 0 <= now - credential.created_at < JUST_STORED_S:
        return b""
    told = credential_store.note_count(credential.id)
    if told >= MAX_NOTES:
        return b""
    credential_store.set_note_count(credential.id, told + 1)
    if credential.is_bound:
        return b"kept=bound\n"
    if credential.is_fallback:
        return b"kept=beside\n"
    return b"kept=memory\n" if credential_store.vault_of(credential.id) is credential_store.memory else b""


def warning(credential_store: CredentialStore, credential_id: str, now: float, *, hush: bool) -> list[tuple[str, str]]:
    """The warning that is due, and it is taken as told; empty where another process was told it a moment ago.

    `hush`: it is not shown there, so it stays due and is not sent for a while.
    """
    credential = credential_store.index().get(credential_id)
    if credential is None or not is_due(credential, credential_store.last_warned(credential), now):
        return []
    if hush:
        credential_store.silenced[credential_id] = now
        return []
    credential_store.note_warning(credential, now)
    hint = naming.new_token_hint(credential.id, naming.shown_source(credential))
    if (credential.ends_at or now) <= now:
        hint = f"if it expires later, run: git-credential-bitbucket expires {credential.id} DATE"
    return [("warning", describe(credential, now)), ("hint", hint)]


def is_due(credential: Credential, warned_at: float | None, now: float) -> bool:
    """Whether a step towards the end has been passed since the last warning, and that was not today."""
    ends_at = credential.ends_at
    if ends_at is None or ends_at - now > WARNING_STEPS_S[0]:
        return False
    if credential.is_renewable or credential.set_aside_at is not None:
        return False
    if warned_at is None or warned_at > now:  # never, or by a clock that was set back since
        return True
    passed = max(ends_at - step for step in WARNING_STEPS_S if ends_at - step <= now)
    return warned_at < passed and now - warned_at >= DAY_S


def parse_expiry(text: str) -> float | None:
    """The end in a field: epoch seconds, None where it is empty. Raises `InvalidRequest`."""
    try:
        ends_at = float(text) if text else None
    except ValueError:
        ends_at = math.nan
    if ends_at is not None and not 0 < ends_at < MAX_EXPIRY:
        raise InvalidRequest("an expiry is given in epoch seconds")
    return ends_at


def describe(credential: Credential, now: float) -> str:
    """What expires, and when; dates are UTC's, as they were entered."""
    ends_at = credential.ends_at or now
    day = time.strftime("%Y-%m-%d", time.gmtime(ends_at))
    name = naming.describe(credential)
    if ends_at <= now:
        return f"{name} still works, but should have expired on {day}"
    if ends_at - now <= DAY_S:
        return f"{name} expires within a day, on {day}"
    return f"{name} expires in {days(ends_at - now)}, on {day}"


def days(seconds: float) -> str:
    """A span of a day or more in words. A day that began less than an hour ago counts as whole, so that the 20 days
    that were entered a moment ago are told as 20.
    """
    number = int((seconds + HOUR_S) // DAY_S)
    return "1 day" if number == 1 else f"{number} days"
