"""Each repository gets its own token, and no other host gets any."""

from tests.e2e.sandbox import Machine, either_way, only_line
from tests.fake_bitbucket.client import FakeBitbucket
from tests.fake_bitbucket.tokens import digest


def used(machine: Machine, url: str) -> set[tuple[str | None, int | None]]:
    """With what git was served at `url`, and how that went."""
    mark = machine.standin.mark()
    machine.git("ls-remote", url)
    return {(entry.secret, entry.status) for entry in machine.offered(since=mark)}


@either_way
def test_each_repository_gets_its_own_token_without_use_http_path(older: Machine, bitbucket: FakeBitbucket) -> None:
    """Git says nothing of the path then; whoever answers looks at the command line of the git that asks.

    Only the machine's own git is tried: the newer one of these tests is started by a loader, under the loader's name.
    """
    expected = {}
    for place, repository in (("acme/app", "acme/app"), ("acme", "acme/other"), ("beta", "beta/tool")):
        bitbucket.create_repository(repository)
        token = bitbucket.issue_access_token(place)
        older.keep(place, kind="access-token", secret=token)
        expected[repository] = digest(token)
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
