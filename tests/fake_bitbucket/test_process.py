"""The process: ready by its line, many at once, configured by a file, gone with its parent."""

import json
import os
import re
import select
import signal
import subprocess
import sys
import zlib
from pathlib import Path

import requests

from tests.fake_bitbucket import tokens
from tests.fake_bitbucket.client import FakeBitbucket

CHECKOUT = Path(__file__).parents[2]


def test_two_run_side_by_side_and_share_nothing() -> None:
    with FakeBitbucket() as one, FakeBitbucket() as two:
        assert one.port != two.port
        one.create_repository("acme/app")
        token = one.issue_access_token("acme/app")
        address = "/acme/app.git/info/refs?service=git-upload-pack"
        for bitbucket, status in ((one, 200), (two, 401)):
            answer = requests.get(
                bitbucket.url + address, auth=("x-token-auth", token), verify=bitbucket.ca_file, timeout=60
            )
            assert answer.status_code == status


def test_stop_removes_the_directory_and_ends_the_process() -> None:
    with FakeBitbucket() as bitbucket:
        pid, root = bitbucket.pid, bitbucket.root
    assert not os.path.exists(root)
    assert not os.path.exists(f"/proc/{pid}")


def test_it_dies_with_its_parent() -> None:
    """A killed parent closes the pipe; the stand-in ends and takes its directory with it."""
    program = (
        "import os, signal\n"
        "from tests.fake_bitbucket.client import FakeBitbucket\n"
        "bitbucket = FakeBitbucket()\n"
        "bitbucket.start()\n"
        "print(bitbucket.pid, bitbucket.root, flush=True)\n"
        "signal.pause()\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid, root = parent.stdout.readline().split()
        handle = os.pidfd_open(int(pid))
        parent.send_signal(signal.SIGKILL)
        ended = select.select([handle], [], [], 20)[0]
        os.close(handle)
    assert ended
    assert not os.path.exists(root)


def test_a_configuration_file_makes_the_world(tmp_path: Path) -> None:
    """Knobs and actions, before the ready line; SIGTERM ends it, and a directory that was given stays."""
    config = tmp_path / "config.json"
    person = {"action": "create_person", "username": "dora"}
    repository = {"action": "create_repository", "place": "acme/app"}
    config.write_text(json.dumps({"knobs": {"token_lifetime": 5}, "actions": [person, repository]}))
    command = [sys.executable, "-m", "tests.fake_bitbucket", "--root", str(tmp_path / "r"), "--config", str(config)]
    with subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        answer = requests.get(
            f"{ready['url']}/acme/app.git/info/refs?service=git-upload-pack", verify=ready["ca_file"], timeout=60
        )
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert answer.status_code == 401
    assert (tmp_path / "r" / "repositories" / "acme" / "app.git").is_dir()


def test_tokens_have_the_shape_of_bitbuckets() -> None:
    """Prefix, 192 characters, `=` at index 183, and a CRC-32 of all before it."""
    for token, prefix in ((tokens.api_token(), "ATATT3"), (tokens.access_token(), "ATCTT3")):
        assert token.startswith(prefix)
        assert (len(token), token[183]) == (192, "=")
        assert token[-8:] == f"{zlib.crc32(token[:-8].encode()):08X}"
    assert tokens.app_password().startswith("ATBB")
    assert len(tokens.oauth_token()) > 2500
    assert re.fullmatch(r"[\w-]{32}", tokens.consumer_pair()[0])
    assert [len(part) for part in tokens.consumer_pair(old=True)] == [18, 32]
