"""Owns Git LFS: the batch API, objects by the basic transfer, verify, and an empty list of locks.

Sources: github.com/git-lfs/git-lfs docs/api. As at Bitbucket, objects lie behind addresses that carry their
own permission, and the verify address names the repository as `/%7B%7D/%7Buuid%7D/`, where git-lfs asks for a
credential.
"""

import hashlib
import hmac
import json
import os
import re
import secrets
from urllib.parse import quote, unquote

from tests.fake_bitbucket.access import CHALLENGE, authorise_git
from tests.fake_bitbucket.model import Repository
from tests.fake_bitbucket.plumbing import Request, Response, json_response, plain
from tests.fake_bitbucket.state import State

_API = re.compile(r"^/([^/]+)/([^/]+?)(?:\.git)?/info/lfs/(.+)$")
_MEDIA = re.compile(r"^/-/media/([0-9a-f]{64})/([0-9a-f]{64})$")
_OID = re.compile(r"^[0-9a-f]{64}$")
_TYPE = ("Content-Type", "application/vnd.git-lfs+json")

# Signs the addresses of objects; lives as long as the process.
_SIGNING_KEY = secrets.token_bytes(32)


def is_lfs(path: str) -> bool:
    """Whether the path belongs to a repository's LFS API."""
    return _API.match(path) is not None


def is_media(path: str) -> bool:
    """Whether the path is an object's own address."""
    return _MEDIA.match(path) is not None


def serve(state: State, request: Request) -> Response:
    """The LFS API; uploading needs the permission to push."""
    found = _API.match(request.path)
    if found is None:
        return plain(404, "Not found")
    workspace, slug, call = (unquote(part) for part in found.groups())
    document = _document(request)
    repository = state.repository(workspace, slug)
    write = call != "objects/batch" or document.get("operation") == "upload"
    refusal = authorise_git(state, request.offered, repository, write=write)
    if refusal is not None:
        anonymous = request.offered.kind is None and refusal.status == 401
        return _lfs_error(state.knobs.lfs_anonymous_status if anonymous else refusal.status, refusal)
    assert repository is not None
    if call == "objects/batch":
        return _batch(state, repository, document)
    if call.startswith("objects/") and call.endswith("/verify"):
        return _verify(state, document)
    if call == "locks/verify":
        return json_response(200, {"ours": [], "theirs": []})
    return json_response(404, {"message": "Not found"})


def serve_media(state: State, request: Request) -> Response:
    """An object's own address: no credential but the signature in it."""
    found = _MEDIA.match(request.path)
    if found is None or not hmac.compare_digest(found[2], _signature(found[1])):
        return plain(403, "Forbidden")
    oid, path = found[1], _object_path(state, found[1])
    if request.method == "PUT":
        return _upload(request, oid, path)
    if not os.path.exists(path):
        return plain(404, "Not found")
    with open(path, "rb") as stored:
        return Response(200, [("Content-Type", "application/octet-stream")], stored.read())


def _batch(state: State, repository: Repository, document: dict[str, object]) -> Response:
    objects = document.get("objects")
    if not isinstance(objects, list):
        return json_response(422, {"message": "objects are missing"})
    upload = document.get("operation") == "upload"
    answers = [_actions(state, repository, each, upload=upload) for each in objects]
    reply = json_response(200, {"transfer": "basic", "objects": answers, "hash_algo": "sha256"})
    reply.headers[0] = _TYPE
    return reply


def _actions(state: State, repository: Repository, wanted: dict[str, object], *, upload: bool) -> dict[str, object]:
    oid, size = str(wanted.get("oid")), wanted.get("size")
    answer: dict[str, object] = {"oid": oid, "size": size, "authenticated": True}
    if not _OID.match(oid):
        return {**answer, "error": {"code": 422, "message": "not an object id"}}
    stored = os.path.exists(_object_path(state, oid))
    address = {"href": f"{state.web_url}/-/media/{oid}/{_signature(oid)}"}
    if not upload and not stored:
        return {**answer, "error": {"code": 404, "message": "no such object"}}
    if not upload:
        return {**answer, "actions": {"download": address}}
    if stored:
        return answer
    verify = {"href": f"{state.web_url}/{quote('{}')}/{quote(repository.uuid)}/info/lfs/objects/{oid}/verify"}
    return {"oid": oid, "size": size, "actions": {"upload": address, "verify": verify}}


def _upload(request: Request, oid: str, path: str) -> Response:
    request.body.seek(0)
    data = request.body.read()
    if hashlib.sha256(data).hexdigest() != oid:
        return json_response(422, {"message": "the object is not what its id says"})
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    with open(path, "wb") as stored:
        stored.write(data)
    return plain(200, "")


def _verify(state: State, document: dict[str, object]) -> Response:
    path = _object_path(state, str(document.get("oid")))
    if os.path.exists(path) and os.path.getsize(path) == document.get("size"):
        return json_response(200, {})
    return json_response(404, {"message": "no such object"})


def _lfs_error(status: int, refusal: Response) -> Response:
    text = refusal.body.decode() if isinstance(refusal.body, bytes) else ""
    reply = json_response(status, {"message": text}, [CHALLENGE] if status == 401 else [])
    reply.headers[0] = _TYPE
    return reply


def _document(request: Request) -> dict[str, object]:
    try:
        document = json.loads(request.text() or b"{}")
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _object_path(state: State, oid: str) -> str:
    return os.path.join(state.root, "lfs", oid if _OID.match(oid) else "none")


def _signature(oid: str) -> str:
    return hmac.new(_SIGNING_KEY, oid.encode(), hashlib.sha256).hexdigest()
