"""The whole program with a real gnome-keyring on a private D-Bus: locked, denying, hanging, gone after the start."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fault_injection.sandbox import Machine
from tests.running import Runner
from tests.vault import peers

PROBE_S = 3.0
HINT = "git-credential-bitbucket: hint: "


@pytest.fixture
def session(home: Path, machine: Machine) -> Iterator[peers.KeyringSession]:
    """An unlocked keyring, and a machine that has its vault's key there."""
    del machine.env["GIT_CREDENTIAL_BITBUCKET_KEY_FILE"], machine.env["GIT_CREDENTIAL_BITBUCKET_KEYRING"]
    with peers.KeyringSession(home) as session:
        machine.env.update(session.env, PATH=machine.env["PATH"])
        yield session


@pytest.fixture
def run(machine: Machine, executables: dict[str, Path], session: peers.KeyringSession) -> Runner:
    """Runs programs; git asks the helper."""
    del session
    helper = executables.get("native", executables["portable"])
    with (machine.home / ".gitconfig").open("a") as file:
        file.write(f"[credential]\n\thelper = {helper}\n")
    machine.env.update({"GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "", "PATH": f"{helper.parent}:/usr/bin:/bin"})
    return Runner(machine.env, machine.home / "work")


@pytest.fixture
def secret(run: Runner, machine: Machine) -> str:
    """A token that is in the vault, whose key is in the keyring; no daemon runs."""
    secret = machine.standin.issue_access_token("acme/app")
    stored = run(
        *("git", "credential", "approve"),
        stdin=machine.request("acme/app.git", username="x-token-auth", password=secret),
    )
    assert stored.stderr == ""
    run("git-credential-bitbucket", "daemon", "stop")
    assert machine.path.exists()
    return secret


def offered(run: Runner, machine: Machine) -> tuple[str | None, str]:
    """The password that git gets, and what the helper says."""
    answer = run("git", "credential", "fill", stdin=machine.request("acme/app.git"), check=False)
    lines = [line for line in answer.stderr.split("\n") if line.startswith("git-credential-bitbucket: ")]
    return dict(line.partition("=")[::2] for line in answer.stdout.split("\n")).get("password"), "\n".join(lines)


def test_a_locked_keyring_is_told_without_a_dialogue_and_works_once_unlocked(
    run: Runner, machine: Machine, session: peers.KeyringSession, secret: str
) -> None:
    """No window pops up under a git command; nothing is written; after the desktop's unlock all is as before."""
    before = machine.path.read_bytes()
    session.lock()
    with session.watching_prompts() as prompts:
        found, said = offered(run, machine)
        assert found is None
        assert "locked" in said
        assert HINT in said
        assert prompts() == 0
    assert machine.path.read_bytes() == before
    session.unlock()
    run("git-credential-bitbucket", "unlock")
    assert offered(run, machine) == (secret, "")


def test_a_hanging_keyring_costs_seconds_and_not_the_command(
    run: Runner, machine: Machine, session: peers.KeyringSession, secret: str
) -> None:
    """It is given three seconds; then one line, and once it goes on, so do we."""
    assert session.keyring is not None
    session.keyring.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    found, said = offered(run, machine)
    assert found is None
    assert HINT in said
    assert time.monotonic() - began < 20 * PROBE_S
    session.keyring.send_signal(signal.SIGCONT)
    run("git-credential-bitbucket", "unlock")
    assert offered(run, machine) == (secret, "")


def test_a_keyring_that_is_gone_after_the_start_is_not_missed(
    run: Runner, machine: Machine, session: peers.KeyringSession, secret: str
) -> None:
    """A cold start asks nobody, and the daemon has the key; when it is gone as well, the reason is told."""
    assert offered(run, machine) == (secret, "")
    assert session.keyring is not None
    session.keyring.kill()
    session.keyring.wait()
    assert offered(run, machine) == (secret, "")
    run("git-credential-bitbucket", "daemon", "stop")
    before = machine.path.read_bytes()
    found, said = offered(run, machine)
    assert found is None
    assert said.count("error: ") == 1
    assert HINT in said
    assert machine.path.read_bytes() == before


def test_a_bus_that_denies_is_told(run: Runner, machine: Machine, secret: str, home: Path) -> None:
    """The vault is there and its key may not be had: locked, with a hint, and untouched."""
    assert secret
    before = machine.path.read_bytes()
    other = home / "other"
    (other / "run").mkdir(parents=True, mode=0o700)
    with peers.KeyringSession(other, keyring=False, policy=peers.DENY_SECRETS) as denying:
        run.env["DBUS_SESSION_BUS_ADDRESS"] = denying.env["DBUS_SESSION_BUS_ADDRESS"]
        found, said = offered(run, machine)
    assert found is None
    assert said.count("error: ") == 1
    assert HINT in said
    assert machine.path.read_bytes() == before
