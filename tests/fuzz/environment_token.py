"""Fuzzes the native answer from the environment's token: relay.c under libFuzzer with sanitizers, Python as the oracle.

What the relay answers by itself is compared with what Python does, byte for byte; what it leaves to Python is right.
"""

import base64
import contextlib
import functools
import json
import os
import shutil
import socket
import struct
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from unittest import mock

from git_credential_bitbucket import paths
from git_credential_bitbucket.client import ipc, secret_markers
from git_credential_bitbucket.helper import fallback
from git_credential_bitbucket.secret import Secret
from tests import installed
from tests.fake_bitbucket import tokens

VECTORS = json.loads((Path(__file__).parents[1] / "data" / "hostile-requests.json").read_text())
RELAY = installed.ROOT / "git_credential_bitbucket" / "helper" / "relay.c"
HARNESS = Path(__file__).with_suffix(".c")
FLAGS = ("-g", "-O1", "-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all", "-D_GNU_SOURCE")
LIMITS = ("-max_len=4096", "-rss_limit_mb=1024", "-timeout=20", "-reduce_inputs=0", "-print_final_stats=1")
"""The inputs stay as long as they are: shorter ones are mostly not answered, and nothing would be compared."""
GET, STORE = 1, 0
UNMARKED, EMPTY, OLD, RECENT = range(4)
"""The runtime directory of an input, by the harness's numbers: none, one without marks, or with one."""
FIRST_OTHER, OTHERS = 128, 17
"""The bytes that name the harness's other variables."""
WORDS = (
    *("protocol=https\n", "host=bitbucket.org\n", "path=acme/app.git\n", "username=alice\n", "password=", "\n\n"),
    *("capability[]=state\n", "state[]=bitbucket:a:1\n", 'wwwauth[]=Basic realm=\\"x\\"\n', "host=BitBucket.org:443\n"),
    *("ATATT3x", "ATCTT3x", "ATBB3x", "BBDC-3x", "$TOKEN", "Bearer x", "%T%", "credentialbitbucket.vault", "1", "off"),
    *("url=https://bitbucket.org/\n", "credential=x\n", "authtype=Basic\n", "../", "//", "%2e", "\\x0d", "\\x80"),
)


class Delivered(Exception):
    """Python hands the `store` on to the daemon."""


class Oracle:
    """What Python answers, and whether silently. Its state: where its messages go, of which there must be none."""

    def __init__(self, messages: int) -> None:
        self._messages = messages

    def answer(self, operation: str, request: bytes, env: Mapping[str, str]) -> bytes | None:
        """What Python writes for git; None where it says something or hands a `store` on to a daemon."""
        os.ftruncate(self._messages, 0)
        with mock.patch.dict(os.environ, env, clear=True):
            paths.adopt_second_names(os.environ)
            try:
                answer = fallback.run(operation, request, ipc.UNASKED)
            except Delivered:
                return None
        return None if os.fstat(self._messages).st_size else answer


@contextlib.contextmanager
def oracle() -> Iterator[Oracle]:
    """Python's front end in this process, its messages and daemon out of the way."""

    def deliver(*_: object) -> bool:
        raise Delivered

    kept = os.dup(2)
    with tempfile.TemporaryFile() as messages, mock.patch.object(fallback, "deliver", deliver):
        os.dup2(messages.fileno(), 2)
        try:
            yield Oracle(messages.fileno())
        finally:
            os.dup2(kept, 2)
            os.close(kept)


@functools.cache
def has_fuzzer() -> bool:
    """Whether clang is there, and its libFuzzer (Debian: libclang-rt-dev)."""
    if not shutil.which("clang"):
        return False
    done = subprocess.run(["clang", "-print-resource-dir"], capture_output=True, text=True, check=False)
    return any(Path(done.stdout.strip()).glob("lib/*/libclang_rt.fuzzer*"))


def fuzz(folder: Path, runs: int) -> tuple[int, str, int]:
    """Feed the relay `runs` inputs; returns libFuzzer's exit code, what it said, and how many answers were compared."""
    program = folder / "fuzz"
    installed.run(["clang", *FLAGS, f'-DRELAY="{RELAY}"', "-o", program, HARNESS], {"PATH": os.environ["PATH"]})
    home = folder / "home"
    rejected = prepare_home(home)
    corpus = write_corpus(folder / "corpus", rejected)
    words = folder / "words"
    words.write_text("".join('"{}"\n'.format(word.replace("\n", "\\x0a")) for word in WORDS))
    mark = next((home / str(RECENT) / paths.NAME).iterdir())
    ours, theirs = socket.socketpair()
    command: list[str | Path] = [
        program,
        corpus,
        f"-runs={runs}",
        f"-dict={words}",
        f"-artifact_prefix={folder}/found-",
        *LIMITS,
    ]
    env = {"HOME": str(home), "REJECTION": str(mark), "ORACLE_FD": str(theirs.fileno()), "PATH": os.environ["PATH"]}
    with (folder / "said").open("w+") as said:
        fuzzer = subprocess.Popen(
            command, env=env, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=said, stderr=said
        )
        theirs.close()
        with ours, fuzzer:
            compared = serve_oracle(ours)
        said.seek(0)
        return fuzzer.returncode, said.read(), compared


def prepare_home(home: Path) -> str:
    """Make the runtime directories that inputs choose from; returns the token that is marked as rejected."""
    rejected = tokens.access_token()
    for number in (EMPTY, OLD, RECENT):
        (home / str(number) / paths.NAME).mkdir(parents=True, mode=0o700)
    for number in (OLD, RECENT):
        env = {"XDG_RUNTIME_DIR": str(home / str(number))}
        secret_markers.mark(env, "https://bitbucket.org", Secret(rejected))
    for mark in (home / str(OLD) / paths.NAME).iterdir():
        os.utime(mark, (0, 0))
    return rejected


def write_corpus(corpus: Path, rejected: str) -> Path:
    """Every vector, what git sends, and each kind of token and variable of the harness."""
    corpus.mkdir()
    requests = [base64.b64decode(vector["request_base64"]) for vector in VECTORS]
    plain = b"protocol=https\nhost=bitbucket.org\n"
    requests.append(plain + b"username=x-token-auth\npassword=%b\n" % rejected.encode())
    inputs = [
        bytes([flags | 1 << 3, nth % 3]) + rejected.encode() + b"\0" + request
        for nth, request in enumerate(requests)
        for flags in (GET | UNMARKED << 1, GET | OLD << 1, GET | RECENT << 1, STORE)
    ]
    inputs += [bytes([GET | 1 << 3, 1]) + value.encode() + b"\0" + plain for value in token_values()]
    inputs += [
        bytes([GET | 2 << 3, 0]) + rejected.encode() + b"\0" + bytes([name]) + b"1\0" + plain
        for name in range(FIRST_OTHER, FIRST_OTHER + OTHERS)
    ]
    for nth, data in enumerate(inputs):
        (corpus / str(nth)).write_bytes(data)
    return corpus


def token_values() -> list[str]:
    """A token of each kind, and what else may stand in its variable."""
    token = tokens.access_token()
    kinds = [token, tokens.api_token(), tokens.app_password(), tokens.oauth_token(), "BBDC-" + "x" * 44]
    wrapped = ["'{}'", '"{}"', " {}", "{}\n", "Bearer {}", "{} x", "\u201c{}\u201d", "{}\u200b", "\u00e9{}"]
    return kinds + [form.format(token) for form in wrapped] + ["$TOKEN", "${TOKEN}", "%TOKEN%", "$(t)", "${{ t }}"]


def serve_oracle(connection: socket.socket) -> int:
    """Compare each answer that the harness sends with Python's, until its end; returns how many there were."""
    compared = 0
    with contextlib.suppress(ConnectionResetError), oracle() as python, connection.makefile("rb") as stream:
        while header := stream.read(16):
            is_get, *sizes = struct.unpack("4I", header)
            variables, request, answer = (stream.read(size) for size in sizes)
            env: dict[str, str] = {}
            for entry in variables.split(b"\0")[:-1]:
                name, _, value = os.fsdecode(entry).partition("=")
                env.setdefault(name, value)
            expected = python.answer("get" if is_get else "store", request, env)
            connection.sendall(bytes([expected == answer]))
            compared += 1
    return compared
