"""What doctor says of a shared vault's server: each setting that endangers a login, and the line that mends it."""

import pytest

from git_credential_bitbucket.diagnostics import finding, shared_vault
from git_credential_bitbucket.diagnostics.finding import NOTE, OK, WRONG
from git_credential_bitbucket.vault.storage.address import parse
from tests.valkey import Valkey

GOOD = {
    "redis_version": "7.2.4",
    "aof_enabled": "1",
    "appendfsync": "always",
    "maxmemory_policy": "noeviction",
    "connected_slaves": "1",
    "min-replicas-to-write": "1",
    "clock_skew_s": "0.1",
}
URL = "rediss://h/0?replicas=1"


@pytest.mark.parametrize(
    ("told", "url", "level", "hint"),
    [
        ({"redis_version": "7.0.15"}, URL, WRONG, "7.2"),
        ({"maxmemory_policy": "allkeys-lru"}, URL, WRONG, "maxmemory-policy noeviction"),
        ({"aof_enabled": "0"}, URL, WRONG, "appendonly yes"),
        ({"appendfsync": "no"}, URL, WRONG, "appendfsync everysec"),
        ({"appendfsync": "everysec"}, URL, NOTE, "appendfsync always"),
        ({"connected_slaves": "0"}, URL, WRONG, "replicas="),
        ({}, "rediss://h/0", WRONG, "replicas=1"),
        ({"min-replicas-to-write": "0"}, URL, NOTE, "min-replicas-to-write 1"),
        ({"connected_clients": "8100", "maxclients": "10000"}, URL, WRONG, "maxclients"),
        ({"clock_skew_s": "90.0"}, URL, NOTE, "time"),
        ({}, "redis://h/0?replicas=1", WRONG, "rediss://"),
    ],
)
def test_each_danger_is_told_with_its_hint(told: dict[str, str], url: str, level: str, hint: str) -> None:
    (found,) = shared_vault.judge({**GOOD, **told}, parse(url))
    assert (found.level, hint in str(found.hint)) == (level, True)
    assert not [*shared_vault.judge(GOOD, parse(URL))]


def test_a_real_server_is_judged(valkey: Valkey) -> None:
    """It answers, and its settings are good; a vault in a file has no server."""
    found = [*shared_vault.look({"GIT_CREDENTIAL_BITBUCKET_VAULT": valkey.url})]
    assert [one.level for one in found] == [OK, NOTE]
    assert "ACL SETUSER" in str(found[-1].hint)
    valkey.client().config_set("appendfsync", "no")
    assert WRONG in [one.level for one in shared_vault.look({"GIT_CREDENTIAL_BITBUCKET_VAULT": valkey.url})]
    valkey.client().config_set("appendfsync", "always")
    assert not [*shared_vault.look({"GIT_CREDENTIAL_BITBUCKET_VAULT": "/vault"})]


def test_numbers_that_are_none_are_no_findings_of_their_own() -> None:
    told = {"connected_slaves": "\x1b[31m", "connected_clients": "²", "maxclients": "9" * 5000}
    assert [one.level for one in shared_vault.judge({**GOOD, **told}, parse(URL))] == [WRONG]


@pytest.mark.parametrize(
    "text",
    [
        "redis://alice:made-up@h/0",
        "redis://alice:made@up@h/0?vault=x",
        "redis://alice%3Amade-up@h/0",
        "redis://h/0?password=made-up&vault=x",
        "rediss://h/0?vault=x&user=alice:made-up",
        "BBDC-made-up+made-up/",
    ],
)
def test_what_doctor_prints_holds_no_secret(text: str) -> None:
    """Nor that of an address which is refused because of it: what is printed goes into bug reports."""
    said = finding.safe(f"GIT_CREDENTIAL_BITBUCKET_VAULT={text}", {})
    assert "made" not in said
    assert "up" not in said
    assert finding.safe("rediss://alice@h:1/0?vault=x", {}) == "rediss://alice@h:1/0?vault=x"
