"""What can go wrong around a command: each gives one clear line with a hint, and nothing that is kept is lost."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.sandbox import Machine, either_way, machine_git, only_line
from tests.fake_bitbucket.client import FakeBitbucket
from tests.running import Runner


def refused(machine: Machine, url: str) -> str:
    """The reason why git gets nothing."""
    answer = machine.git("ls-remote", url, check=False)
    assert answer.returncode == 128
    return only_line(answer.stderr)


def files_of(machine: Machine) -> dict[str, bytes]:
    """The vault and what lies beside it, but for its lock."""
    return {path.name: path.read_bytes() for path in machine.vault_file.parent.iterdir() if path.suffix != ".lock"}


@either_way
@machine_git
def test_a_vault_whose_key_is_not_there(machine: Machine, bitbucket: FakeBitbucket, url: str) -> None:
    """Locked is not damaged: nothing is moved or written, and with the key all is as before, in the same daemon."""
    machine.approve("", "alice", bitbucket.issue_api_token())
    machine.end_daemon()
    before, key = files_of(machine), machine.env.pop("GIT_CREDENTIAL_BITBUCKET_KEY_FILE")
    assert refused(machine, url).startswith("the vault's key is read from ")
    answer = machine.git(
        "credential",
        "approve",
        stdin=machine.request("acme/app", username="alice", password=bitbucket.issue_access_token("acme/app")),
    )
    assert only_line(answer.stderr)
    assert files_of(machine) == before
    machine.env["GIT_CREDENTIAL_BITBUCKET_KEY_FILE"] = key
    machine.git("ls-remote", url)


def test_no_keyring_and_no_key(newer: Machine, bitbucket: FakeBitbucket, url: str) -> None:
    """A login is refused before anything is lost; what git got is kept in memory, and nothing in plain text."""
    for name in ("GIT_CREDENTIAL_BITBUCKET_KEY_FILE", "GIT_CREDENTIAL_BITBUCKET_KEYRING"):
        del newer.env[name]
    token = bitbucket.issue_api_token()
    answer = newer.helper("login", "--api-token", "--host", bitbucket.url, stdin=f"{token}\n", check=False)
    assert answer.returncode != 0
    assert "--memory" in answer.stderr
    only_line(answer.stderr)
    assert not newer.vault_file.exists()
    newer.approve("", "alice", token)
    newer.git("ls-remote", url)
    assert not newer.vault_file.exists()


@pytest.mark.parametrize(("running", "off"), [(True, ""), (False, "off")], ids=["under the daemon", "alone"])
def test_a_damaged_vault_is_moved_aside_and_the_generation_before_used(
    newer: Machine, bitbucket: FakeBitbucket, running: bool, off: str
) -> None:
    """The damaged file is kept under another name; what the generation before held still works.

    What is missing is told where it is missed, and by who is asked for the state, until the file is removed.
    """
    newer.env["GIT_CREDENTIAL_BITBUCKET_DAEMON"] = off
    urls = [bitbucket.create_repository(name) for name in ("acme/app", "acme/other")]
    newer.approve("acme/app", "alice", bitbucket.issue_access_token("acme/app"))
    newer.approve("acme/other", "alice", bitbucket.issue_access_token("acme/other"))
    if not running:
        newer.end_daemon()
    damage(newer.vault_file)
    broken = newer.vault_file.read_bytes()
    assert newer.git("ls-remote", urls[0]).stderr == ""
    (name,) = (name for name in files_of(newer) if ".damaged-" in name)
    aside = newer.vault_file.parent / name
    assert aside.read_bytes() == broken
    assert [one["scope"] for one in newer.credentials()] == [f"{bitbucket.netloc}/acme/app"]
    damage_told = f"the vault was damaged: {aside} was moved aside, and the changes of its last write are missing"
    assert refused(newer, urls[1]) == f"no credential for {bitbucket.netloc}/acme/other; {damage_told}"
    assert "hint: log in again for what is missing (git-credential-bitbucket login), then " in newer.told[-1]
    newer.approve("acme/third", "alice", bitbucket.issue_access_token("acme/third"))
    document = json.loads(newer.helper("status", "--json").stdout)["vault"]
    assert (document["state"], document["damaged"], document["damage"]) == ("open", str(aside), damage_told)
    assert document["damage_hint"].endswith(f"then remove the damaged file: rm {aside}")
    for verb in ("status", "explain", "doctor"):
        said = " ".join(newer.helper(verb, *([urls[1]] if verb != "status" else []), check=False).stdout.split())
        assert f"{name} was moved aside" in said
        assert f"rm ~/{aside.relative_to(newer.home)}" in said.replace(str(newer.home), "~")
    aside.unlink()
    assert refused(newer, urls[1]) == f"no credential for {bitbucket.netloc}/acme/other"
    assert json.loads(newer.helper("status", "--json").stdout)["vault"]["damaged"] is None


@either_way
def test_a_vault_beyond_repair_is_left_as_it_is(newer: Machine, bitbucket: FakeBitbucket, url: str) -> None:
    """Both generations are damaged: said so, nothing is written over them, and a backup put back is taken."""
    newer.approve("", "alice", bitbucket.issue_api_token())
    newer.approve("acme/other", "alice", bitbucket.issue_access_token("acme/other"))
    newer.end_daemon()
    backup = newer.vault_file.read_bytes()
    for path in newer.vault_file.parent.glob("vault*"):
        damage(path)
    before = files_of(newer)
    assert "damaged" in refused(newer, url)
    answer = newer.git(
        "credential", "approve", stdin=newer.request("", username="bob", password=bitbucket.issue_api_token("bob"))
    )
    assert "damaged" in only_line(answer.stderr)
    assert files_of(newer) == before
    newer.vault_file.write_bytes(backup)
    newer.git("ls-remote", url)


def damage(path: Path) -> None:
    """Change a byte in the middle of what is sealed."""
    data = bytearray(path.read_bytes())
    if data:
        data[len(data) * 2 // 3] ^= 0xFF
        path.write_bytes(data)


def test_bitbucket_fails_while_a_token_is_due(newer: Machine, bitbucket: FakeBitbucket, url: str) -> None:
    """The login could not be renewed, and why; it is not asked for again at once, and works when Bitbucket does."""
    newer.log_in(bitbucket.add_consumer(), expires_in=0)
    bitbucket.script_fault("token", "500", count=100)
    for _ in range(3):
        assert "could not be renewed" in refused(newer, url)
    assert len(bitbucket.token_requests()) <= 2
    bitbucket.release()
    newer.helper("restore", str(newer.credentials()[0]["id"]))
    newer.git("ls-remote", url)
    assert {entry.status for entry in newer.offered()} == {200}


@pytest.fixture
def small_disk(newer: Machine) -> Iterator[Path]:
    """A file system of 256 KiB that holds the vault; an answer of Bitbucket alone is given 96."""
    folder = newer.home / "disk"
    folder.mkdir(mode=0o700)
    run = Runner({"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}, newer.home)
    if (
        os.geteuid() != 0
        or run("mount", "-t", "tmpfs", "-o", "size=256k,mode=700", "none", folder, check=False).returncode
    ):
        pytest.skip("only root may mount a small file system")
    newer.env["GIT_CREDENTIAL_BITBUCKET_VAULT"] = str(folder / "vault")
    try:
        yield folder
        newer.end_daemon()
    finally:
        run("umount", "--lazy", folder)


@either_way
def test_a_full_disk(newer: Machine, bitbucket: FakeBitbucket, url: str, small_disk: Path) -> None:
    """What is kept is served; what cannot be kept is said; and no refresh token is spent whose heir had no room."""
    newer.keep("acme/app", kind="access-token", secret=bitbucket.issue_access_token("acme/app"))
    newer.log_in(bitbucket.add_consumer(), expires_in=0)
    bitbucket.create_repository("beta/tool")
    with (small_disk / "filler").open("wb", buffering=0) as filler:
        try:
            while filler.write(bytes(4096)):
                pass
        except OSError:
            pass
    newer.git("ls-remote", url)
    answer = newer.git(
        "credential", "approve", stdin=newer.request("", username="bob", password=bitbucket.issue_api_token("bob"))
    )
    assert "no space left on device" in only_line(answer.stderr)
    assert "no space left on device" in refused(newer, bitbucket.clone_url("beta/tool"))
    assert not bitbucket.token_requests()
    (small_disk / "filler").unlink()
    newer.git("ls-remote", bitbucket.clone_url("beta/tool"))
    assert len(newer.credentials()) == 2
