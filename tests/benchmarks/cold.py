"""(e) A `get` with no daemon there: it is started, and the vault opened, by each source of its key."""

import base64
import secrets

from git_credential_bitbucket.vault import keyring_key
from tests.benchmarks.bench import Bench
from tests.benchmarks.figures import Table, ratio
from tests.benchmarks.processes import Command, in_turn
from tests.benchmarks.sandbox import REQUEST, Seat, seat
from tests.vault.peers import KeyringSession, programs_missing

BARE = "bare python -I -S -c pass"


def measure(bench: Bench) -> Table:
    """Each source in turn with a bare Python; the daemon leaves before every start."""
    table = Table("e", "cold get: the daemon is to be started, a vault of 100 credentials to be opened")
    by_file(bench, table)
    by_variable(bench, table)
    by_keyring(bench, table)
    table.notes.append("a passphrase: nobody is asked for one by a get that git runs; the vault stays locked")
    return table


def by_file(bench: Bench, table: Table) -> None:
    """The key in a file; also without any daemon."""
    with seat() as user:
        user.fill(100)
        off = {**user.env, "GIT_CREDENTIAL_BITBUCKET_DAEMON": "off"}
        inside = Command("no daemon allowed (key file)", [str(bench.main), "get"], off, REQUEST, user.answered)
        times = in_turn([cold(bench, user, "key file"), inside, bench.python(user, BARE)], bench.rounds(40))
        for name, samples in times.items():
            table.add(name, samples)
    table.hold("cold get, key file / bare python", ratio(times["key file"], times[BARE]), 7)


def by_variable(bench: Bench, table: Table) -> None:
    """The key itself in the environment."""
    with seat() as user:
        del user.env["GIT_CREDENTIAL_BITBUCKET_KEY_FILE"]
        user.env["GIT_CREDENTIAL_BITBUCKET_KEY"] = base64.b64encode(secrets.token_bytes(32)).decode()
        user.fill(100)
        add(table, bench, user, "key in the environment")


def by_keyring(bench: Bench, table: Table) -> None:
    """The key in a Secret Service of its own, unlocked."""
    if missing := programs_missing():
        table.absent.append(f"keyring: {missing}")
        return
    with seat() as user, KeyringSession(user.home) as session:
        del user.env["GIT_CREDENTIAL_BITBUCKET_KEYRING"], user.env["GIT_CREDENTIAL_BITBUCKET_KEY_FILE"]
        user.env.update(session.env)
        keyring_key.open_up(user.env)
        user.fill(100)
        add(table, bench, user, "keyring (gnome-keyring)")


def add(table: Table, bench: Bench, user: Seat, name: str) -> None:
    """Rows for one source."""
    table.add(name, in_turn([cold(bench, user, name), bench.python(user)], bench.rounds(20))[name])


def cold(bench: Bench, user: Seat, name: str) -> Command:
    """A `get` before which the daemon is made to leave."""
    return Command(name, [str(bench.main), "get"], user.env, REQUEST, user.answered, user.stop)
