"""A user's machine as a test needs it: the home, its environment, the vault's key, git's configuration, a kept token.

The rooms build on it: each adds what its own tests do with such a machine.
"""

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from git_credential_bitbucket import git_protocol, paths
from git_credential_bitbucket.bitbucket.providers import Endpoint
from git_credential_bitbucket.client import daemon_launcher, ipc
from git_credential_bitbucket.client.agent_client import raise_error
from tests.fake_bitbucket.client import FakeBitbucket
from tests.running import end_processes_of

PATH = "/usr/local/bin:/usr/bin:/bin"
KEY_FILE = "GIT_CREDENTIAL_BITBUCKET_KEY_FILE"
KEYRING = "GIT_CREDENTIAL_BITBUCKET_KEYRING"


class Sandbox:
    """One user's machine. Its state: the home, and the environment of everything that runs there."""

    def __init__(self, home: Path, env: Mapping[str, str] | None = None) -> None:
        """With `env`, that is the environment; else one built up from nothing, with a key file and no keyring."""
        self.home = home
        self.env = {**environment(home), **key_settings(home)} if env is None else dict(env)

    @property
    def vault_file(self) -> Path:
        """The vault."""
        return Path(paths.vault_path(self.env))

    @property
    def socket(self) -> Path:
        """Where the daemon listens for git."""
        return Path(paths.socket_path(self.env))


@contextlib.contextmanager
def new_home() -> Iterator[Path]:
    """A home directory with a short path: a Unix socket's has at most 108 bytes.

    Beside the usual directories it has `run` (XDG_RUNTIME_DIR) and `work`, where programs are run. In the end, whatever
    still runs with this HOME ends too.
    """
    home = Path(tempfile.mkdtemp(prefix="gcb-", dir="/tmp"))
    for name in ("run", "work", ".config", ".cache", ".local"):
        (home / name).mkdir(mode=0o700)
    try:
        yield home
    finally:
        end_processes_of(home)
        shutil.rmtree(home)


def environment(home: Path) -> dict[str, str]:
    """An environment built up from nothing: directories, PATH, language, an author of commits."""
    return {
        "HOME": str(home),
        "PATH": PATH,
        "LC_ALL": "C.UTF-8",
        "XDG_RUNTIME_DIR": str(home / "run"),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "XDG_CACHE_HOME": str(home / ".cache"),
        "XDG_DATA_HOME": str(home / ".local" / "share"),
        "XDG_STATE_HOME": str(home / ".local" / "state"),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_AUTHOR_NAME": "Alice",
        "GIT_AUTHOR_EMAIL": "alice@example.com",
        "GIT_COMMITTER_NAME": "Alice",
        "GIT_COMMITTER_EMAIL": "alice@example.com",
    }


def key_file(home: Path, key: bytes | None = None) -> Path:
    """A new key file for a vault."""
    path = home / "key"
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o400)
    os.write(descriptor, os.urandom(32) if key is None else key)
    os.close(descriptor)
    return path


def key_settings(home: Path, key: bytes | None = None) -> dict[str, str]:
    """The variables by which the vault opens unasked: a new key file, and no keyring."""
    return {KEY_FILE: str(key_file(home, key)), KEYRING: "off"}


def write_git_config(path: Path, settings: Iterable[tuple[str, str]]) -> None:
    """Add to a file of git's configuration what `git config --add` would, without a process for each."""
    lines = []
    for name, value in settings:
        section, _, key = name.rpartition(".")
        kind, _, subsection = section.partition(".")
        quoted = value.replace("\\", "\\\\").replace('"', '\\"')
        lines += [f'[{kind} "{subsection}"]' if subsection else f"[{kind}]", f'\t{key} = "{quoted}"']
    with path.open("a") as file:
        file.write("".join(f"{line}\n" for line in lines))


def endpoint_of(bitbucket: FakeBitbucket) -> Endpoint:
    """The stand-in's endpoint, as git's configuration names it."""
    return Endpoint(
        authorize_url=f"{bitbucket.url}/site/oauth2/authorize",
        token_url=f"{bitbucket.url}/site/oauth2/access_token",
        revoke_url=f"{bitbucket.url}/site/oauth2/revoke",
        api_url=bitbucket.api_url,
        ca_file=bitbucket.ca_file,
    )


def ask_daemon(env: Mapping[str, str], action: str, body: bytes) -> list[tuple[str, str]] | None:
    """What the daemon at the control socket replies; None where none listens. Raises the `Error` that it names."""
    path = paths.control_socket(paths.socket_path(env))
    outcome, reply = ipc.send_request(path, ipc.format_request(action, body))
    if outcome != ipc.ANSWERED:
        return None
    pairs = git_protocol.parse_pairs(reply)
    raise_error(pairs)
    return pairs


def keep(env: Mapping[str, str], place: str, secret: str, *, kind: str = "access-token", **record: object) -> None:
    """Have the daemon store a token, as `login --no-verify` does; one is started where none listens."""
    body = f"record={json.dumps({'kind': kind, 'place': place, 'secret': secret, **record})}\n".encode()
    if ask_daemon(env, "add", body) is None:
        daemon_launcher.start(dict(env))
        assert ask_daemon(env, "add", body) is not None
