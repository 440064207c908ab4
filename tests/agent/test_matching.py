"""Which credential answers for which repository."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from git_credential_bitbucket import git_protocol
from git_credential_bitbucket.agent.credential import Credential
from git_credential_bitbucket.agent.matching import Index, Match, find_candidates, repository_of, state_of
from git_credential_bitbucket.bitbucket import token_kinds
from git_credential_bitbucket.bitbucket.scopes import is_below as is_below_context
from git_credential_bitbucket.bitbucket.scopes import project_scope, scope_of
from tests.agent.credentials import HOST, a_credential

REPOSITORY = a_credential(f"{HOST}/acme/app", token_kinds.ACCESS_TOKEN)
WORKSPACE = a_credential(f"{HOST}/acme", token_kinds.ACCESS_TOKEN)
PERSON = a_credential(HOST, token_kinds.OAUTH, account="alice")
OTHER = a_credential("https://example.test", token_kinds.ACCESS_TOKEN)
ALL = (PERSON, OTHER, WORKSPACE, REPOSITORY)


def matched(text: str, *, path: str | None = None, kept: tuple[Credential, ...] = ALL) -> Match:
    """What may answer a request of these lines; `path` is what the asking git is seen to work on."""
    request = git_protocol.parse(b"protocol=https\n" + text.encode("utf-8", "surrogateescape"))
    return find_candidates(Index(c.to_record() for c in kept), request, lambda: path)


def asked(text: str, *, path: str | None = None, kept: tuple[Credential, ...] = ALL) -> list[Credential]:
    """The candidates for it."""
    return matched(text, path=path, kept=kept).candidates


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
        ("beta/x/../../evil/repo", ""),
        ("acme/app/./x", ""),
        ("acme/app//x", ""),
        ("acme/app/%2e%2e/%2e%2e/evil/repo", ""),
        ("", ""),
        (None, ""),
    ],
)
def test_a_path_names_its_scope(path: str | None, place: str) -> None:
    """Case, `.git` and LFS suffixes do not matter; what is no name names the host."""
    assert scope_of("https", "bitbucket.org", path) == HOST + place


def test_each_repository_gets_its_own() -> None:
    """The narrowest place wins, and what does not cover a repository is no candidate."""
    assert asked("host=bitbucket.org\npath=acme/app.git\n") == [REPOSITORY, WORKSPACE, PERSON]
    assert asked("host=bitbucket.org\npath=acme/lib.git\n") == [WORKSPACE, PERSON]
    assert asked("host=bitbucket.org\npath=rival/app.git\n") == [PERSON]


def test_a_projects_token_is_for_the_repositories_of_its_list() -> None:
    """Between repository and workspace; for a name that is not in the list it is no candidate."""
    web, ops = (
        a_credential(project_scope(WORKSPACE.place, key), token_kinds.ACCESS_TOKEN, project=key, repositories=names)
        for key, names in (("WEB", ("app", "site")), ("OPS", ("ops", "site")))
    )
    kept = (*ALL, web, ops)
    assert asked("host=bitbucket.org\npath=Acme/App.git\n", kept=kept) == [REPOSITORY, web, WORKSPACE, PERSON]
    assert asked("host=bitbucket.org\npath=acme/ops.git/info/lfs\n", kept=kept) == [ops, WORKSPACE, PERSON]
    assert asked("host=bitbucket.org\npath=acme/lib.git\n", kept=kept) == [WORKSPACE, PERSON]
    assert asked("host=bitbucket.org\npath=acme/site.git\n", kept=kept)[:2] in ([web, ops], [ops, web])
    for path in ("acme/{web}", "acme/%7Bweb%7D", "beta/app", "acme"):
        assert not {web, ops} & set(asked(f"host=bitbucket.org\npath={path}\n", path="beta/x", kept=kept))


def test_a_request_without_a_path_gets_a_projects_token_by_what_git_works_on() -> None:
    """Where that is not known, it comes after wider ones and before a repository's."""
    web = a_credential(
        project_scope(WORKSPACE.place, "WEB"), token_kinds.ACCESS_TOKEN, project="WEB", repositories=("app",)
    )
    assert asked("host=bitbucket.org\n", path="acme/app", kept=(web, WORKSPACE)) == [web, WORKSPACE]
    assert asked("host=bitbucket.org\n", path="acme/lib", kept=(web, WORKSPACE)) == [WORKSPACE]
    assert asked("host=bitbucket.org\n", kept=(REPOSITORY, web, WORKSPACE)) == [WORKSPACE, web, REPOSITORY]


def test_a_clone_buttons_username_does_not_beat_a_repository_token() -> None:
    """`https://alice@bitbucket.org/…` is how Bitbucket shows every address."""
    assert asked("host=bitbucket.org\npath=acme/app.git\nusername=alice\n")[0] == REPOSITORY


ALICE = a_credential(account="alice@example.test", bitbucket_username="alice", account_id="712020:a", created_at=1.0)
BOB = a_credential(account="bob@example.test", bitbucket_username="bobby", account_id="712020:b", created_at=2.0)
TWO = (ALICE, BOB)


@pytest.mark.parametrize(
    ("username", "answers"),
    [
        ("alice", [ALICE]),
        ("Alice@Example.test", [ALICE]),
        ("712020:b", [BOB]),
        ("bob@example.test", [BOB]),
        ("carol", [BOB, ALICE]),
        ("x-token-auth", [BOB, ALICE]),
        ("x-bitbucket-api-token-auth", [BOB, ALICE]),
        (None, [BOB, ALICE]),
    ],
)
def test_a_known_username_gets_its_person_and_an_unknown_one_anybody(
    username: str | None, answers: list[Credential]
) -> None:
    """Where every Bitbucket username is known, another is nobody's here; the tokens' own usernames name no person."""
    line = f"username={username}\n" if username else ""
    found = matched(f"host=bitbucket.org\n{line}", kept=TWO)
    assert found.candidates == answers
    assert found.dropped == [one for one in TWO if one not in answers]


def test_an_unknown_username_gets_no_credential_of_another_person() -> None:
    """Of two persons one is known by email only: `rob` could be his username. One person alone is meant in any case."""
    nameless = a_credential(account="rob@example.test")
    token = a_credential(f"{HOST}/acme", token_kinds.ACCESS_TOKEN)
    for other in (ALICE, a_credential(kind=token_kinds.OAUTH)):
        found = matched("host=bitbucket.org\nusername=rob\npath=acme/app\n", kept=(other, nameless, token))
        assert found.candidates == [token], "an access token belongs to nobody"
        assert {c.id for c in found.dropped} == {other.id, nameless.id}
    assert asked("host=bitbucket.org\nusername=rob\n", kept=(nameless,)) == [nameless]
    again = a_credential(f"{HOST}/acme", token_kinds.OAUTH, account="rob@example.test")
    assert asked("host=bitbucket.org\nusername=rob\n", kept=(nameless, again)) == [nameless, again], "one person"


def test_a_token_username_prefers_its_kind() -> None:
    """`https://x-token-auth@…` is how an access token's address is shown."""
    kept = (a_credential(HOST, created_at=2.0), a_credential(HOST, token_kinds.OAUTH, created_at=1.0))
    assert asked("host=bitbucket.org\nusername=x-token-auth\n", kept=kept) == [kept[1], kept[0]]
    assert asked("host=bitbucket.org\nusername=x-bitbucket-api-token-auth\n", kept=kept) == list(kept)


def test_in_one_scope_the_default_wins_and_then_the_newest_login() -> None:
    """Never the last used: what answers does not depend on what was asked before."""
    old = a_credential(created_at=1.0, last_used_at=9.0)
    new = a_credential(created_at=2.0, last_used_at=1.0)
    beside = a_credential(created_at=3.0, is_fallback=True)
    chosen = a_credential(created_at=0.5, is_default=True)
    narrow = a_credential(f"{HOST}/acme", created_at=0.1)
    kept = (old, new, beside, chosen, narrow)
    assert asked("host=bitbucket.org\npath=acme/app\n", kept=kept) == [narrow, chosen, new, old, beside]


def test_another_credential_of_the_defaults_account_goes_before_another_account() -> None:
    """Where the URL asks for a kind that the default is not of, or the default was rejected."""
    default = a_credential(HOST, token_kinds.OAUTH, account="alice", created_at=1.0, is_default=True)
    same = a_credential(HOST, account="alice", created_at=2.0)
    newer = a_credential(HOST, account="bob", created_at=3.0)
    kept = (newer, same, default)
    assert asked("host=bitbucket.org\nusername=x-bitbucket-api-token-auth\n", kept=kept) == [same, newer, default]
    assert asked("host=bitbucket.org\n", kept=kept) == [default, same, newer]


def test_an_unsolicited_secret_answers_only_what_it_came_with() -> None:
    """Its username, and its path if it had one; and it comes after everything that a person logged in with."""
    bound = a_credential(HOST, typed_username="x-token-auth", typed_path="evil/app.git", created_at=9.0)
    lines = "host=bitbucket.org\nusername=x-token-auth\n"
    assert asked(f"{lines}path=evil/app.git\n", kept=(bound, PERSON)) == [PERSON, bound]
    for other in ("path=evil/app\n", "path=acme/app.git\n", ""):
        assert asked(lines + other, kept=(bound,)) == []
    assert asked("host=bitbucket.org\npath=evil/app.git\n", kept=(bound,)) == []
    anywhere = a_credential(HOST, typed_username="mallory")
    assert asked("host=bitbucket.org\nusername=mallory\npath=acme/app\n", kept=(anywhere, PERSON)) == [PERSON, anywhere]
    assert asked("host=bitbucket.org\nusername=other\n", kept=(anywhere,)) == []


def test_only_uuids_in_a_path_leave_it_to_gits_command_line() -> None:
    """LFS verify addresses name the repository by UUID; other braces are somebody's invention."""
    uuid = "{01234567-89ab-cdef-0123-456789abcdef}"
    for path in ("{}/" + uuid + "/info/lfs/verify", f"%7B%7D/%7B{uuid[1:-1]}%7D/x", f"{uuid}/{uuid}"):
        assert asked(f"host=bitbucket.org\npath={path}\n", path="acme/app")[0] == REPOSITORY
    for path in ("{}/{uuid}/info/lfs", "{x}/app", "../acme/app", "acme/{}"):
        assert asked(f"host=bitbucket.org\npath={path}\n", path="acme/app") == [PERSON]


def test_a_rejection_is_about_the_repository_however_it_is_spelt() -> None:
    """One that is spelt in two ways must not count as two, nor what names no repository for the whole host."""

    def about(path: str | None, asked_path: str | None = None) -> str:
        line = f"path={path}\n" if path else ""
        return repository_of(
            git_protocol.parse(f"protocol=https\nhost=bitbucket.org\n{line}".encode()), lambda: asked_path
        )

    assert about("Acme/app.git/info/lfs") == f"{HOST}/acme/app"
    for path in ("acme/app/", "ACME/App.git", "acme//app", "/acme/./app", "%61cme/app%2Egit", "x/../acme/app?a=/b"):
        assert about(path) == f"{HOST}/acme/app", path
    assert about("acme/../Evil") == f"{HOST}/evil"
    assert about("{}/{x}/info/lfs") == f"{HOST}/{{}}/{{x}}"
    assert about(None) == HOST
    assert about(None, "acme/app.git") == f"{HOST}/acme/app"


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
    typed = a_credential(f"{HOST}/acme/app", token_kinds.UNKNOWN, typed_username="svc", typed_path="acme/app.git")
    assert asked("host=bitbucket.org\npath=acme/app.git\nusername=svc\n", kept=(typed,)) == [typed]
    assert asked("host=bitbucket.org\npath=acme/app.git\n", kept=(typed,)) == [typed]
    assert asked("host=bitbucket.org\npath=acme/app.git\nusername=SVC\n", kept=(typed,)) == []
    assert asked("host=bitbucket.org\npath=acme/app\nusername=svc\n", kept=(typed,)) == []
    assert asked("host=bitbucket.org\npath=acme/app.git/x\n", kept=(typed,)) == []
    assert asked("host=bitbucket.org\n", kept=(typed,)) == [typed], "a request without a path takes any"
    anywhere = a_credential(HOST, token_kinds.UNKNOWN, typed_username="svc")
    assert asked("host=bitbucket.org\n", kept=(anywhere,)) == [anywhere]
    assert asked("host=bitbucket.org\n", path="acme/app.git", kept=(anywhere,)) == [anywhere]
    assert asked("host=bitbucket.org\npath=acme/app.git\n", kept=(anywhere,)) == []


@given(st.text(max_size=30), st.text(max_size=30))
def test_no_words_reach_another_hosts_credential(host: str, path: str) -> None:
    """Whatever host and path are asked for, an answer is for that very host."""
    clean = {ord(c): None for c in "\n\r\0"}
    host, path = host.translate(clean) or "x", path.translate(clean)
    for found in asked(f"host={host}\npath={path}\n"):
        assert found.place.split("/")[2] == git_protocol.normalise_host("https", host)


def test_a_request_that_names_no_repository_is_answered_at_once_among_many() -> None:
    """Each is looked at once: to compare each with each stopped the daemon for seconds, whoever asked."""
    index = Index([a_credential(f"{HOST}/workspace{n}", token_kinds.ACCESS_TOKEN).to_record() for n in range(5000)])
    request = git_protocol.parse(b"protocol=https\nhost=bitbucket.org\n")
    started = time.process_time()
    assert len(find_candidates(index, request, lambda: None).candidates) == 5000
    assert time.process_time() - started < 3, "it takes a tenth of a second"


@pytest.mark.parametrize(
    ("path", "is_below"),
    [
        ("bitbucket/scm/k/app.git", True),
        ("bitbucket/scm/~alice/a%20b.git", True),
        ("bitbucket2/scm/k/app.git", False),
        ("Bitbucket/scm/k/app.git", False),
        ("bitbucket/../wiki/scm/k/app.git", False),
        ("bitbucket/%2e%2E/wiki", False),
        ("bitbucket/..%2fwiki", False),
        ("bitbucket/..;/wiki", False),
        ("bitbucket/..\\wiki", False),
        ("bitbucket/./../../bitbucket/../wiki", False),
    ],
)
def test_no_spelling_leads_out_of_a_context_path(path: str, is_below: bool) -> None:
    """What git unquotes before it asks, it sends quoted: the server resolves it to what is beside."""
    assert is_below_context("/bitbucket", path) is is_below
    assert is_below_context("", path)
