"""What a Data Center says of its tokens is not believed where it cannot be."""

import json
import ssl
from collections.abc import Callable

import pytest

from git_credential_bitbucket.bitbucket.http_tokens import HttpToken, Owner
from git_credential_bitbucket.errors import RejectedByBitbucket
from git_credential_bitbucket.secret import Secret
from tests.bitbucket.strange import Strange, endpoint_at

TOKEN = "BBDC-made-up-token"


def owner(strange: Callable[..., Strange], *documents: object) -> Owner:
    """Somebody's tokens, at a server that answers with `documents`, one after the other."""
    left = iter(documents)

    def answer(connection: ssl.SSLSocket) -> None:
        body = json.dumps(next(left)).encode()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    server = strange(answer)
    endpoint = endpoint_at(server.url, server.ca_file, api_url=f"{server.url}/rest/api/1.0")
    return Owner(endpoint, "users/alice", Secret("Basic made-up"))


def test_listed_tokens_are_taken_as_far_as_they_are_whole(strange: Callable[..., Strange]) -> None:
    """An id that leads elsewhere is none to revoke, and a date that no calendar has is none."""
    ids = ["../../users/bob/1", "..", "", None, "111111111111"]
    listed = [{"id": one, "name": "\x1b[31m", "expiryDate": 10**400, "expiryDays": 10**30} for one in ids]
    someone = owner(strange, {"values": [*listed, 7, None], "nextPageStart": 1, "isLastPage": False}, {"values": 7})
    assert someone.list_tokens() == [HttpToken("111111111111", "\\x1b[31m", ())]


@pytest.mark.parametrize("odd", [{"token": f"{TOKEN}\nhost=h"}, {"token": "\x00" * 20}, {"id": "a/b"}, {"token": 7}])
def test_a_new_token_that_cannot_be_one_is_no_token(strange: Callable[..., Strange], odd: dict[str, object]) -> None:
    """It would go into a header, and to git."""
    with pytest.raises(RejectedByBitbucket) as caught:
        owner(strange, {"id": "2", "token": TOKEN} | odd).create_token("n", (), None)
    assert "old token stays in use" in str(caught.value.hint)
    assert TOKEN not in caught.value.cause
