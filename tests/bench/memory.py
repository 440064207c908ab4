"""(h) The daemon's memory: idle with 100 credentials, after 100,000 requests, after a refresh."""

import json

from tests.bench import load
from tests.bench.bench import Bench
from tests.bench.figures import Table
from tests.bench.processes import once
from tests.bench.seats import REQUEST, message, seat
from tests.bench.traffic import configure
from tests.standin.client import StandIn


def measure(bench: Bench) -> Table:
    """One daemon through all of it."""
    table = Table("h", "the daemon's resident memory, 100 credentials")
    with StandIn() as standin, seat() as user:
        configure(user, standin, bench)
        user.fill(100)
        once(bench.helpers(user, "get")[0])
        idle = user.resident_mib()
        table.add("idle, after its first get", [idle], "MiB")
        table.hold("idle, before a refresh", idle, 26, "MiB")
        if bench.load is None:
            table.absent.append("a C compiler for the load generator")
        else:
            requests = 2000 if bench.quick else 100000
            done = load.run(bench.load, user.socket, message("get", REQUEST), 16, requests)
            after = user.resident_mib()
            table.add(f"after {done.answered:,} gets", [after], "MiB")
            table.hold(f"growth over {done.answered:,} gets", after - idle, 1, "MiB")
        consumer = standin.add_consumer()
        access, refresh = standin.issue_login(consumer)
        record = {
            "kind": "oauth",
            "place": standin.url,
            "secret": access,
            "refresh_token": refresh,
            "expires_in": 0,
            "client_id": consumer.key,
            "client_secret": consumer.secret,
            "endpoint": {
                "authorize_url": f"{standin.url}/site/oauth2/authorize",
                "token_url": f"{standin.url}/site/oauth2/access_token",
                "revoke_url": f"{standin.url}/site/oauth2/revoke",
                "api_url": standin.api_url,
                "ca_file": standin.ca_file,
                "proxy": None,
            },
        }
        user.ask("add", f"record={json.dumps(record)}\n".encode())
        answer = user.ask("get", f"protocol=https\nhost={standin.netloc}\npath=acme/app.git\n".encode())
        assert b"password=" in answer
        assert len(standin.token_requests()) == 1
        refreshed = user.resident_mib()
        table.add("after a refresh", [refreshed], "MiB")
        table.hold("after a refresh", refreshed, 44, "MiB")
    return table
