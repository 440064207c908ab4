"""Each repository gets its own token, and no other host gets any."""

import pytest

from tests.e2e.sandbox import Machine, either_way, machine_git, only_line
from tests.fake_bitbucket.client import FakeBitbucket
from tests.fake_bitbucket.tokens import digest

PLACES = ("acme/app", "acme/other", "beta/tool", "alice/dotfiles")


@pytest.fixture
def own(bitbucket: FakeBitbucket) -> dict[str, str]:
    """Four repositories, and the token that each is to be served with; see `give`."""
    for place in PLACES:
        bitbucket.create_repository(place)
    return {"acme/app": bitbucket.issue_access_token("acme/app"), "acme": bitbucket.issue_access_token("acme")}


def give(machine: Machine, own: dict[str, str]) -> dict[str, str]:
    """A token for a repository, one for its workspace, and a person's login for the rest: which serves what."""
    for place, token in own.items():
        machine.keep(place, kind="access-token", secret=token)
    login = machine.log_in(machine.standin.add_consumer())
    return {
        "acme/app": digest(own["acme/app"]),
        "acme/other": digest(own["acme"]),
        "beta/tool": digest(login),
        "alice/dotfiles": digest(login),
    }


def used(machine: Machine, url: str) -> set[tuple[str | None, int | None]]:
    """With what git was served at `url`, and how that went."""
    mark = machine.standin.mark()
    machine.git("ls-remote", url)
    return {(entry.secret, entry.status) for entry in machine.offered(since=mark)}


@machine_git
def test_each_repository_gets_its_own_token(machine: Machine, bitbucket: FakeBitbucket, own: dict[str, str]) -> None:
    """The narrowest place wins, whatever name the Clone button put into the address."""
    expected = give(machine, own)
    for repository, token in expected.items():
        for name in ("", "alice", "x-token-auth"):
            assert used(machine, bitbucket.clone_url(repository, name)) == {(token, 200)}


def test_each_repository_gets_its_own_token_without_a_daemon(
    newer: Machine, bitbucket: FakeBitbucket, own: dict[str, str]
) -> None:
    """As above, where every git command decides by itself."""
    newer.env["GIT_CREDENTIAL_BITBUCKET_DAEMON"] = "off"
    for repository, token in give(newer, own).items():
        assert used(newer, bitbucket.clone_url(repository, "alice")) == {(token, 200)}


@either_way
def test_each_repository_gets_its_own_token_without_use_http_path(
    older: Machine, bitbucket: FakeBitbucket, own: dict[str, str]
) -> None:
    """Git says nothing of the path then; whoever answers looks at the command line of the git that asks.

    Only the machine's own git is tried: the newer one of these tests is started by a loader, under the loader's name.
    """
    expected = give(older, own)
    older.git("config", "--global", f"credential.{bitbucket.url}.useHttpPath", "false")
    for repository, token in expected.items():
        assert used(older, bitbucket.clone_url(repository)) == {(token, 200)}
    clone = older.clone(bitbucket.clone_url("acme/app"))
    mark = bitbucket.mark()
    older.commit(clone)
    older.git("push", cwd=clone)
    older.git("fetch", cwd=clone)
    assert {entry.secret for entry in older.offered(since=mark)} == {expected["acme/app"]}


@either_way
def test_the_reason_is_the_repositorys_own_without_use_http_path(older: Machine, bitbucket: FakeBitbucket) -> None:
    """What is wrong with another repository's token is not why this one gets none."""
    token = bitbucket.issue_access_token("acme/app")
    older.keep("acme/app", kind="access-token", secret=token)
    bitbucket.revoke(token)
    older.git("config", "--global", f"credential.{bitbucket.url}.useHttpPath", "false")
    told = {}
    for repository in ("acme/app", "acme/two", "acme/app"):
        answer = older.git("ls-remote", bitbucket.create_repository(repository), check=False)
        told[repository] = answer.stderr
    assert only_line(told["acme/two"]) == f"no credential for {bitbucket.netloc}/acme/two"
    assert "suspended" in only_line(told["acme/app"])


def test_case_suffix_and_coding_of_an_address_do_not_matter(
    newer: Machine, bitbucket: FakeBitbucket, own: dict[str, str]
) -> None:
    """Bitbucket takes a repository's name in any case, with `.git` and without."""
    expected = give(newer, own)
    for path in ("acme/app", "Acme/App.git", "acme/app.git/", "%61cme/app"):
        assert used(newer, f"{bitbucket.url}/{path}") == {(expected["acme/app"], 200)}, path


def test_a_host_that_only_the_repository_opts_in_gets_nothing(older: Machine, bitbucket: FakeBitbucket) -> None:
    """Its configuration is the attacker's: neither the vault nor the environment answers another host."""
    api_token = bitbucket.issue_api_token()
    older.approve("", "alice", api_token)
    with FakeBitbucket() as other:
        url = other.create_repository("acme/app")
        clone = older.work / "clone"
        older.git("init", clone)
        for name, value in [*other.git_config(), (f"credential.{other.url}.helper", str(older.program))]:
            older.git("config", name, value, cwd=clone)
        older.git("config", "http.sslCAInfo", other.ca_file, cwd=clone)
        for token in ({}, {"BITBUCKET_TOKEN": api_token}, {"BITBUCKET_API_TOKEN": api_token}):
            for off in ("", "off"):
                more = {**token, "GIT_SSL_CAINFO": other.ca_file, "GIT_CREDENTIAL_BITBUCKET_DAEMON": off}
                answer = older.git("ls-remote", url, cwd=clone, more=more, check=False)
                assert answer.returncode == 128
                assert "git-credential-bitbucket" not in answer.stderr
        assert other.requests("git")
        assert not [entry for entry in other.requests() if entry.auth]


def test_no_token_goes_over_plain_http(older: Machine, bitbucket: FakeBitbucket) -> None:
    """The same name without TLS is another host."""
    token = bitbucket.issue_api_token()
    older.approve("", "alice", token)
    request = older.request("acme/app").replace("https", "http")
    for more in ({}, {"BITBUCKET_TOKEN": token}):
        answer = older.git("credential", "fill", stdin=request, more=more, check=False)
        assert "password=" not in answer.stdout


@machine_git
def test_a_token_for_another_repository_is_not_tried(
    machine: Machine, bitbucket: FakeBitbucket, own: dict[str, str]
) -> None:
    """What cannot work is not offered: the message says for which repository there is nothing."""
    machine.keep("acme/app", kind="access-token", secret=own["acme/app"])
    answer = machine.git("ls-remote", bitbucket.clone_url("beta/tool"), check=False)
    assert answer.returncode == 128
    assert only_line(answer.stderr) == f"no credential for {bitbucket.netloc}/beta/tool"
    assert not machine.offered()
