"""Owns git over smart HTTP: the real `git http-backend` as a CGI program, and bare repositories for it."""

import functools
import os
import re
import subprocess
from collections.abc import Iterator
from typing import IO
from urllib.parse import unquote

from tests.fake_bitbucket.access import authorise_git
from tests.fake_bitbucket.model import Repository
from tests.fake_bitbucket.plumbing import Request, Response, plain
from tests.fake_bitbucket.state import State

# With and without `.git`, as Bitbucket takes both.
_PATH = re.compile(r"^/([^/]+)/([^/]+?)(?:\.git)?/(info/refs|git-upload-pack|git-receive-pack)$")
_PIECE = 64 << 10


def is_git(path: str) -> bool:
    """Whether the path is one of git's own."""
    return _PATH.match(path) is not None


def serve(state: State, request: Request) -> Response:
    """One request of a clone, a fetch or a push."""
    found = _PATH.match(request.path)
    if found is None:
        return plain(404, "Not found")
    workspace, slug, rest = (unquote(part) for part in found.groups())
    service = request.parameters().get("service", "") if rest == "info/refs" else rest
    if service not in {"git-upload-pack", "git-receive-pack"}:
        return plain(403, "Please upgrade your git client: the dumb HTTP protocol is not served.")
    repository = state.repository(workspace, slug)
    refusal = authorise_git(state, request.offered, repository, write=service == "git-receive-pack")
    if refusal is not None:
        return refusal
    assert repository is not None
    return run_backend(state, request, repository, rest)


def create(repository: Repository, files: dict[str, str], message: str = "First commit") -> None:
    """Make the bare repository on disk, with one commit on main that holds `files`; without files, none."""
    os.makedirs(os.path.dirname(repository.path), mode=0o700, exist_ok=True)
    environment = _environment(os.path.dirname(repository.path))
    _git(["init", "--quiet", "--bare", "--initial-branch=main", repository.path], environment)
    _git(["-C", repository.path, "config", "http.receivepack", "true"], environment)
    if files:
        _git(["-C", repository.path, "fast-import", "--quiet"], environment, _one_commit(files, message))


def head(repository: Repository, ref: str = "refs/heads/main") -> str | None:
    """The commit that `ref` names on the server; None where there is no such ref."""
    answer = subprocess.run(
        ["git", "-C", repository.path, "rev-parse", "--verify", "--quiet", ref],
        env=_environment(repository.path),
        stdout=subprocess.PIPE,
        check=False,
        timeout=60,
    )
    return answer.stdout.decode().strip() or None


def _one_commit(files: dict[str, str], message: str) -> bytes:
    lines = [
        b"commit refs/heads/main\n",
        b"committer Stand-in <stand-in@localhost> 1700000000 +0000\n",
        b"data %d\n%s\n" % (len(message.encode()), message.encode()),
    ]
    for path, text in files.items():
        data = text.encode()
        lines.append(b"M 100644 inline %s\ndata %d\n%s\n" % (path.encode(), len(data), data))
    return b"".join(lines)


def run_backend(state: State, request: Request, repository: Repository, rest: str) -> Response:
    """The answer of `git http-backend` to a request that may be served."""
    request.body.seek(0, os.SEEK_END)
    length = request.body.tell()
    request.body.seek(0)
    environment = {
        **_environment(state.root),
        "GIT_PROJECT_ROOT": os.path.dirname(repository.path),
        "GIT_HTTP_EXPORT_ALL": "1",
        "PATH_INFO": f"/{os.path.basename(repository.path)}/{rest}",
        "REQUEST_METHOD": request.method,
        "QUERY_STRING": request.query,
        "CONTENT_TYPE": request.headers.get("Content-Type", ""),
        "CONTENT_LENGTH": str(length),
        "REMOTE_USER": request.offered.username or "anonymous",
        "REMOTE_ADDR": "127.0.0.1",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_CONTENT_ENCODING": request.headers.get("Content-Encoding", ""),
        "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
    }
    process = subprocess.Popen(
        [_backend()], stdin=request.body.fileno(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    )
    assert process.stdout is not None
    status, headers = _cgi_headers(process.stdout)
    return Response(status, headers, _pieces(process, process.stdout))


def _cgi_headers(stream: IO[bytes]) -> tuple[int, list[tuple[str, str]]]:
    status, headers = 200, []
    while line := stream.readline().strip():
        name, _, value = line.decode("latin-1").partition(":")
        if name.lower() == "status":
            status = int(value.split()[0])
        else:
            headers.append((name, value.strip()))
    return (status, headers) if headers or status != 200 else (500, [])


def _pieces(process: subprocess.Popen[bytes], stream: IO[bytes]) -> Iterator[bytes]:
    try:
        while piece := stream.read(_PIECE):
            yield piece
    finally:
        stream.close()
        process.wait()


def _environment(home: str) -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath), "HOME": home, "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C"}


def _git(arguments: list[str], environment: dict[str, str], data: bytes = b"") -> None:
    subprocess.run(["git", *arguments], env=environment, input=data, check=True, timeout=60)


@functools.cache
def _backend() -> str:
    answer = subprocess.run(["git", "--exec-path"], stdout=subprocess.PIPE, check=True, timeout=60)
    return os.path.join(answer.stdout.decode().strip(), "git-http-backend")
