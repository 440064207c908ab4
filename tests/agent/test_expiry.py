"""When somebody is told that a token ends: by steps, once a day at most, and never twice for one step."""

import pytest

from git_credential_bitbucket.agent import expiry
from git_credential_bitbucket.agent.agent import ACKNOWLEDGED, Agent
from git_credential_bitbucket.agent.control_actions import control
from git_credential_bitbucket.agent.credential import Credential
from git_credential_bitbucket.agent.deferred_answer import wait_for
from tests.agent.conftest import World
from tests.agent.credentials import a_credential, an_oauth_login

DAY = 86400.0
END = 1000 * DAY


def warn(agent: Agent, credential_id: str, more: str = "") -> dict[str, str]:
    """What the verb `warn` answers."""
    reply = wait_for(control(agent, "warn", f"id={credential_id}\n{more}".encode()))
    return dict(line.split("=", 1) for line in reply.decode().split("\n") if line)


def ending(world: World, days: float) -> Credential:
    """An API token for the host that ends in so many days."""
    return world.keep(a_credential(world.standin.url, ends_at=world.clock() + days * DAY))


def stored(world: World, credential: Credential, agent: Agent | None = None) -> bytes:
    """What is answered to git's `store` of that token."""
    text = f"username=x\npassword={credential.secret.reveal()}\n"
    return wait_for((agent or world.agent).store(world.lines(text)))


def test_each_step_is_told_once() -> None:
    """Day by day towards the end, and past it: at 30, 7 and 1 days, and once when it works all the same."""
    credential = a_credential(ends_at=END)
    told: list[float] = []
    for hour in range(-40 * 24, 5 * 24):
        now = END + hour * 3600
        if expiry.is_due(credential, told[-1] if told else None, now):
            told.append(now)
    assert [(at - END) / DAY for at in told] == [-30, -7, -1, 0]


def test_a_step_that_was_slept_through_is_told_late_and_none_twice() -> None:
    """A token that is used on Mondays only: what has been passed since is one warning."""
    credential = a_credential(ends_at=END)
    assert expiry.is_due(credential, None, END - 6 * DAY)
    assert not expiry.is_due(credential, END - 6 * DAY, END - 2 * DAY)
    assert expiry.is_due(credential, END - 6 * DAY, END - DAY / 2)


def test_two_steps_within_a_day_are_one_warning() -> None:
    """Once a day at most; a clock that was set back does not silence for ever."""
    credential = a_credential(ends_at=END)
    assert not expiry.is_due(credential, END - DAY - 3600, END - DAY + 3600)
    assert expiry.is_due(credential, END + 400 * DAY, END - DAY)


@pytest.mark.parametrize(
    "credential",
    [a_credential(), a_credential(ends_at=END, set_aside_at=1.0), an_oauth_login(ends_at=END)],
    ids=["no date", "disabled", "renews itself"],
)
def test_no_warning_for_what_no_person_replaces(credential: Credential) -> None:
    """Nor is anything guessed where no date was entered."""
    assert not expiry.is_due(credential, None, END)


@pytest.mark.parametrize(
    ("days", "words"),
    [
        (7.0, "the API token for bitbucket.org expires in 7 days, on 1972-09-27"),
        (6.99, "the API token for bitbucket.org expires in 7 days, on 1972-09-27"),
        (1.5, "the API token for bitbucket.org expires in 1 day, on 1972-09-27"),
        (0.5, "the API token for bitbucket.org expires within a day, on 1972-09-27"),
        (-1.0, "the API token for bitbucket.org still works, but should have expired on 1972-09-27"),
    ],
)
def test_a_warning_says_what_expires_for_what_and_when(days: float, words: str) -> None:
    assert expiry.describe(a_credential(ends_at=END), END - days * DAY) == words


def test_a_store_names_the_token_until_somebody_was_told(world: World) -> None:
    """Asking for the words is telling them: the second of two gits at once gets none."""
    credential = ending(world, 5)
    assert stored(world, credential) == stored(world, credential) == b"ok=1\nwarn=%b\n" % credential.id.encode()
    told = warn(world.agent, credential.id)
    assert told["warning"].startswith("the API token for ")
    assert told["hint"].endswith(f"git-credential-bitbucket rotate {credential.id}")
    assert warn(world.agent, credential.id) == {"ok": "1"}
    assert stored(world, credential) == ACKNOWLEDGED


def test_a_token_that_is_fetched_is_renewed_at_its_source(world: World) -> None:
    """To rotate it here is refused."""
    ends_at = world.clock() + 5 * DAY
    credential = world.keep(a_credential(world.standin.url, source="file:/run/token", ends_at=ends_at))
    assert warn(world.agent, credential.id)["hint"] == (
        "create a new token, and put it where it is fetched from: file:/run/token"
    )


def test_that_somebody_was_told_is_written_lazily_and_read_by_others(world: World) -> None:
    """Another process does not tell it again, nor this one after a restart."""
    credential = ending(world, 5)
    warn(world.agent, credential.id)
    assert world.kept()[0].warned_at is None
    world.agent.close()
    assert world.kept()[0].warned_at is not None
    assert stored(world, credential, world.another()) == ACKNOWLEDGED


def test_a_build_does_not_use_the_warning_up(world: World) -> None:
    """It is not sent to the slow path by every git for days, and a person is told an hour later."""
    credential = ending(world, 5)
    assert warn(world.agent, credential.id, "hush=1\n") == {"ok": "1"}
    assert stored(world, credential) == ACKNOWLEDGED
    world.offset += 3601
    assert b"warn=" in stored(world, credential)


def test_another_date_starts_the_warnings_again(world: World) -> None:
    """A warning of the old one is none of the new one; no date, no warning."""
    credential = ending(world, 5)
    warn(world.agent, credential.id)
    world.agent.close()
    for ends_at, due in ((world.clock() + 3 * DAY, True), ("", False), (world.clock() + 90 * DAY, False)):
        wait_for(control(world.agent, "amend", f"id={credential.id}\nends_at={ends_at}\n".encode()))
        assert (b"warn=" in stored(world, credential)) == due


@pytest.mark.parametrize("text", ["soon", "nan", "inf", "-1", "1e300"])
def test_what_is_no_date_is_refused(world: World, text: str) -> None:
    credential = ending(world, 5)
    reply = wait_for(control(world.agent, "amend", f"id={credential.id}\nends_at={text}\n".encode()))
    assert reply.startswith(b"error=")
    assert world.kept() == [credential]


def test_a_token_in_memory_only_is_told_of_once(world: World) -> None:
    """Where nothing can be written, the process remembers, also after a flush of the vault beside it."""
    from git_credential_bitbucket.agent import retention

    kept = a_credential(world.standin.url, ends_at=world.clock() + 5 * DAY)
    retention.add(world.agent.credential_store, kept, world.clock(), memory=True)
    other = ending(world, 90)
    warn(world.agent, kept.id)
    stored(world, other)
    world.agent.close()
    assert stored(world, kept) == ACKNOWLEDGED
    assert world.agent.credential_store.last_used(kept) is not None


def test_no_warning_for_what_was_removed(world: World) -> None:
    assert warn(world.agent, "0123456789ab") == {"ok": "1"}
