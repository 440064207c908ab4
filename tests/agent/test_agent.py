"""What git's three operations do to what is kept."""

from collections.abc import Callable
from functools import partial

import pytest

from git_credential_bitbucket import git_protocol
from git_credential_bitbucket.agent.agent import ACKNOWLEDGED
from git_credential_bitbucket.agent.control_actions import control
from git_credential_bitbucket.agent.deferred_answer import wait_for
from git_credential_bitbucket.agent.diagnosis import diagnose_request
from git_credential_bitbucket.agent.dispatch import CONTROL, Caller, Dispatcher
from git_credential_bitbucket.bitbucket import token_kinds
from git_credential_bitbucket.vault.key import Key
from git_credential_bitbucket.vault.storage.file import FileStorage
from git_credential_bitbucket.vault.storage.memory import MemoryStorage
from git_credential_bitbucket.vault.vault import Vault
from tests.agent.conftest import World
from tests.agent.credentials import a_credential
from tests.agent.test_client_credentials import mint
from tests.fake_bitbucket import tokens


def test_nothing_kept_is_nothing_answered(world: World) -> None:
    """And the reason is told, with the command that mends it."""
    assert world.get() == {}
    state, cause, hint = diagnose_request(world.agent, world.lines())
    assert (state, cause) == ("none", f"no credential for {world.standin.netloc}/acme/app")
    assert hint == f"run: git-credential-bitbucket login --host {world.standin.url}"


@pytest.mark.parametrize(
    ("make", "username", "kind", "place"),
    [
        (tokens.api_token, "x-bitbucket-api-token-auth", token_kinds.API_TOKEN, ""),
        (tokens.access_token, "x-token-auth", token_kinds.ACCESS_TOKEN, "/acme/app"),
    ],
)
def test_a_secret_typed_with_an_email_is_kept_under_its_right_kind(
    world: World, make: Callable[[], str], username: str, kind: str, place: str
) -> None:
    """The prefix tells the kind, the kind the username and how far it reaches; what was typed does not matter."""
    secret = make()
    assert world.store("alice@example.com", secret) == ACKNOWLEDGED
    (kept,) = world.kept()
    assert (kept.kind, kept.place) == (kind, world.standin.url + place)
    answer = world.get()
    assert (answer["username"], answer["password"]) == (username, secret)
    assert bool(world.get(path="acme/lib.git")) == (kind == token_kinds.API_TOKEN)


def test_a_secret_of_unknown_kind_is_kept_as_typed(world: World) -> None:
    """Git's contract for a storing helper."""
    world.store("svc", "correct horse")
    assert world.get("username=svc\n")["password"] == "correct horse"
    assert world.get("username=other\n") == {}
    assert world.get(path="acme/lib.git") == {}


def test_a_secret_of_unknown_kind_typed_without_a_path_is_for_requests_without_one(world: World) -> None:
    """As git's own helpers match: what the request names, the entry must have."""
    world.store("svc", "correct horse", path="")
    assert world.get(path="")["password"] == "correct horse"
    assert world.get() == {}
    world.store("svc", "battery staple")
    assert world.get()["password"] == "battery staple"


def test_an_app_password_is_not_kept_and_the_way_out_is_told(world: World) -> None:
    """It is revoked; storing it would have it offered for ever, for git neither stores nor erases on 410."""
    reply = world.store("alice", world.standin.issue_app_password())
    assert reply.startswith(b"error=")
    assert b"API token" in reply
    assert not world.path.exists()


def test_storing_what_is_held_changes_nothing(world: World) -> None:
    """`store` follows every command; it must not cost a write."""
    token = tokens.api_token()
    world.store("alice", token)
    before = world.path.stat()
    assert world.store("x-bitbucket-api-token-auth", token) == ACKNOWLEDGED
    assert (world.path.stat().st_mtime_ns, world.path.stat().st_ino) == (before.st_mtime_ns, before.st_ino)


def test_storing_an_access_token_of_before_the_renewal_makes_no_credential(world: World) -> None:
    """A long push ends after a renewal, and git then stores the token that it had."""
    login = world.login()
    world.offset += 7300
    world.get()
    assert world.store("x-token-auth", login.secret.reveal()) == ACKNOWLEDGED
    assert len(world.kept()) == 1


def test_a_store_is_the_first_thing_a_new_process_hears(world: World) -> None:
    """It has not opened the vault yet; what is in there must not be taken for new."""
    login = world.login()
    other = world.another()
    text = f"username=x-token-auth\npassword={login.secret.reveal()}\n"
    assert wait_for(other.store(world.lines(text))) == ACKNOWLEDGED
    assert len(world.kept()) == 1


def test_an_erase_of_a_stale_token_keeps_the_new_one(world: World) -> None:
    """Parallel fetches erase what they were given, not what has replaced it."""
    login = world.login()
    world.offset += 7300
    fresh = world.get()["password"]
    assert world.erase(login.secret.reveal()) == ACKNOWLEDGED
    assert world.get()["password"] == fresh


def test_an_erased_access_token_is_replaced_at_the_next_get(world: World) -> None:
    """OAuth has a second try in store."""
    login = world.login()
    assert world.erase(login.secret.reveal()) == ACKNOWLEDGED
    assert world.get()["password"] not in ("", login.secret.reveal())


def test_an_erased_static_token_is_silent_at_once_and_back_after_a_minute(world: World) -> None:
    """git-lfs would loop; the token is shown only once, so it is not thrown away."""
    token = tokens.api_token()
    world.store("alice", token)
    world.erase(token)
    assert world.get() == {}
    state, _, hint = diagnose_request(world.agent, world.lines())
    assert state == "suspended"
    (kept,) = world.agent.credential_store.index()
    assert f"if it was revoked, run: git-credential-bitbucket rotate {kept.id}; to try again now, run: " in hint
    assert hint.endswith(f"git-credential-bitbucket restore {kept.id}")
    world.offset += 61
    assert world.get()["password"] == token


def test_a_rejection_that_cannot_be_written_counts_all_the_same(world: World) -> None:
    """A full disk, or a shared vault's server that is away: git-lfs would loop, and a Data Center lock the account."""
    token = tokens.api_token()
    world.store("alice", token)
    (kept,) = world.agent.credential_store.index()
    with world.full_disk():
        assert b"the disk is full" in world.erase(token)
        assert world.get() == {}
        assert diagnose_request(world.agent, world.lines()).state == "suspended"
    world.agent.tick()
    world.executor.submit(world.agent.credential_store.write_rejections).result()
    assert world.get(agent=world.another()) == {}
    restore = ("restore", f"id={kept.id}\n".encode())
    wait_for(control(world.agent, *restore))
    with world.full_disk():
        world.erase(token)
    wait_for(control(world.agent, *restore))
    assert world.get()["password"] == token


def test_why_tells_of_the_repository_at_work(world: World) -> None:
    """With useHttpPath off, another repository's trouble is not the reason."""
    token = tokens.access_token()
    world.store("x-token-auth", token)
    world.erase(token)
    asked = git_protocol.emit([("protocol", "https"), ("host", world.standin.netloc)])

    def told(path: str | None) -> dict[str, str]:
        reply = wait_for(control(world.agent, "why", asked, lambda: path))
        return dict(line.split("=", 1) for line in reply.decode().split("\n") if line)

    assert told("acme/two.git")["error"] == f"no credential for {world.standin.netloc}/acme/two"
    assert told("acme/app.git")["state"] == told(None)["state"] == "suspended"


def test_an_erase_without_a_password_is_not_final_for_anybody(world: World) -> None:
    """A truncated request looks like that."""
    token = tokens.api_token()
    world.store("alice", token)
    login = world.login(place=f"{world.standin.url}/acme")
    world.erase()
    assert world.get()["password"] not in (token, login.secret.reveal())
    world.offset += 61
    assert {c.secret.reveal() for c in world.kept()} >= {token}
    assert world.get(path="other/x.git")["password"] == token


@pytest.mark.parametrize(
    "kind", [token_kinds.API_TOKEN, token_kinds.OAUTH, token_kinds.UNKNOWN, token_kinds.CLIENT_CREDENTIALS]
)
def test_an_erase_of_another_helpers_secret_is_not_about_ours(world: World, kind: str) -> None:
    """Git 2.46 names one that came ready-made as `credential`, and no password: that is no truncated request."""

    def offered() -> str:
        return (mint(world, consumer) if kind == token_kinds.CLIENT_CREDENTIALS else world.get())["password"]

    def erase(text: str) -> bytes:
        body = f"protocol=https\nhost={world.standin.netloc}\npath=acme/app.git\n{text}".encode()
        return wait_for(Dispatcher(world.agent).answer("erase", body, Caller(0, 0, CONTROL)) or b"")

    consumer = world.standin.add_consumer()
    if kind == token_kinds.OAUTH:
        world.login()
    elif kind != token_kinds.CLIENT_CREDENTIALS:
        world.store("alice", tokens.api_token() if kind == token_kinds.API_TOKEN else "correct horse")
    ours = offered()
    for foreign in (tokens.oauth_token(), tokens.api_token()):
        text = f"capability[]=authtype\nauthtype=Bearer\ncredential={foreign}\n"
        assert erase(text) == ACKNOWLEDGED
        assert offered() == ours
    erase(f"authtype=Bearer\ncredential={ours}\n")
    assert world.get() == {} or offered() != ours, "the same secret, whoever handed it out"


def test_two_spellings_of_a_repository_are_one_to_a_rejection(world: World) -> None:
    """A submodule's address cannot take the token away from all other repositories, nor ask for it again at once."""
    token = tokens.api_token()
    world.store("alice", token, path="")
    for path in ("acme/app", "acme//app.git", "%41cme/app/"):
        world.erase(token, path=path)
        assert world.get(path=path) == world.get(path="Acme/App.git") == {}
    assert world.get(path="acme/lib")["password"] == token


def test_a_working_token_is_forgiven_on_disk(world: World) -> None:
    """`store` after a suspicion clears it, and other processes see that."""
    token = tokens.access_token()
    world.store("x", token)
    world.erase(token)
    world.offset += 61
    assert world.get()["password"] == token
    world.store("x-token-auth", token)
    (kept,) = world.kept()
    assert kept.rejections == ()


def test_a_suspended_token_lets_a_wider_one_answer(world: World) -> None:
    """One repository token gone bad does not stop a person who has access otherwise."""
    narrow, wide = tokens.access_token(), tokens.api_token()
    world.store("x", narrow)
    world.store("alice", wide)
    world.erase(narrow)
    assert world.get()["password"] == wide


def test_last_used_is_written_lazily_and_changes_no_answer(world: World) -> None:
    """A use costs no write; a minute later it is on disk; the newest login answers as before."""
    first, second = a_credential(world.standin.url, account="a"), a_credential(world.standin.url, account="b")
    world.keep(first)
    world.keep(second)
    answers = world.get()["password"]
    for account, one in (("a", first), ("b", second)):
        assert world.get(f"username={account}\n")["password"] == one.secret.reveal()
        assert world.get()["password"] == answers
    assert world.kept()[1].last_used_at is None
    world.offset += 61
    world.agent.tick()
    world.executor.submit(lambda: None).result()
    world.agent.credential_store.flush()
    assert world.kept()[1].last_used_at


def test_a_locked_vault_is_silent_and_says_so(world: World) -> None:
    """No answer, no write, the reason and the cure."""
    token = tokens.api_token()
    world.store("alice", token)
    locked = world.another()
    locked.credential_store._acquire = lambda _: Vault(FileStorage(str(world.path))).unlock(
        Key(b"x" * 32, "environment")
    )
    assert world.get(agent=locked) == {}
    state, cause, _ = diagnose_request(locked, world.lines())
    assert state == "locked"
    assert "another key" in cause
    assert b"error=" in wait_for(locked.store(world.lines(f"username=a\npassword={tokens.api_token()}\n")))
    assert [c.secret.reveal() for c in world.kept()] == [token]


def test_two_tokens_of_one_scope_and_account_leave_the_old_one_restorable(world: World) -> None:
    """A new token typed at the prompt replaces the old one, which was rejected, and which a person may have back."""
    old, new = tokens.api_token(), tokens.api_token()
    world.store("alice", old)
    world.erase(old)
    world.offset += 120  # making a new one takes longer than the old one is suspended
    world.store("alice", new)
    assert world.get()["password"] == new
    assert {c.secret.reveal(): c.set_aside_why for c in world.kept()} == {old: "replaced by a newer one", new: None}


def test_a_foreign_oauth_token_is_not_offered_past_its_end(world: World) -> None:
    """Another helper's token reaches us by `store`; we cannot renew it, and it ends within two hours."""
    world.store("x-token-auth", "foreign" * 12)
    assert world.get()["password"] == "foreign" * 12
    world.offset += 7201
    assert world.get() == {}


def test_what_is_in_memory_only_keeps_the_agent(world: World) -> None:
    """Without a vault and a key, a typed secret lives as long as the process."""
    vault = Vault(FileStorage(str(world.path.with_name("none"))))
    world.agent.credential_store.vault = vault
    world.agent.credential_store._acquire = lambda create: vault.acquire(
        {"GIT_CREDENTIAL_BITBUCKET_KEYRING": "off"}, create=create
    )
    token = tokens.api_token()
    assert not world.agent.must_keep_running()
    assert world.store("alice", token) == ACKNOWLEDGED + b"kept=memory\n"
    assert world.store("alice", token) == ACKNOWLEDGED + b"kept=memory\n", "sent again by who has to tell it"
    assert world.store("alice", token) == ACKNOWLEDGED
    assert world.get()["password"] == token
    assert world.agent.must_keep_running()
    world.offset += 61
    assert world.store("alice", token) == ACKNOWLEDGED
    assert isinstance(world.agent.credential_store.memory.storage, MemoryStorage)
    assert not world.path.with_name("none").exists()


def test_a_disabled_login_keeps_no_agent(world: World) -> None:
    world.login()
    world.get()
    assert world.agent.must_keep_running()
    world.login()
    assert [c.set_aside_why for c in world.kept()] == ["replaced by a newer one", None]
    assert not world.agent.must_keep_running()


def test_a_lock_by_hand_keeps_the_agent(world: World) -> None:
    """Idleness must not undo what a person asked for."""
    world.store("alice", tokens.api_token())
    assert not world.agent.must_keep_running()
    assert wait_for(control(world.agent, "lock", b"")) == ACKNOWLEDGED
    assert world.get() == {}
    assert world.agent.must_keep_running()


def test_an_access_token_typed_without_a_path_is_kept_for_the_repository_at_work(world: World) -> None:
    """With useHttpPath off, the second repository's token does not take the first one's place."""
    first, second = tokens.access_token(), tokens.access_token()
    for repository, secret in (("acme/app.git", first), ("acme/lib.git", second)):
        request = world.lines(f"username=x-token-auth\npassword={secret}\n", path="")
        assert wait_for(world.agent.store(request, partial(str, repository), lambda: True)) == b"ok=1\n"
    assert {c.place.rpartition("/")[2]: c.secret.reveal() for c in world.kept()} == {"app": first, "lib": second}
    assert all(c.set_aside_at is None for c in world.kept())
    request = world.lines(f"username=x-token-auth\npassword={first}\n", path="")
    assert wait_for(world.agent.store(request)) == b"ok=1\n"
    assert len(world.kept()) == 2, "what is held is not kept again, whoever does not know the repository"


def test_an_lfs_address_that_names_no_repository_is_answered_as_one_without_a_path(world: World) -> None:
    """git-lfs's verify addresses have been seen with UUIDs; the repository's own token answers there too."""
    secret = tokens.access_token()
    world.store("x-token-auth", secret)
    path = "%7B%7D/%7Bb8ea5b65-0123-4567-89ab-0123456789ab%7D/info/lfs"
    assert world.get(path=path)["password"] == secret
    world.store("x-token-auth", secret, path=path)
    assert len(world.kept()) == 1
