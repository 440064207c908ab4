"""When the server says no, or there is nothing to say: one line with the cure, no loop, and nothing is lost."""

import pytest

from tests.e2e.sandbox import Machine, crosswise, either_way, machine_git, only_line
from tests.fake_bitbucket.client import FakeBitbucket
from tests.fake_bitbucket.tokens import digest


def states(machine: Machine) -> list[object]:
    """The state of each credential that is kept."""
    return [credential["state"] for credential in machine.credentials()]


@either_way
@machine_git
def test_without_a_credential_git_stops_with_the_hint(machine: Machine, bitbucket: FakeBitbucket, url: str) -> None:
    """Nobody is there to be asked: one line, one hint, and git's own end."""
    answer = machine.git("clone", url, check=False)
    assert answer.returncode == 128
    assert only_line(answer.stderr) == f"no credential for {bitbucket.netloc}/acme/app"
    assert "git-credential-bitbucket login" in answer.stderr
    assert not machine.vault_file.exists()


@machine_git
def test_a_public_repository_needs_no_helper(machine: Machine, bitbucket: FakeBitbucket) -> None:
    machine.clone(bitbucket.create_repository("acme/open", public=True))
    assert not machine.told[-1].count("git-credential-bitbucket")
    assert not machine.socket.exists()


@crosswise
def test_a_static_token_is_suspended_after_a_401_and_not_lost(
    machine: Machine, bitbucket: FakeBitbucket, url: str
) -> None:
    """It was shown only once, and a 401 may be an outage: not offered for a minute, and then again."""
    token = bitbucket.issue_access_token("acme/app")
    machine.keep("acme/app", kind="access-token", secret=token)
    bitbucket.revoke(token)
    for _ in range(3):
        assert machine.git("ls-remote", url, check=False).returncode == 128
    assert [entry.status for entry in machine.offered()] == [401]
    assert "Bitbucket rejected it" in only_line(machine.told[-1])
    assert states(machine) == ["suspended"]
    machine.helper("restore", str(machine.credentials()[0]["id"]))
    machine.git("ls-remote", url, check=False)
    assert [entry.secret for entry in machine.offered()] == [digest(token)] * 2


@pytest.mark.parametrize("kept", ["vault", "environment", "environment's consumer"])
def test_another_helpers_rejected_credential_does_not_cost_ours(
    newer: Machine, bitbucket: FakeBitbucket, url: str, kept: str
) -> None:
    """Git 2.46 tells every helper to erase it, by `authtype` and `credential` and without a password."""
    token = bitbucket.issue_access_token("acme/app")
    if kept == "vault":
        newer.keep("acme/app", kind="access-token", secret=token)
    elif kept == "environment":
        newer.env["BITBUCKET_TOKEN"] = token
    else:
        consumer = bitbucket.add_consumer()
        newer.env |= consumer.environment
    newer.git("ls-remote", url)
    dead = "echo capability[]=authtype; echo authtype=Bearer; echo credential=ended; echo ephemeral=0"
    configuration = newer.home / ".gitconfig"
    lines = configuration.read_text()
    first = lines.replace("\thelper = \n", f'\thelper =\n\thelper = "!f() {{ test $1 = get && {{ {dead}; }}; }}; f"\n')
    configuration.write_text(first)
    mark = bitbucket.mark()
    assert newer.git("ls-remote", url, check=False).returncode == 128
    assert [entry.status for entry in bitbucket.requests("git", since=mark)] == [401, 401], "with nothing, with theirs"
    configuration.write_text(lines)
    newer.git("ls-remote", url)


@machine_git
@pytest.mark.parametrize("status", [403, 404])
def test_no_access_is_no_verdict_on_the_credential(
    machine: Machine, bitbucket: FakeBitbucket, url: str, status: int
) -> None:
    """Git tells no helper of it, and the next repository is served as before."""
    bitbucket.turn(no_access_status=status)
    bitbucket.create_person("carol", places=["acme/app"])
    bitbucket.create_repository("beta/tool")
    machine.approve("", "carol", bitbucket.issue_api_token("carol"))
    assert machine.git("ls-remote", bitbucket.clone_url("beta/tool"), check=False).returncode == 128
    assert machine.git("ls-remote", bitbucket.clone_url("acme/none"), check=False).returncode == 128
    machine.git("ls-remote", url)
    assert states(machine) == ["ready"]
    assert {entry.status for entry in machine.offered()} == {200, status, 404}


@machine_git
@pytest.mark.parametrize(("fault", "after"), [("410", 0), ("503", 1)])
def test_no_other_answer_is_a_verdict_on_the_credential(
    machine: Machine, bitbucket: FakeBitbucket, url: str, fault: str, after: int
) -> None:
    """Git neither stores nor erases then, and the next command is served."""
    machine.approve("", "alice", bitbucket.issue_api_token())
    bitbucket.script_fault("git", fault, after=after)
    assert machine.git("ls-remote", url, check=False).returncode == 128
    machine.git("ls-remote", url)
    assert states(machine) == ["ready"]
