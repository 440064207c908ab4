"""A runner's job: credentials from its environment, no daemon for a static one, and no vault."""

import subprocess

from tests.e2e.sandbox import Machine, either_way, machine_git
from tests.fake_bitbucket.client import ConsumerKey, FakeBitbucket
from tests.fake_bitbucket.tokens import digest

API_TOKEN_USERNAME = "x-bitbucket-api-token-auth"
TOKEN_USERNAME = "x-token-auth"


def assert_untouched(machine: Machine) -> None:
    """No daemon was started, and there is no vault."""
    assert not machine.socket.exists()
    assert not machine.vault_file.parent.exists()


def test_a_token_of_the_environment_serves_a_job(newer: Machine, bitbucket: FakeBitbucket, url: str) -> None:
    """Clone and push; the front end alone answers."""
    token = bitbucket.issue_api_token()
    newer.env["BITBUCKET_TOKEN"] = token
    clone = newer.clone(url)
    commit = newer.commit(clone)
    newer.git("push", cwd=clone)
    assert bitbucket.head("acme/app") == commit
    assert {(e.username, e.secret, e.status) for e in newer.offered()} == {(API_TOKEN_USERNAME, digest(token), 200)}
    assert_untouched(newer)


@either_way
@machine_git
def test_a_token_of_the_environment_wins_over_the_vault_and_never_enters_it(
    machine: Machine, bitbucket: FakeBitbucket, url: str
) -> None:
    """While it is set it answers; afterwards the vault holds what it held."""
    kept, given = bitbucket.issue_api_token(), bitbucket.issue_access_token("acme/app")
    machine.approve("", "alice", kept)
    machine.git("ls-remote", url, more={"BITBUCKET_TOKEN": given})
    machine.git("ls-remote", url)
    assert list(dict.fromkeys(entry.secret for entry in machine.offered())) == [digest(given), digest(kept)]
    assert [credential["kind"] for credential in machine.credentials()] == ["api-token"]


def test_a_consumer_of_the_environment_mints_once_for_a_job(
    newer: Machine, bitbucket: FakeBitbucket, consumer: ConsumerKey, url: str
) -> None:
    """The daemon holds its token in memory; there is no vault, and `status` has nothing to keep."""
    newer.env |= consumer.environment
    clone = newer.clone(url)
    newer.commit(clone)
    newer.git("push", cwd=clone)
    newer.git("fetch", cwd=clone)
    minted = bitbucket.token_requests()
    assert [(entry.form["grant_type"], entry.status) for entry in minted] == [("client_credentials", 200)]
    assert {(entry.username, entry.status) for entry in newer.offered()} == {(TOKEN_USERNAME, 200)}
    assert not newer.vault_file.parent.exists()


@machine_git
def test_a_consumer_of_the_environment_works_without_a_daemon(
    machine: Machine, bitbucket: FakeBitbucket, consumer: ConsumerKey, url: str
) -> None:
    """All commands of a job share one token, sealed in the runtime directory; there is no vault, and no daemon."""
    machine.env |= consumer.environment
    machine.env["GIT_CREDENTIAL_BITBUCKET_DAEMON"] = "off"
    clone = machine.clone(url)
    machine.commit(clone)
    machine.git("push", cwd=clone)
    assert {entry.status for entry in machine.offered()} == {200}
    assert len(bitbucket.token_requests()) == 1
    assert "git-credential-bitbucket" not in "".join(machine.told)
    assert_untouched(machine)
    assert [path.name.partition("-")[0] for path in machine.socket.parent.iterdir()] == ["minted"]


def test_parallel_commands_without_a_daemon_mint_once(newer: Machine, bitbucket: FakeBitbucket) -> None:
    """Twenty at once ask Bitbucket once; the next run not at all, and once more when git has had the token rejected."""
    consumer = bitbucket.add_consumer()
    newer.env |= consumer.environment
    newer.env["GIT_CREDENTIAL_BITBUCKET_DAEMON"] = "off"

    def given(count: int) -> set[str]:
        ask = [newer.used_git.path, "credential", "fill"]
        jobs = [subprocess.Popen(ask, env=newer.env, stdin=-1, stdout=-1, stderr=-1, text=True) for _ in range(count)]
        answers = [job.communicate(newer.request("acme/app")) for job in jobs]
        assert {said for _, said in answers} == {""}
        return {line for said, _ in answers for line in said.splitlines() if line.startswith("password=")}

    (first,) = given(20)
    assert len(bitbucket.token_requests()) == 1
    assert given(1) == {first}
    rejected = newer.request("acme/app", username=TOKEN_USERNAME, password=first.removeprefix("password="))
    newer.git("credential", "reject", stdin=rejected)
    (second,) = given(2)
    assert second != first
    assert len(bitbucket.token_requests()) == 2


def test_a_minted_token_revoked_under_a_push_is_minted_again(
    newer: Machine, bitbucket: FakeBitbucket, consumer: ConsumerKey, url: str
) -> None:
    """The second try works for the environment's consumer as for a login."""
    newer.env |= consumer.environment
    clone = newer.clone(url)
    commit = newer.commit(clone)
    bitbucket.revoke(kind="oauth2", after=1)
    newer.git("push", cwd=clone)
    assert bitbucket.head("acme/app") == commit
    assert len(bitbucket.token_requests()) == 2
