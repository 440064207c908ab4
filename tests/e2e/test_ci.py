"""A runner's job: credentials from its environment, no daemon for a static one, and no vault."""

import os
import select
import shlex
import signal
import subprocess
from collections.abc import Callable

import pytest

from tests.e2e.sandbox import Machine, either_way, machine_git, newer_git, only_line
from tests.fake_bitbucket.client import ConsumerKey, FakeBitbucket
from tests.fake_bitbucket.tokens import digest
from tests.sockets import listener_of

API_TOKEN_USERNAME = "x-bitbucket-api-token-auth"
TOKEN_USERNAME = "x-token-auth"

Issue = Callable[[FakeBitbucket], str]
TOKENS: list[tuple[str, Issue, str]] = [
    ("BITBUCKET_API_TOKEN", lambda bitbucket: bitbucket.issue_api_token(), API_TOKEN_USERNAME),
    ("BITBUCKET_ACCESS_TOKEN", lambda bitbucket: bitbucket.issue_access_token("acme/app"), TOKEN_USERNAME),
    ("BITBUCKET_TOKEN", lambda bitbucket: bitbucket.issue_api_token(), API_TOKEN_USERNAME),
    ("BITBUCKET_TOKEN", lambda bitbucket: bitbucket.issue_access_token("acme"), TOKEN_USERNAME),
    ("BITBUCKET_TOKEN", lambda bitbucket: bitbucket.issue_login(bitbucket.add_consumer())[0], TOKEN_USERNAME),
]
NAMES = ["API token", "access token", "API token by prefix", "access token by prefix", "OAuth token"]
PAIRS = [
    ("BITBUCKET_CLIENT_ID", "BITBUCKET_CLIENT_SECRET"),
    ("BITBUCKET_OAUTH_CLIENT_ID", "BITBUCKET_OAUTH_CLIENT_SECRET"),
]


@pytest.fixture
def secret_file(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Writes a secret to a file of the CI system, outside the home, with the line break that editors leave."""

    def write(secret: str) -> str:
        path = tmp_path_factory.mktemp("secrets") / "secret"
        path.write_text(secret + "\n")
        return str(path)

    return write


def assert_untouched(machine: Machine) -> None:
    """No daemon was started, and there is no vault."""
    assert not machine.socket.exists()
    assert not machine.vault_file.parent.exists()


@newer_git
@pytest.mark.parametrize(("name", "issue", "username"), TOKENS, ids=NAMES)
def test_a_token_of_the_environment_serves_a_job(
    machine: Machine, bitbucket: FakeBitbucket, url: str, name: str, issue: Issue, username: str
) -> None:
    """Clone and push by each variable and each kind; the front end alone answers."""
    token = issue(bitbucket)
    machine.env[name] = token
    clone = machine.clone(url)
    commit = machine.commit(clone)
    machine.git("push", cwd=clone)
    assert bitbucket.head("acme/app") == commit
    assert {(e.username, e.secret, e.status) for e in machine.offered()} == {(username, digest(token), 200)}
    assert_untouched(machine)


@pytest.mark.parametrize("name", ["BITBUCKET_API_TOKEN", "BITBUCKET_ACCESS_TOKEN", "BITBUCKET_TOKEN"])
def test_a_token_in_a_file_serves_a_job(
    newer: Machine, bitbucket: FakeBitbucket, url: str, name: str, secret_file: Callable[[str], str]
) -> None:
    """Each variable may name a file instead, and the line break at its end is not part of the token."""
    token = bitbucket.issue_api_token()
    newer.env[f"{name}_FILE"] = secret_file(token)
    newer.clone(url)
    used = {(entry.username, entry.secret, entry.status) for entry in newer.offered()}
    assert used == {(API_TOKEN_USERNAME, digest(token), 200)}
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


@pytest.mark.parametrize("pair", PAIRS, ids=["client", "oauth client"])
@pytest.mark.parametrize("in_file", [False, True], ids=["variable", "file"])
def test_a_consumer_of_the_environment_mints_once_for_a_job(
    newer: Machine,
    bitbucket: FakeBitbucket,
    url: str,
    pair: tuple[str, str],
    in_file: bool,
    secret_file: Callable[[str], str],
) -> None:
    """The daemon holds its token in memory; there is no vault, and `status` has nothing to keep."""
    (key, secret), consumer = pair, bitbucket.add_consumer()
    newer.env[key] = consumer.key
    newer.env |= {f"{secret}_FILE": secret_file(consumer.secret)} if in_file else {secret: consumer.secret}
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


def test_what_is_wrong_with_the_environment_is_told_by_name(
    older: Machine, bitbucket: FakeBitbucket, url: str, secret_file: Callable[[str], str]
) -> None:
    """One line and the cure for each; the secret itself is never repeated."""
    token = bitbucket.issue_api_token()
    wrong = {
        "BITBUCKET_TOKEN_FILE": "/nowhere/token",
        "BITBUCKET_API_TOKEN": bitbucket.issue_app_password(),
        "BITBUCKET_ACCESS_TOKEN_FILE": secret_file(f"{token}\n{token}"),
        "BITBUCKET_CLIENT_SECRET": bitbucket.add_consumer().secret,
    }
    for name, value in wrong.items():
        answer = older.git("ls-remote", url, more={name: value}, check=False)
        assert answer.returncode == 128
        assert name.removesuffix("_FILE") in only_line(answer.stderr)


@newer_git
def test_exec_runs_a_job_without_a_secret_in_its_environment(
    machine: Machine, bitbucket: FakeBitbucket, url: str
) -> None:
    """A private daemon answers the command's git, and is gone with it: no token, socket or vault is left."""
    token = bitbucket.issue_access_token("acme/app")
    job = f"env; git clone --quiet {shlex.quote(url)} clone && cd clone && git fetch && exit 7"
    answer = machine.helper("exec", "--", "sh", "-c", job, more={"BITBUCKET_TOKEN": token}, check=False)
    assert answer.returncode == 7, answer.stderr
    assert "GIT_CONFIG_COUNT=" in answer.stdout
    assert {(entry.secret, entry.status) for entry in machine.offered()} == {(digest(token), 200)}
    assert not list(machine.socket.parent.glob("*"))
    assert not machine.vault_file.parent.exists()


def test_the_private_daemon_of_exec_dies_with_a_killed_exec(newer: Machine, bitbucket: FakeBitbucket) -> None:
    """By the end of a pipe: SIGKILL leaves nobody who could say goodbye."""
    more = {"BITBUCKET_TOKEN": bitbucket.issue_access_token("acme/app")}
    command = [str(newer.program), "exec", "--", "sh", "-c", "echo $GIT_CREDENTIAL_BITBUCKET_SOCKET; sleep 60"]
    with subprocess.Popen(
        command, env={**newer.env, **more}, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdout is not None
        path = process.stdout.readline().decode().strip()
        handle = os.pidfd_open(listener_of(path))
        process.send_signal(signal.SIGKILL)
        try:
            assert select.select([handle], [], [], 20)[0], "it still runs"
        finally:
            os.close(handle)
            os.killpg(process.pid, signal.SIGKILL)
    assert not os.path.exists(path)
