"""A shared vault's keys on a Redis or Valkey server: what is read, compared and set there, each by one script.

`gcb:{VAULT}:head` (vault, header, generation, write, fence), `…:index` (record to "generation write"), `…:cred:ID`
(generation, blob, write, fence, intent, intent_by, intent_at), `…:lease:ID`; every change is
published as `…:changes`, with the number of hosts that are told. The braces keep a vault's keys in one slot. Nothing
here knows the vault's key: blobs are sealed, and judged, by `shared`.
"""

import random
import time
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

from git_credential_bitbucket import secret_sources
from git_credential_bitbucket.errors import SettingsError, VaultUnreachable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from git_credential_bitbucket.vault.storage.address import ServerAddress

PASSWORD_FILE_VARIABLE = "GIT_CREDENTIAL_BITBUCKET_VAULT_PASSWORD_FILE"
PASSWORD_FROM_VARIABLE = "GIT_CREDENTIAL_BITBUCKET_VAULT_PASSWORD_FROM"
CONNECT_TIMEOUT_S = 2.0
ANSWER_TIMEOUT_S = 5.0
WHOLE_ANSWER_TIMEOUT_S = 15.0
"""From an answer's first byte to its last: each alone may come in time, and the rest never."""
MAX_ANSWER_BYTES = 1 << 25
"""32 MiB: the index of 10,000 credentials takes one, and 100 with the longest tokens seen take six."""
PROOF_TIMEOUT_MS = 4000
"""How long the server's disk and replicas are waited for; Redis's default is a sync a second."""
REREAD_S = 60.0
"""How often what is stored is looked at without an announcement, half as much again by chance: one may be lost."""
MIN_PAUSE_S = 0.1
"""Between two looks, however many announcements there are: whoever reaches the server can send them."""
MAX_DRAINED = 1000
MAX_SPREAD_S = 3.0
"""Within which time many hosts read a change, so that their server is not asked by all at once."""
HOSTS_A_SECOND = 4000
CHANCE = random.SystemRandom()
"""Spreads the hosts' requests. Not Python's own generator, which a program or a library may seed."""
RETRY_UNREACHABLE_S = 1.0
"""How long a server that could not be reached is not tried again."""
OLDEST = "Redis 7.2 or Valkey"
"""The first with WAITAOF: without, nobody knows whether a write is on the server's disk."""
_CHUNK = 100
_COMMANDS = (
    "+hello +ping +select +client|setinfo +client|setname +info +time +eval +get +set +del"
    " +hget +hmget +hgetall +hset +hdel +hexists +hincrby +publish +subscribe +unsubscribe +pubsub|numsub"
    " +wait +waitaof"
)

_COMMIT = """
local id = redis.call('HGET', KEYS[1], 'vault')
if id and id ~= ARGV[1] then return 'other' end
local repeated = true
local function is_written(n) return ARGV[5 + (n - 3) * 5 + 1] ~= ARGV[5 + (n - 3) * 5 + 2] end
for n = 3, #KEYS do
    if is_written(n) and redis.call('HGET', KEYS[n], 'write') ~= ARGV[3] then repeated = false end
end
if repeated then return 'already' end
if id and ARGV[2] ~= '' then
    for n = 3, #KEYS do if redis.call('HEXISTS', KEYS[n], 'intent') == 1 then return 'busy' end end
end
for n = 3, #KEYS do
    local at = 5 + (n - 3) * 5
    if (redis.call('HGET', KEYS[n], 'generation') or '0') ~= ARGV[at + 1] then return 'stale' end
    local fence = tonumber(ARGV[at + 4])
    if fence > 0 and fence < tonumber(redis.call('HGET', KEYS[n], 'fence') or '0') then return 'stale' end
end
if not id or ARGV[2] ~= '' then redis.call('HSET', KEYS[1], 'vault', ARGV[1], 'header', ARGV[2]) end
for n = 3, #KEYS do
    local at = 5 + (n - 3) * 5
    if is_written(n) then
        redis.call('HSET', KEYS[n], 'generation', ARGV[at + 2], 'blob', ARGV[at + 3], 'write', ARGV[3])
        if ARGV[at + 4] ~= '0' then redis.call('HSET', KEYS[n], 'fence', ARGV[at + 4]) end
        redis.call('HSET', KEYS[2], ARGV[at], ARGV[at + 2] .. ' ' .. ARGV[3])
    end
end
redis.call('HINCRBY', KEYS[1], 'generation', 1)
redis.call('HSET', KEYS[1], 'write', ARGV[3])
redis.call('PUBLISH', ARGV[4], redis.call('PUBSUB', 'NUMSUB', ARGV[4])[2])
return 'ok'
"""
_LEASE = """
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return redis.call('HINCRBY', KEYS[2], 'fence', 1) end
return redis.call('GET', KEYS[1])
"""
_RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"
_INTEND = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] or redis.call('HGET', KEYS[2], 'generation') ~= ARGV[4] then return 0 end
redis.call('HSET', KEYS[2], 'intent', ARGV[2], 'intent_by', ARGV[3], 'intent_at', redis.call('TIME')[1])
return 1
"""
_WITHDRAW = """
redis.call('HSET', KEYS[1], 'fence', redis.call('HGET', KEYS[1], 'fence') or '0')
if redis.call('HGET', KEYS[1], 'intent') ~= ARGV[1] then return 0 end
return redis.call('HDEL', KEYS[1], 'intent', 'intent_by', 'intent_at')
"""
"""It writes in any case: what this connection wrote is what is proved."""

_DENIED = """
local denied = {}
for command in string.gmatch(ARGV[1], '[^+ ]+') do
    local words = {}
    for word in string.gmatch(command, '[^|]+') do words[#words + 1] = word end
    local of = (string.find(command, 'pub') or string.find(command, 'subsc')) and ARGV[2] or KEYS[1]
    for _ = #words, 4 do words[#words + 1] = of end
    if command ~= 'eval' and not redis.acl_check_cmd(unpack(words)) then denied[#denied + 1] = command end
end
return denied
"""


class Head(NamedTuple):
    """What the server says of the whole vault."""

    vault: str
    header: bytes
    version: tuple[bytes, bytes]
    """Another one after each commit."""


class Blob(NamedTuple):
    """A sealed record."""

    generation: int
    write_id: str
    sealed: bytes


class Write(NamedTuple):
    """A sealed record that takes the place of the one with the generation `expected`; in that itself, none does."""

    name: str
    expected: int
    generation: int
    sealed: bytes
    fence: int = 0


class RedisServer:
    """A connection, made when it is first needed. Every method raises `VaultUnreachable`."""

    def __init__(self, address: "ServerAddress", env: "Mapping[str, str]") -> None:
        """`env` says where the password is. Raises `SettingsError` where redis-py is not installed."""
        if find_spec("redis") is None:
            hint = "run: pipx inject git-credential-bitbucket redis (pip install 'git-credential-bitbucket[redis]')"
            raise SettingsError("redis-py, which a shared vault needs, is not installed", hint=hint)
        self._address = address
        self._env = env
        self._made: Any = None
        self._prefix = f"gcb:{{{address.vault}}}:".encode()
        self.fault: VaultUnreachable | None = None
        """The error of the last attempt; None where it went well."""
        self._failed_at = -RETRY_UNREACHABLE_S
        self._has_disk: bool | None = None

    @property
    def shown(self) -> str:
        """Its address, as messages name it."""
        return self._address.shown

    def head(self) -> Head | None:
        """None where there is no vault."""
        with self._reaching() as client:
            vault, header, *version = client.hmget(self._key("head"), "vault", "header", "generation", "write")
        return None if vault is None else Head(vault.decode("ascii", "replace"), header or b"", tuple(version))

    def version(self, name: str) -> bytes | None:
        """Another value after each commit of this record."""
        with self._reaching() as client:
            found: bytes | None = client.hget(self._key("index"), _raw(name))
            return found

    def index(self) -> dict[str, tuple[int, str]]:
        """Generation and write id of each record, also of those that were removed."""
        with self._reaching() as client:
            return {_name(raw): _version(value) for raw, value in client.hgetall(self._key("index")).items()}

    def blobs(self, names: "Iterable[str]") -> "Iterator[tuple[str, Blob]]":
        """The sealed records of these names, as far as they are there, a few at a time."""
        wanted = list(names)
        for start in range(0, len(wanted), _CHUNK):
            found = {}
            with self._reaching() as client, client.pipeline(transaction=False) as pipeline:
                for name in wanted[start : start + _CHUNK]:
                    pipeline.hmget(self._key("cred", name), "generation", "write", "blob")
                for name, (generation, write, sealed) in zip(wanted[start:], pipeline.execute(), strict=False):
                    if sealed is not None:
                        found[name] = Blob(int(generation), write.decode("ascii", "replace"), sealed)
            yield from found.items()

    def commit(self, vault: str, header: bytes, write_id: str, writes: "Sequence[Write]") -> str:
        """`ok`, `already` (this write id), or, where nothing was changed, `stale`, `busy` or `other` (another vault).

        `header`, where it is not empty, takes the place of the vault's, unless a renewal is under way: `busy`.
        Returns once the server keeps what it promises.
        """
        keys = [self._key("head"), self._key("index"), *(self._key("cred", write.name) for write in writes)]
        arguments: list[Any] = [vault, header, write_id, self._key("changes")]
        for write in writes:
            arguments += [_raw(write.name), write.expected, write.generation, write.sealed, write.fence]
        with self._reaching() as pool, pool.client() as client:
            outcome = str(client.eval(_COMMIT, len(keys), *keys, *arguments).decode())
            if outcome in ("ok", "already"):
                self._prove(client)
        return outcome

    def acquire(self, name: str, token: str, ttl_s: float) -> int | str:
        """The fencing number of the lease of a record, now held by `token`; or whose it is."""
        keys = (self._key("lease", name), self._key("head"))
        with self._reaching() as client:
            found = client.eval(_LEASE, 2, *keys, token, int(ttl_s * 1000))
            return found if isinstance(found, int) else str((found or b"").decode("ascii", "replace"))

    def release(self, name: str, token: str) -> None:
        """End the lease, if it is still this holder's."""
        with self._reaching() as client:
            client.eval(_RELEASE, 1, self._key("lease", name), token)

    def intend(self, name: str, token: str, generation: int, intent: bytes, by: str) -> bool:
        """Write down who is about to spend the refresh token of a record in this generation.

        False where the lease was lost, or the record changed. Returns once the server keeps what it promises.
        """
        keys = (self._key("lease", name), self._key("cred", name))
        with self._reaching() as pool, pool.client() as client:
            is_ours = bool(client.eval(_INTEND, 2, *keys, token, intent, by, generation))
            self._prove(client)
        return is_ours

    def intent(self, name: str) -> tuple[bytes, str, float] | None:
        """What was intended last, who wrote it down, and how many seconds ago; None where that came to an end."""
        with self._reaching() as client:
            intent, by, at = client.hmget(self._key("cred", name), "intent", "intent_by", "intent_at")
            if intent is None:
                return None
            return intent, by.decode("ascii", "replace"), client.time()[0] - int(at)

    def withdraw(self, name: str, intent: bytes, *, is_durable: bool) -> None:
        """Remove the intent, if it is this one; with `is_durable`, returns once the server keeps what it promises."""
        with self._reaching() as pool, pool.client() as client:
            client.eval(_WITHDRAW, 1, self._key("cred", name), intent)
            if is_durable:
                self._prove(client)

    def changes(self) -> "Iterator[None]":
        """Waits, and yields where records may have changed: at the start, after an announcement, and now and then."""
        with self._reaching(), self._connect(reconnects=False) as client:
            channel = client.pubsub(ignore_subscribe_messages=True)
            channel.subscribe(self._key("changes"))
            self.fault = None  # there is a connection; a locked vault reads nothing that would show it
            while True:
                yield
                time.sleep(MIN_PAUSE_S)
                until = time.monotonic() + REREAD_S * CHANCE.uniform(1.0, 1.5)
                while (left := until - time.monotonic()) > 0:
                    if (told := channel.get_message(timeout=left)) is not None:
                        number = told["data"][:9]  # the server may say anything
                        spread_s = min(MAX_SPREAD_S, int(number if number.isdigit() else 1) / HOSTS_A_SECOND)
                        time.sleep(spread_s * CHANCE.random())
                        break
                for _ in range(MAX_DRAINED):
                    if channel.get_message(timeout=0) is None:
                        break

    def deployment(self) -> dict[str, str]:
        """What the server says of itself (INFO), how far its clock is off, and those settings that it lets be read."""
        with self._reaching() as client:
            told = {name: str(value) for name, value in client.info().items()}
            seconds, microseconds = client.time()
            told["clock_skew_s"] = f"{abs(time.time() - seconds - microseconds / 1e6):.1f}"
        try:
            with self._reaching() as client:
                told |= client.config_get("appendfsync", "min-replicas-to-write")
        except VaultUnreachable:  # it is allowed to few
            self.fault = None
        return told

    def denied(self) -> list[str]:
        """The commands that the server's ACL does not allow, of those that are needed."""
        with self._reaching() as client:
            found = client.eval(_DENIED, 1, self._key("head"), _COMMANDS, self._key("changes"))
            return [command.decode("ascii", "replace") for command in found]

    def permissions(self) -> str:
        """The line for the server's ACL that lets a user do what is done here, and no more."""
        name = self._address.user or "git-credential-bitbucket"
        prefix = self._prefix.decode()
        return f"ACL SETUSER {name} reset on >PASSWORD ~{prefix}* &{prefix}changes {_COMMANDS}"

    def _prove(self, client: Any) -> None:  # noqa: ANN401 - redis-py is an extra
        """Wait until what this connection wrote is where the server promises: its disk, and `replicas`."""
        if self._has_disk is None:
            told = client.info()
            if is_too_old(str(told.get("redis_version", ""))):
                cause = f"version {told.get('redis_version')} cannot confirm that a write is on its disk"
                raise self._unreachable(cause, f"use {OLDEST}")
            self._has_disk = bool(told.get("aof_enabled"))
        replicas = self._address.replicas
        if self._has_disk:
            local, reached = client.execute_command("WAITAOF", 1, replicas, PROOF_TIMEOUT_MS)
        elif replicas:
            local, reached = 1, client.execute_command("WAIT", replicas, PROOF_TIMEOUT_MS)
        else:
            return
        if not local or reached < replicas:
            cause = "it did not keep a write on its disk and replicas as it promises"
            raise self._unreachable(cause, "see: git-credential-bitbucket doctor")

    @contextmanager
    def _reaching(self) -> "Iterator[Any]":
        if self.fault is not None and time.monotonic() - self._failed_at < RETRY_UNREACHABLE_S:
            raise VaultUnreachable(self.fault.cause, hint=self.fault.hint)
        import redis  # lazy: 100 ms; a host that has a copy answers git meanwhile

        from git_credential_bitbucket.vault.storage import server_errors

        try:
            if self._made is None:
                self._made = self._connect()
            yield self._made
            self.fault = None
        except redis.RedisError as exc:
            raise self._unreachable(*server_errors.explain(exc, self._address, self.permissions())) from None
        except (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RecursionError):
            raise self._unreachable(*server_errors.FOREIGN) from None

    def _unreachable(self, why: str, hint: str | None = None) -> VaultUnreachable:
        self._failed_at = time.monotonic()
        self.fault = VaultUnreachable(f"the shared vault's server {self.shown} cannot be used: {why}", hint=hint)
        return self.fault

    def _connect(self, *, reconnects: bool = True) -> Any:  # noqa: ANN401 - redis-py is an extra
        """A client; without `reconnects` one that lost its connection only says so, lest all hosts be back at once."""
        import redis  # lazy: as above
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        address = self._address
        given: dict[str, Any] = {
            "db": address.db,
            "username": address.user,
            "password": self._password(),
            "socket_connect_timeout": CONNECT_TIMEOUT_S,
            "socket_timeout": ANSWER_TIMEOUT_S,
            # A lost reply to a commit would look like a conflict.
            "retry": Retry(NoBackoff(), 0) if reconnects else Retry(NoBackoff(), 0, ()),
        }
        if address.path:
            return _limited(redis.Redis(unix_socket_path=address.path, **given))
        given["socket_keepalive"] = True
        if address.tls is not None:
            files = {"ca": "ssl_ca_certs", "cert": "ssl_certfile", "key": "ssl_keyfile"}
            given |= {"ssl": True} | {files[name]: path for name, path in address.tls.items()}
        if address.service:
            from redis import sentinel

            limits = {"socket_connect_timeout": CONNECT_TIMEOUT_S, "socket_timeout": CONNECT_TIMEOUT_S}
            limits |= {name: value for name, value in given.items() if name.startswith("ssl")}
            made: Any = sentinel
            sentinels = made.Sentinel(list(address.hosts), sentinel_kwargs=limits)
            for each in sentinels.sentinels:
                _limited(each)
            return _limited(sentinels.master_for(address.service, **given))
        host, port = address.hosts[0]
        return _limited(redis.Redis(host=host, port=port, **given))

    def _password(self) -> str | None:
        reference = self._env.get(PASSWORD_FROM_VARIABLE)
        if path := self._env.get(PASSWORD_FILE_VARIABLE):
            reference = f"file:{path}"
        if not reference:
            return None
        return secret_sources.fetch(secret_sources.parse(reference), self._env).secret.reveal()

    def _key(self, kind: str, name: str | None = None) -> bytes:
        return self._prefix + kind.encode() + (b"" if name is None else b":" + _raw(name))


class _LimitedSocket:
    """A connection's socket, on which no answer is larger or takes longer than it may."""

    def __init__(self, real: Any) -> None:  # noqa: ANN401 - with or without TLS
        self._real = real
        self.expect_answer()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - the socket's own
        return getattr(self._real, name)

    def expect_answer(self) -> None:
        """Count from here on: a command was sent, or a message may come."""
        self._room = MAX_ANSWER_BYTES
        self._began: float | None = None

    def recv(self, size: int) -> bytes:
        """As a socket's, also at its end, however late that comes. Raises `ValueError` beyond the limits."""
        data: bytes = self._real.recv(size)
        now = time.monotonic()
        self._began = self._began or now
        self._room -= len(data)
        if data and (self._room < 0 or now - self._began > WHOLE_ANSWER_TIMEOUT_S):
            raise ValueError("an answer without end")
        return data


def _limited(client: Any) -> Any:  # noqa: ANN401 - redis-py is an extra
    """`client`, whose connections are limited: redis-py takes whatever comes, for as long as it comes."""
    made: Any = client.connection_pool.connection_class

    class Limited(made):  # type: ignore[misc]  # redis-py is an extra
        def _connect(self) -> _LimitedSocket:
            return _LimitedSocket(super()._connect())

        def send_packed_command(self, *args: Any, **more: Any) -> None:  # noqa: ANN401 - redis-py's own
            if self._sock is not None:
                self._sock.expect_answer()
            super().send_packed_command(*args, **more)

        def read_response(self, *args: Any, push_request: bool = False, **more: Any) -> Any:  # noqa: ANN401 - as above
            if push_request and self._sock is not None:  # an announcement, which nothing was sent for
                self._sock.expect_answer()
            return super().read_response(*args, push_request=push_request, **more)

    client.connection_pool.connection_class = Limited
    return client


def is_too_old(version: str) -> bool:
    """Whether a server with this `redis_version` (Valkey says 7.2.4) has no WAITAOF."""
    numbers = [int(part) for part in version.split(".")[:2] if part.isdecimal()]
    return numbers < [7, 2]


def _raw(name: str) -> bytes:
    return name.encode("utf-8", "surrogatepass")


def _name(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogatepass")


def _version(value: bytes) -> tuple[int, str]:
    generation, _, write = value.decode("ascii", "replace").partition(" ")
    return int(generation), write
