"""Hostile requests at a grant's socket: every action, with the fields that do most, in pieces and with noise."""

import random
from typing import NamedTuple

from git_credential_bitbucket.agent.dispatch import ACTIONS
from tests.daemon.daemons import Daemon, read_all
from tests.fake_bitbucket import tokens

PATHS = (
    *(
        "acme/app",
        "acme/app",
        "acme/app.git/info/lfs",
        "other/app",
        "acme",
        "",
        "{}",
        "acme//app",
        "acme/%2e%2e/other/app",
    ),
    *("acme/../other/app", "other/app/../../acme/app", "acme/app/../../other/app", "acme/app/%2e%2e/%2e%2e/other/app"),
)
HEADS = ("", "", "vault=0\n", "timeout=9999999999\n", "action=get\n", "protocol=http\n")
NOISE = (b"", b"\0", b"\n", b"\r\n", b"\xff", b"\xe2\x80\xa8")


class Outcome(NamedTuple):
    """What came of it: how many answers had the grant's secret, and what went wrong."""

    given: int
    wrong: list[str]


def attack(daemon: Daemon, count: int, seed: int) -> Outcome:
    """Ask `count` times at the socket of a grant for one of two repositories that the daemon has tokens of."""
    ours, other = tokens.access_token(), tokens.access_token()
    daemon.store("acme/app", ours)
    daemon.store("other/app", other)
    socket, name = daemon.grant("acme/app")
    before, chance = daemon.credentials(), random.Random(seed)
    state = f"state[]=bitbucket:{before[0]['id']}:{1}"
    fields = [
        f"password={other}",
        f"password={ours}",
        "force=1",
        "key=AAAA",
        "person=1",
        f"grant={name}",
        "memory=1",
        state,
    ]
    fields += [
        *(f"id={one['id']}" for one in before),
        "asked_path=other/app",
        "capability[]=state",
        "username=x",
        "expires=9",
    ]
    given, wrong = 0, []
    for _ in range(count):
        lines = [f"path={chance.choice(PATHS)}", *chance.sample(fields, chance.randrange(4))]
        action = "get" if chance.random() < 0.4 else chance.choice([*ACTIONS, "GET", "nonsense", ""])
        head = f"action={action}\ntimeout=35\n{chance.choice(HEADS)}protocol=https\nhost=bitbucket.org\n"
        request = (head + "".join(f"{line}\n" for line in lines)).encode()
        if chance.random() < 0.3:
            at = chance.randrange(len(request))
            request = request[:at] + chance.choice(NOISE) + request[at + 1 :]
        with daemon.connect(socket) as connection:
            connection.sendall(request)
            if chance.random() < 0.9:
                connection.shutdown(1)
                answer = read_all(connection)
                given += ours.encode() in answer
                wrong += [f"{action} was given what is outside"] if other.encode() in answer else []
    if [{**one, "why": None, "hint": None} for one in daemon.credentials()] != before:
        wrong.append("the credentials have changed")
    if [one["id"] for one in daemon.grants()] != [name]:
        wrong.append("the grants have changed")
    if "fault" in daemon.told_about("status"):
        wrong.append("the daemon met a fault of its own")
    if (daemon.secret("acme/app"), daemon.secret("other/app")) != (ours, other):
        wrong.append("the owner gets something else")
    return Outcome(given, wrong)
