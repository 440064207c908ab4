"""Which credential answers for which repository."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from git_credential_bitbucket import wire
from git_credential_bitbucket.agent.credential import Credential
from git_credential_bitbucket.agent.routing import Index, candidates, place_of, state_of
from git_credential_bitbucket.bitbucket import kinds
from tests.agent.credentials import HOST, a_credential

REPOSITORY = a_credential(f"{HOST}/acme/app", kinds.ACCESS_TOKEN)
WORKSPACE = a_credential(f"{HOST}/acme", kinds.ACCESS_TOKEN)
PERSON = a_credential(HOST, kinds.OAUTH, account="alice")
OTHER = a_credential("https://example.test", kinds.ACCESS_TOKEN)
ALL = (PERSON, OTHER, WORKSPACE, REPOSITORY)


def asked(text: str, *, path: str | None = None, kept: tuple[Credential, ...] = ALL) -> list[Credential]:
    """The candidates for a request of these lines; `path` is what the asking git is seen to work on."""
    request = wire.parse(b"protocol=https\n" + text.encode("utf-8", "surrogateescape"))
    return candidates(Index(c.to_record() for c in kept), request, lambda: path, lambda c: c.last_used_at or 0)


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("acme/app.git", "/acme/app"),
        ("Acme/App.GIT", "/acme/app"),
        ("acme/app.git/info/lfs", "/acme/app"),
        ("acme/app/info/lfs/objects/batch", "/acme/app"),
        ("/acme/app/", "/acme/app"),
        ("acme", "/acme"),
        ("%7B%7D/%7Buuid%7D/info/lfs/verify", ""),
        ("{}/{uuid}/info/lfs", ""),
        ("acme/../evil", ""),
        ("acme//app", ""),
        ("../acme/app", ""),
        ("", ""),
        (None, ""),
    ],
)
def test_a_path_names_its_place(path: str | None, place: str) -> None:
    """Case, `.git` and LFS suffixes do not matter; what is no name names the host."""
    assert place_of("https", "bitbucket.org", path) == HOST + place


def test_each_repository_gets_its_own() -> None:
    """The narrowest place wins, and what does not cover a repository is no candidate."""
    assert asked("host=bitbucket.org\npath=acme/app.git\n") == [REPOSITORY, WORKSPACE, PERSON]
    assert asked("host=bitbucket.org\npath=acme/lib.git\n") == [WORKSPACE, PERSON]
    assert asked("host=bitbucket.org\npath=rival/app.git\n") == [PERSON]


def test_a_clone_buttons_username_does_not_beat_a_repository_token() -> None:
    """`https://alice@bitbucket.org/…` is how Bitbucket shows every address."""
    assert asked("host=bitbucket.org\npath=acme/app.git\nusername=alice\n")[0] == REPOSITORY


def test_among_equals_the_asked_username_wins_and_then_the_last_used() -> None:
    """Two persons on one machine are told apart by name, else by habit."""
    alice = a_credential(account="alice", last_used_at=1.0)
    bob = a_credential(account="bob@example.test", last_used_at=2.0)
    assert asked("host=bitbucket.org\nusername=alice\n", kept=(alice, bob))[0] == alice
    assert asked("host=bitbucket.org\n", kept=(alice, bob))[0] == bob


def test_without_a_path_the_asking_git_tells_the_repository() -> None:
    """`useHttpPath` is off, but git-remote-https names its address to whoever may look."""
    assert asked("host=bitbucket.org\n", path="acme/app.git")[0] == REPOSITORY
    assert asked("host=bitbucket.org\n", path="acme/lib.git")[0] == WORKSPACE


def test_without_any_path_the_host_comes_first_and_narrow_tokens_last() -> None:
    """Nobody knows the repository: what serves all of them is most likely right."""
    assert asked("host=bitbucket.org\n") == [PERSON, WORKSPACE, REPOSITORY]


def test_the_state_that_git_sends_back_comes_before_all() -> None:
    """A second try is about the credential that was answered, whatever else covers the place."""
    line = f"state[]={state_of(WORKSPACE)}\n"
    assert asked(f"host=bitbucket.org\npath=acme/app.git\n{line}")[0] == WORKSPACE
    assert asked(f"host=bitbucket.org\npath=acme/app.git\nstate[]=other:{WORKSPACE.id}:1\n")[0] == REPOSITORY


def test_a_secret_of_unknown_kind_answers_only_what_it_was_typed_for() -> None:
    """Git's contract for a storing helper: username and path must match."""
    typed = a_credential(f"{HOST}/acme/app", kinds.UNKNOWN, typed_username="svc", typed_path="acme/app.git")
    assert asked("host=bitbucket.org\npath=acme/app.git\nusername=svc\n", kept=(typed,)) == [typed]
    assert asked("host=bitbucket.org\npath=acme/app.git\n", kept=(typed,)) == [typed]
    assert asked("host=bitbucket.org\npath=acme/app.git\nusername=SVC\n", kept=(typed,)) == []
    assert asked("host=bitbucket.org\npath=acme/app\nusername=svc\n", kept=(typed,)) == []
    assert asked("host=bitbucket.org\npath=acme/app.git/x\n", kept=(typed,)) == []
    assert asked("host=bitbucket.org\n", kept=(typed,)) == [typed], "a request without a path takes any"
    anywhere = a_credential(HOST, kinds.UNKNOWN, typed_username="svc")
    assert asked("host=bitbucket.org\n", kept=(anywhere,)) == [anywhere]
    assert asked("host=bitbucket.org\n", path="acme/app.git", kept=(anywhere,)) == [anywhere]
    assert asked("host=bitbucket.org\npath=acme/app.git\n", kept=(anywhere,)) == []


@given(st.text(max_size=30), st.text(max_size=30))
def test_no_words_reach_another_hosts_credential(host: str, path: str) -> None:
    """Whatever host and path are asked for, an answer is for that very host."""
    clean = {ord(c): None for c in "\n\r\0"}
    host, path = host.translate(clean) or "x", path.translate(clean)
    for found in asked(f"host={host}\npath={path}\n"):
        assert found.place.split("/")[2] == wire.normalise_host("https", host)
