"""Owns the faults by script: what goes wrong, for which endpoint, and how often."""

import json
import threading
from dataclasses import dataclass, field
from typing import cast

from tests.fake_bitbucket.plumbing import CUT, RESET, Response, html, json_response

ENDPOINTS = ("authorize", "token", "revoke", "api", "git", "lfs", "media", "access-tokens")
HELD_AT_MOST_S = 3600.0

_PAGES = {
    "502-html": (502, "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"),
    "wrong-type": (200, "<!doctype html><title>Log in</title><p>Log in to continue to Bitbucket"),
}


@dataclass
class Fault:
    """One kind of failure for the next `count` requests to `endpoint`, after `after` more have passed.

    `act` serves the request first and then loses the answer: so a refresh token may be spent already. Kind "odd"
    serves it, and answers with `status` and `body` in `encoding`, in which {access_token} and {refresh_token} stand
    for the true ones.
    """

    endpoint: str
    kind: str
    count: int = 1
    after: int = 0
    retry_after: str | None = None
    location: str = ""
    act: bool = False
    status: int = 200
    body: str = ""
    encoding: str = "utf-8"
    released: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        if self.endpoint not in ENDPOINTS:
            raise ValueError(f"no endpoint {self.endpoint!r}; there are {', '.join(ENDPOINTS)}")
        if self.kind not in KINDS:
            raise ValueError(f"no fault {self.kind!r}; there are {', '.join(KINDS)}")
        self.act = self.act or self.kind == "odd"


class Faults:
    """The script. Its state: the faults still to come, in order, and those that hold a request now."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._script: list[Fault] = []
        self._all: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Append to the script."""
        with self._lock:
            self._script.append(fault)
            self._all.append(fault)

    def next_for(self, endpoint: str) -> Fault | None:
        """The fault that this request meets, if any."""
        with self._lock:
            for fault in self._script:
                if fault.endpoint != endpoint:
                    continue
                if fault.after > 0:
                    fault.after -= 1
                    return None
                fault.count -= 1
                if fault.count <= 0:
                    self._script.remove(fault)
                return fault
        return None

    def release(self) -> None:
        """Forget what is still to come, and let go of every request that is held."""
        with self._lock:
            self._script.clear()
            for fault in self._all:
                fault.released.set()
            self._all.clear()


def failure(fault: Fault, answer: Response | None) -> Response:
    """What the client gets instead of `answer` (which is there only if the request was served first)."""
    if fault.kind == "hang":
        fault.released.wait(HELD_AT_MOST_S)
    if fault.kind in {"reset", "hang"}:
        return Response(0, [], b"", RESET)
    if fault.kind == "cut":
        whole = answer or json_response(200, {"access_token": "cut short", "token_type": "bearer", "expires_in": 7200})
        return Response(whole.status, whole.headers, whole.body, CUT)
    if fault.kind == "cut-json":
        return Response(200, [("Content-Type", "application/json")], b'{"access_token": "cut sho')
    if fault.kind == "error-200":
        return json_response(200, {"error": "server_error", "error_description": "The server had a problem."})
    if fault.kind == "odd" and answer is not None:
        return _odd(fault, answer)
    if fault.kind == "redirect":
        return Response(302, [("Location", fault.location)], b"")
    if fault.kind in _PAGES:
        return html(*_PAGES[fault.kind])
    return _plain(fault)


def _odd(fault: Fault, answer: Response) -> Response:
    body = fault.body
    for name, value in json.loads(cast("bytes", answer.body)).items():
        body = body.replace(f"{{{name}}}", str(value))
    return Response(fault.status, [("Content-Type", "application/json")], body.encode(fault.encoding))


def _plain(fault: Fault) -> Response:
    """A status and a JSON error. Retry-After is not documented for Bitbucket, so it may be missing."""
    status = int(fault.kind)
    response = json_response(status, {"type": "error", "error": {"message": KINDS[fault.kind]}})
    if fault.retry_after is not None:
        response.headers.append(("Retry-After", fault.retry_after))
    return response


KINDS = {
    "reset": "the connection is reset",
    "cut": "the body ends before its Content-Length",
    "cut-json": "a complete body with half a JSON document",
    "wrong-type": "200 with a page for people",
    "error-200": "200 with an error in its body",
    "redirect": "302 to `location`",
    "502-html": "a gateway's page",
    "hang": "no answer until released, then a reset",
    "odd": "what `body` says, with the true tokens in it",
    "hold": "the true answer, but only when released",
    "401": "Token is invalid, expired, or not supported for this endpoint.",
    "403": "Forbidden",
    "404": "Not found",
    "410": "Gone",
    "429": "Rate limit for this resource has been exceeded",
    "500": "Something went wrong",
    "503": "Service Unavailable",
}
