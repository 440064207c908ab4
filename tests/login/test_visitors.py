"""Whose program has connected: a real other user on this machine, and each kind of address."""

import os
import socket
import subprocess
import sys
from dataclasses import replace

import pytest

from git_credential_bitbucket.bitbucket.providers import Provider
from git_credential_bitbucket.errors import LoginFailed
from git_credential_bitbucket.login import loopback, visitors
from git_credential_bitbucket.login.attempt import Attempt

VISIT = """
import encodings.idna, os, socket, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
with socket.create_connection(("127.0.0.1", int(sys.argv[1])), 20) as connection:
    try:
        connection.sendall(sys.argv[2].encode())
        print(connection.recv(65536), flush=True)
    except OSError:
        print(b"", flush=True)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")
def test_another_user_does_not_complete_our_log_in(cloud: Provider, port: int) -> None:
    """They know the state, and have a code of their own account: the connection is closed, and we wait on."""
    attempt = Attempt(replace(cloud, redirect_uri=f"http://localhost:{port}/"), "key", ())
    state = attempt.url.partition("state=")[2].partition("&")[0]
    request = f"GET /?code=theirs&state={state} HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n"
    with loopback.listening(attempt) as server:
        command = [sys.executable, "-I", "-c", VISIT, str(port), request]
        answer = subprocess.run(command, capture_output=True, cwd="/", check=True, timeout=60).stdout
        assert answer == b"b''\n"
        with pytest.raises(LoginFailed, match="nobody answered"):
            server.wait(0.01)


@pytest.mark.parametrize(
    ("family", "listening", "calling"),
    [
        (socket.AF_INET, "127.0.0.1", "127.0.0.1"),
        (socket.AF_INET, "127.0.0.1", "::ffff:127.0.0.1"),
        (socket.AF_INET6, "::1", "::1"),
    ],
)
def test_the_owner_of_a_connection_is_found(family: int, listening: str, calling: str) -> None:
    """By either family's table, and by IPv6's for a browser that has IPv4 in it."""
    with socket.socket(family) as server, socket.socket(socket.AF_INET6 if ":" in calling else family) as client:
        server.bind((listening, 0))
        server.listen(1)
        client.connect((calling, server.getsockname()[1]))
        connection, visitor = server.accept()
        with connection:
            assert visitors.uid_of(visitor[:2], server.getsockname()[:2]) == os.getuid()
            assert visitors.is_welcome(visitor[:2], server.getsockname()[:2])
    assert visitors.uid_of(visitor[:2], ("127.0.0.1", 1)) is None


def test_where_nobody_can_say_whose_it_is_the_state_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on macOS, or from another network namespace."""
    assert visitors.is_welcome(("127.0.0.1", 1), ("127.0.0.1", 2))
    monkeypatch.setattr(sys, "platform", "darwin")
    assert visitors.is_welcome(("127.0.0.1", 1), ("127.0.0.1", 2))
