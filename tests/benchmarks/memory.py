"""(h) The daemon's memory: idle with 100 credentials, after 100,000 requests, after a refresh."""

import json

from tests.benchmarks import load
from tests.benchmarks.bench import Bench
from tests.benchmarks.figures import Table
from tests.benchmarks.processes import once
from tests.benchmarks.sandbox import REQUEST, message, seat
from tests.benchmarks.traffic import configure
from tests.fake_bitbucket.client import FakeBitbucket


def measure(bench: Bench) -> Table:
    """One daemon through all of it."""
    table = Table("h", "the daemon's resident memory, 100 credentials")
    with FakeBitbucket() as bitbucket, seat() as user:
        configure(user, bitbucket, bench)
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
            more = load.run(bench.load, user.socket, message("get", REQUEST), 16, requests).answered
            table.hold(f"growth over {more:,} more", user.resident_mib() - after, 0.5, "MiB")
        consumer = bitbucket.add_consumer()
        access, refresh = bitbucket.issue_login(consumer)
        record = {
            "kind": "oauth",
            "place": bitbucket.url,
            "secret": access,
            "refresh_token": refresh,
            "expires_in": 0,
            "client_id": consumer.key,
            "client_secret": consumer.secret,
            "endpoint": {
                "authorize_url": f"{bitbucket.url}/site/oauth2/authorize",
                "token_url": f"{bitbucket.url}/site/oauth2/access_token",
                "revoke_url": f"{bitbucket.url}/site/oauth2/revoke",
                "api_url": bitbucket.api_url,
                "ca_file": bitbucket.ca_file,
                "proxy": None,
            },
        }
        user.ask("add", f"record={json.dumps(record)}\n".encode())
        answer = user.ask("get", f"protocol=https\nhost={bitbucket.netloc}\npath=acme/app.git\n".encode())
        assert b"password=" in answer
        assert len(bitbucket.token_requests()) == 1
        refreshed = user.resident_mib()
        table.add("after a refresh", [refreshed], "MiB")
        table.hold("after a refresh", refreshed, 44, "MiB")
    return table
