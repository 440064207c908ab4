"""An OAuth login never ends under a command: renewed early, renewed once, and renewed when the server says no."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.sandbox import Machine, crosswise, machine_git, only_line
from tests.fake_bitbucket.client import FakeBitbucket
from tests.fake_bitbucket.tokens import digest

LARGE = bytes(range(256)) * (3 << 12)
"""3 MB: sent in chunks, so that git probes with a request of its own first."""


def rejected(machine: Machine, since: int = 0) -> int:
    """How many requests came with a secret that the server did not take."""
    return len([entry for entry in machine.offered(since=since) if entry.status == 401])


@crosswise
def test_an_expired_token_is_renewed_before_it_is_used(machine: Machine, bitbucket: FakeBitbucket, url: str) -> None:
    """One request for a new token, none with the old one; the new one serves the next command too."""
    old = machine.log_in(bitbucket.add_consumer(), expires_in=0)
    bitbucket.revoke(old)
    clone = machine.clone(url)
    machine.commit(clone)
    machine.git("push", cwd=clone)
    assert [entry.status for entry in bitbucket.token_requests()] == [200]
    assert rejected(machine) == 0
    assert digest(old) not in {entry.secret for entry in machine.offered()}


def test_many_gits_at_once_on_a_revoked_token_make_one_request(
    machine: Machine, bitbucket: FakeBitbucket, url: str
) -> None:
    """Their rejections are one rejection, and the late ones name an old token: the new one stays, and serves all.

    An older git that was handed the old token fails; none does afterwards.
    """
    knows_second_try = machine.used_git.version >= (2, 46)
    bitbucket.revoke(machine.log_in(bitbucket.add_consumer()))
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(lambda _: machine.git("ls-remote", url, check=knows_second_try), range(12)))
        list(pool.map(lambda _: machine.git("ls-remote", url), range(12)))
    assert [entry.status for entry in bitbucket.token_requests()] == [200]
    assert [credential["state"] for credential in machine.credentials()] == ["ready"]


PUSHES = {
    "before, small": ("", 0, b"small"),
    "before, large": ("", 0, LARGE),
    "in the middle, small": ("", 1, b"small"),
    "in the middle, large": ("", 1, LARGE),
    "in process, before": ("off", 0, b"small"),
    "in process, in the middle, large": ("off", 1, LARGE),
}


@pytest.mark.parametrize(("off", "after", "content"), PUSHES.values(), ids=PUSHES)
def test_a_token_revoked_under_a_push_is_replaced_without_a_word(
    newer: Machine, bitbucket: FakeBitbucket, url: str, off: str, after: int, content: bytes
) -> None:
    """The transparent second try: one new token, and the push is through.

    In the middle git's first question says nothing of the 401 (git 2.47.3 loses the state there), its second does.
    """
    newer.env["GIT_CREDENTIAL_BITBUCKET_DAEMON"] = off
    token = newer.log_in(bitbucket.add_consumer())
    clone = newer.clone(url)
    commit = newer.commit(clone, content=content)
    bitbucket.revoke(token, after=after)
    pushed = newer.git("-c", "pack.compression=0", "push", cwd=clone)
    assert bitbucket.head("acme/app") == commit
    assert "git-credential-bitbucket" not in pushed.stderr
    assert rejected(newer) == 1 + after
    assert len(bitbucket.token_requests()) == 1


@pytest.mark.parametrize(
    ("after", "daemon"), [(0, ""), (1, "off")], ids=["before, daemon", "in the middle, in process"], indirect=["daemon"]
)
def test_an_older_git_fails_once_and_then_works(older: Machine, bitbucket: FakeBitbucket, url: str, after: int) -> None:
    """Before 2.46 git gives up on the 401; the rejected token is not offered again, so the next push is through."""
    if older.used_git.version >= (2, 46):
        pytest.skip(f"this machine's {older.used_git} knows the second try")
    token = older.log_in(bitbucket.add_consumer())
    clone = older.clone(url)
    commit = older.commit(clone)
    bitbucket.revoke(token, after=after)
    assert older.git("push", cwd=clone, check=False).returncode != 0
    older.git("push", cwd=clone)
    assert bitbucket.head("acme/app") == commit
    assert rejected(older) == 1
    assert len(bitbucket.token_requests()) == 1


def test_the_second_try_by_the_real_name_and_a_proxy(newer: Machine, bitbucket: FakeBitbucket) -> None:
    """Not only a host that is opted in: bitbucket.org, reached as git is told to reach it, and so is its OAuth."""
    bitbucket.create_repository("acme/app")
    newer.git("config", "--global", "http.proxy", bitbucket.proxy_url)
    newer.helper("configure")
    newer.site = "https://bitbucket.org"
    token = newer.log_in(bitbucket.add_consumer())
    clone = newer.clone("https://bitbucket.org/acme/app.git")
    commit = newer.commit(clone)
    bitbucket.revoke(token, after=1)
    newer.git("push", cwd=clone)
    assert bitbucket.head("acme/app") == commit
    assert len(bitbucket.token_requests()) == 1
    assert {entry.path for entry in bitbucket.requests("proxy")} == {"bitbucket.org:443"}


def test_a_proxy_that_changed_since_the_login_is_obeyed(newer: Machine, bitbucket: FakeBitbucket) -> None:
    """Git's configuration is read at each renewal: what the login saw may be gone by now."""
    bitbucket.create_repository("acme/app")
    newer.git("config", "--global", "http.proxy", "http://127.0.0.1:1")
    newer.helper("configure")
    newer.site = "https://bitbucket.org"
    newer.log_in(bitbucket.add_consumer(), expires_in=0)
    newer.git("config", "--global", "http.proxy", bitbucket.proxy_url)
    newer.git("ls-remote", "https://bitbucket.org/acme/app.git")
    assert [entry.status for entry in bitbucket.token_requests()] == [200]


def test_a_consumer_mints_again(machine: Machine, bitbucket: FakeBitbucket, url: str) -> None:
    """There is no refresh token, and none is needed."""
    machine.add_consumer(bitbucket.add_consumer())
    clone = machine.clone(url)
    bitbucket.revoke(kind="oauth2")
    machine.git("fetch", cwd=clone, check=machine.used_git.version >= (2, 46))
    machine.git("fetch", cwd=clone)
    assert [entry.form["grant_type"] for entry in bitbucket.token_requests()] == ["client_credentials"] * 2


@machine_git
def test_a_login_that_has_expired_says_so_and_is_kept(machine: Machine, bitbucket: FakeBitbucket, url: str) -> None:
    """The consent was taken back: one line with the cure, no loop, and nothing thrown away."""
    machine.log_in(bitbucket.add_consumer(), expires_in=0)
    bitbucket.revoke_logins()
    answer = machine.git("ls-remote", url, check=False)
    assert answer.returncode == 128
    assert only_line(answer.stderr).startswith("the OAuth login for ")
    assert len(machine.credentials()) == 1
    assert len(bitbucket.token_requests()) <= 2
    assert not machine.offered()


def test_a_new_token_that_is_rejected_too_ends_the_tries(machine: Machine, bitbucket: FakeBitbucket, url: str) -> None:
    """The trouble is not the token's age: one new one, and then the reason."""
    bitbucket.turn(token_lifetime=0, omit_expires_in=True)
    machine.log_in(bitbucket.add_consumer())
    for _ in range(4):
        assert machine.git("ls-remote", url, check=False).returncode == 128
    assert len(bitbucket.token_requests()) == 1
    assert rejected(machine) == 2
    assert "a new token was rejected as well" in only_line(machine.told[-1])
    assert len(machine.credentials()) == 1
