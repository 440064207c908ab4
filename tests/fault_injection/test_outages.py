"""A failing Bitbucket: a living token stays in service, the refresh token survives, and no storm breaks loose."""

import ssl
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.bitbucket.strange import Strange
from tests.daemon.daemons import Daemon, eventually
from tests.fault_injection import outages
from tests.fault_injection.sandbox import Machine

LOST_ANSWERS = ("cut", "reset")


def name(fault: Mapping[str, object]) -> str:
    """A fault as a test's name."""
    return "-".join(str(value) for value in fault.values()).replace("/", "")


@pytest.mark.parametrize("fault", outages.FAULTS, ids=name)
def test_an_outage_costs_one_request_and_no_login(
    machine: Machine, daemon: Daemon, fault: Mapping[str, object]
) -> None:
    """Hundreds of gets, one request: a living token is served, an expired one is not, and the cause is told.

    When it is over, the refresh token works.
    """
    login = outages.due_log_in(machine, daemon)
    machine.standin.script_fault("token", count=1000, **fault)  # type: ignore[arg-type]  # kind is among them
    outcome = outages.outage(machine, daemon)
    assert outcome.secrets == {login["secret"]}
    assert outcome.answers == outages.GETS
    assert 1 <= outcome.requests <= outcome.allowed
    (kept,) = machine.records()
    assert kept["refresh_token"] == login["refresh_token"]
    assert outages.trouble(daemon)["trouble"]
    assert outages.trouble(daemon)["state"] == "ready"
    outages.next_attempt_now(machine)
    outages.expire(machine)
    outcome = outages.outage(machine, daemon)
    assert outcome.secrets == {None}
    assert 1 <= outcome.requests <= outcome.allowed
    told = daemon.told_about("why", machine.request("acme/app.git"))
    assert "could not be renewed" in told["error"]
    assert told["hint"]
    machine.standin.release()
    outages.next_attempt_now(machine)
    eventually(lambda: "password" in daemon.told_about("get", machine.request()))
    (kept,) = machine.records()
    assert not machine.standin.is_spent(kept["refresh_token"])
    assert "trouble" not in kept


@pytest.mark.parametrize("kind", LOST_ANSWERS)
def test_an_answer_that_is_lost_on_its_way_is_the_one_loss_and_is_said(
    machine: Machine, daemon: Daemon, kind: str
) -> None:
    """Bitbucket has rotated, its answer did not arrive: the living token is served, then a new login is asked for."""
    login = outages.due_log_in(machine, daemon)
    machine.standin.script_fault("token", kind, act=True)
    assert daemon.told_about("get", machine.request())["password"] == login["secret"]
    assert machine.standin.is_spent(login["refresh_token"])
    for _ in range(3):
        outages.next_attempt_now(machine)
        assert daemon.told_about("get", machine.request())["password"] == login["secret"]
    outages.expire(machine)
    told = daemon.told_about("why", machine.request())
    assert told["state"] == "login-expired"
    assert told["hint"].endswith(" --oauth")


ODD_ANSWERS = {
    "no access token": {"body": '{"refresh_token": "{refresh_token}"}'},
    "a huge integer": {"body": '{"access_token": 1%s, "refresh_token": "{refresh_token}"}' % ("0" * 9999)},
    "an error beside it": {
        "status": 401,
        "body": '{"error": "unauthorized_client", "refresh_token": "{refresh_token}"}',
    },
    "a server error": {"status": 500, "body": '{"access_token": "{access_token}", "refresh_token": "{refresh_token}"}'},
    "UTF-16 and half of it": {"encoding": "utf-16", "body": '[{"refresh_token": "{refresh_token}", "access_tok'},
}


@pytest.mark.parametrize("odd", ODD_ANSWERS.values(), ids=ODD_ANSWERS)
def test_a_new_refresh_token_survives_an_odd_answer(
    machine: Machine, daemon: Daemon, odd: Mapping[str, object]
) -> None:
    """It is on disk before the rest is judged, so that even another daemon goes on with it."""
    login = outages.due_log_in(machine, daemon, expires_at=1.0)
    machine.standin.script_fault("token", "odd", **odd)
    assert "password" not in daemon.told_about("get", machine.request())
    assert machine.standin.is_spent(login["refresh_token"])
    (kept,) = machine.records()
    assert not machine.standin.is_spent(kept["refresh_token"])
    daemon.end()
    outages.next_attempt_now(machine)
    assert machine.daemon().told_about("get", machine.request())["password"]


def test_a_hang_holds_one_get_and_no_other(machine: Machine, daemon: Daemon) -> None:
    """What is there for other places is answered meanwhile, and the hanging request is the only one."""
    outages.due_log_in(machine, daemon, place=f"{machine.standin.url}/acme")
    machine.add(daemon, kind="access-token", secret=machine.standin.issue_access_token("other"), place=_other(machine))
    machine.standin.script_fault("token", "hang", count=1000)
    with daemon.connect() as waiting:
        waiting.sendall(b"action=get\n" + machine.request("acme/app.git"))
        waiting.shutdown(1)
        machine.standin.wait_for("token")
        for _ in range(50):
            assert daemon.told_about("get", machine.request("other/app.git"))["password"]
        assert len(machine.standin.token_requests()) == 1
        machine.standin.release()
        assert b"password=" in waiting.recv(65536)


def _other(machine: Machine) -> str:
    return f"{machine.standin.url}/other"


@pytest.mark.parametrize("broken", ["wrong name", "unknown CA", "no such name", "nobody listens"])
def test_a_bitbucket_that_cannot_be_trusted_or_found_is_told_nothing(
    machine: Machine, daemon: Daemon, tmp_path: Path, broken: str
) -> None:
    """The token lives on in service; the cause names what is wrong; the refresh token was not sent."""
    server = Strange(tmp_path, _never, ["wrong.example" if broken == "wrong name" else "127.0.0.1"], 1)
    url = server.url
    if broken == "wrong name":
        trusted = Path(machine.env["GIT_SSL_CAINFO"])
        trusted.write_bytes(trusted.read_bytes() + Path(server.ca_file).read_bytes())
    elif broken == "no such name":
        url = "https://bitbucket.invalid"
    elif broken == "nobody listens":
        server.close()
    setting = f"credential.{machine.standin.url}.oauthTokenURL"
    subprocess.run(["git", "config", "--global", setting, f"{url}/t"], env=machine.env, check=True)
    login = outages.due_log_in(machine, daemon)
    assert daemon.told_about("get", machine.request())["password"] == login["secret"]
    cause = outages.trouble(daemon)["trouble"]
    assert {
        "wrong name": "mismatch",
        "unknown CA": "is not trusted",
        "no such name": "bitbucket.invalid",
        "nobody listens": "refused",
    }[broken] in cause, cause
    (kept,) = machine.records()
    assert kept["refresh_token"] == login["refresh_token"]
    if broken != "nobody listens":
        server.close()


def _never(_connection: ssl.SSLSocket) -> None:
    raise AssertionError("something was sent")


@pytest.mark.parametrize("hours", [1, -1])
def test_a_clock_that_is_off_by_an_hour_costs_one_renewal(machine: Machine, hours: int) -> None:
    """Set forward, a token seems ended; set back, it seems to come from the future: one renewal, no storm."""
    daemon = machine.daemon(enter=_SHIFTED.format(seconds=0))
    login = outages.due_log_in(machine, daemon, minted_at=time.time(), expires_at=time.time() + 7200)
    assert daemon.told_about("get", machine.request())["password"] == login["secret"]
    daemon.end()
    daemon = machine.daemon(enter=_SHIFTED.format(seconds=hours * 3600 * (2 if hours > 0 else 1)))
    outcome = outages.outage(machine, daemon)
    daemon.end()
    assert None not in outcome.secrets
    assert outcome.requests == 1
    (kept,) = machine.records()
    assert not machine.standin.is_spent(kept["refresh_token"])


_SHIFTED = """
import os, sys, time
sys.path.append(sys.argv.pop(1))
from git_credential_bitbucket.client.activate import third_party
third_party()
real = time.time
time.time = lambda: real() + {seconds}
from git_credential_bitbucket.daemon.__main__ import main
sys.exit(main(sys.argv[1:]))
"""
