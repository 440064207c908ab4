"""Where things lie: the same places as other programs on this system have them."""

import json
import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from git_credential_bitbucket import access_log, paths
from git_credential_bitbucket.errors import InsecurePath
from tests.fake_bitbucket import tokens
from tests.helpers import request
from tests.running import Runner


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it is platformdirs that is asked")
@pytest.mark.parametrize("given", [None, "", "relative", "/elsewhere", "/elsewhere/"])
def test_data_lies_where_platformdirs_has_it(given: str | None, home: Path) -> None:
    """Also where XDG_DATA_HOME is empty or not absolute, which the specification tells to ignore."""
    env = {"HOME": str(home)} | ({} if given is None else {"XDG_DATA_HOME": given})
    asked = f"import platformdirs; print(platformdirs.user_data_dir({paths.NAME!r}, appauthor=False))"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", asked], env=env, capture_output=True, text=True, check=True
    )
    assert paths.data_dir(env) == done.stdout.strip()


def test_nobody_is_told_to_close_a_directory_that_is_not_ours(tmp_path: Path) -> None:
    """The chmod to type is for our own; for /tmp, say, it would lock everybody out."""
    for name, cure in ((paths.NAME, "chmod 0700"), ("shared", "a separate directory")):
        place = tmp_path / name
        place.mkdir()
        place.chmod(0o1777)
        with pytest.raises(InsecurePath) as told:
            paths.check_private_dir(str(place))
        assert told.value.hint is not None
        assert cure in told.value.hint


def test_a_relative_vault_is_refused() -> None:
    """The daemon works in `/`, a verb where it was typed: each would keep its own."""
    with pytest.raises(InsecurePath, match="relative path") as told:
        paths.vault_path({"GIT_CREDENTIAL_BITBUCKET_VAULT": "vault"})
    assert told.value.hint == "write an absolute path"
    assert paths.vault_path({"GIT_CREDENTIAL_BITBUCKET_VAULT": "/srv/vault"}) == "/srv/vault"


@pytest.fixture
def theirs(home: Path) -> Path:
    """A directory of another user's, as `sudo -E` names it to root."""
    if os.geteuid() != 0:
        pytest.skip("only root writes into another user's directory")
    folder = home / "theirs"
    folder.mkdir(0o700)
    os.chown(folder, pwd.getpwnam("nobody").pw_uid, -1)
    return folder


def test_sudo_e_leaves_no_directory_of_roots_in_a_users_home(theirs: Path) -> None:
    """The user could not use it any more. It is refused with a way out, however deep it would lie."""
    for path in (theirs / paths.NAME, theirs / ".cache" / "a" / paths.NAME):
        with pytest.raises(InsecurePath, match="in a directory of the user nobody") as refused:
            paths.make_private_dir(str(path))
        assert refused.value.hint == "omit sudo's -E, or set HOME and XDG_RUNTIME_DIR to root's own"
    with pytest.raises(InsecurePath):
        access_log.write(str(theirs / "data" / "log.jsonl"), {})
    assert os.listdir(theirs) == []


def test_sudo_e_leaves_no_log_of_roots_in_a_users_directory(theirs: Path) -> None:
    """A directory that is there already: the user's own daemon could not write to root's log, and would not say so."""
    with pytest.raises(InsecurePath, match="in a directory of the user nobody"):
        access_log.write(str(theirs / "log.jsonl"), {})
    assert os.listdir(theirs) == []
    (theirs / "log.jsonl").touch(0o600)
    os.chown(theirs / "log.jsonl", theirs.stat().st_uid, -1)
    with pytest.raises(InsecurePath, match="belongs to another user") as refused:
        access_log.write(str(theirs / "log.jsonl"), {})
    assert refused.value.hint == "omit sudo's -E, or set HOME and XDG_RUNTIME_DIR to root's own"


def test_root_uses_a_directory_of_a_user_whom_nobody_knows(theirs: Path) -> None:
    """As in a container, whose volumes belong to whoever made them outside."""
    os.chown(theirs, 2_000_123, -1)
    paths.make_private_dir(str(theirs / ".cache" / paths.NAME))
    assert (theirs / ".cache" / paths.NAME).stat().st_uid == 0


def test_sudo_e_is_told_to_git(theirs: Path, front: Runner, helper: Path) -> None:
    """And nothing is left in the user's directories by any of what git runs."""
    env = {**front.env, "HOME": str(theirs), "XDG_RUNTIME_DIR": str(theirs)}
    for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        env.pop(name, None)
    done = front(helper, "store", stdin=request(username="a", password=tokens.api_token()), env=env, check=False)
    assert "in a directory of the user nobody" in done.stderr
    (theirs / ".gitconfig").touch(0o600)
    os.chown(theirs / ".gitconfig", theirs.stat().st_uid, -1)
    done = front(helper, "configure", env=env, check=False)
    assert "in a directory of the user nobody" in done.stderr
    assert (theirs / ".gitconfig").stat().st_uid == theirs.stat().st_uid
    assert os.listdir(theirs) == [".gitconfig"]


SOCKET_NAMES = json.loads((Path(__file__).parent / "data" / "socket-names.json").read_text())["vectors"]


@pytest.mark.parametrize("vector", SOCKET_NAMES, ids=lambda vector: vector["socket"])
def test_another_vault_has_a_socket_of_its_own(vector: dict[str, str]) -> None:
    """Beside the default's, in each of the sibling directories; the native relay is held to the same vectors."""
    env = {"HOME": "/home/alice", "XDG_RUNTIME_DIR": "/run/x", "GIT_CREDENTIAL_BITBUCKET_VAULT": vector["vault"]}
    socket = paths.socket_path(env)
    assert socket == f"/run/x/{paths.NAME}/{vector['socket']}"
    assert paths.control_socket(socket) == f"/run/x/{paths.NAME}-control/{vector['socket']}"
    assert paths.guest_socket(socket) == f"/run/x/{paths.NAME}-guests/{vector['socket']}"
    assert vector["socket"] == f"socket-{paths.fnv1a(vector['vault'])}"


def test_no_control_socket_lies_in_a_directory_that_is_mounted() -> None:
    """Nor one for guests; a socket further down in the runtime directory, say, whose whole directory recipes mount."""
    mounted = f"/run/x/{paths.NAME}"
    found = set()
    for socket in (f"{mounted}/socket", f"{mounted}/job/socket", f"{mounted}/job/1/socket", f"{mounted}/job-2/socket"):
        for place in (paths.control_socket(socket), paths.guest_socket(socket)):
            assert not place.startswith((f"{mounted}/", f"{os.path.dirname(socket)}/"))
            found.add(place)
    assert len(found) == 8
    assert paths.control_socket("/own/dir/socket") == "/own/dir-control/socket"


def test_the_default_vault_has_the_default_socket_also_where_it_is_named() -> None:
    """There is one daemon for it, whoever spells it out."""
    env = {"HOME": "/home/alice//", "XDG_RUNTIME_DIR": "/run/x"}
    default = f"/run/x/{paths.NAME}/socket"
    assert paths.socket_path(env) == default
    assert paths.socket_path({**env, "GIT_CREDENTIAL_BITBUCKET_VAULT": ""}) == default
    assert paths.socket_path({**env, "GIT_CREDENTIAL_BITBUCKET_VAULT": paths.vault_path(env)}) == default


def test_a_named_socket_is_taken_and_the_vault_told_to_it() -> None:
    """Who names both means a daemon that has that vault."""
    env = {"GIT_CREDENTIAL_BITBUCKET_SOCKET": "/own/socket"}
    assert paths.socket_path({**env, "GIT_CREDENTIAL_BITBUCKET_VAULT": "a"}) == "/own/socket"
    assert paths.socket_candidates({**env, "GIT_CREDENTIAL_BITBUCKET_VAULT": "a"}) == ["/own/socket"]
    assert paths.named_vault_id({"GIT_CREDENTIAL_BITBUCKET_VAULT": "a"}) == "af63dc4c8601ec8c"
    assert paths.named_vault_id(env) == ""


def test_the_default_vault_is_the_one_that_gits_configuration_names() -> None:
    """It has the default socket, whoever spells it out; what was the default has a socket of its own then."""
    env = {"HOME": "/home/alice", "XDG_RUNTIME_DIR": "/run/x", paths.DEFAULT_VAULT: "/srv/vault"}
    former = "/home/alice/.local/share/git-credential-bitbucket/vault"
    default = f"/run/x/{paths.NAME}/socket"
    assert (paths.vault_path(env), paths.socket_path(env)) == ("/srv/vault", default)
    assert paths.socket_path({**env, "GIT_CREDENTIAL_BITBUCKET_VAULT": "/srv/vault"}) == default
    assert paths.socket_path({**env, "GIT_CREDENTIAL_BITBUCKET_VAULT": former}) == f"{default}-{paths.fnv1a(former)}"


def test_a_named_vaults_daemon_is_looked_for_at_its_own_socket_and_the_default() -> None:
    """Without git's configuration nobody knows whether it is the default; its id is told at either."""
    env = {"HOME": "/home/alice", "XDG_RUNTIME_DIR": "/run/x"}
    default = f"/run/x/{paths.NAME}/socket"
    assert paths.socket_candidates(env) == [default]
    assert paths.socket_candidates({**env, "GIT_CREDENTIAL_BITBUCKET_VAULT": "a"}) == [
        f"{default}-af63dc4c8601ec8c",
        default,
    ]


def test_a_path_is_shown_as_it_is_called_unless_a_terminal_would_obey_or_hide_it() -> None:
    """A home with an umlaut is its owner's; an escape, a turned direction and a byte that is no text are not."""
    assert paths.shown("/home/jürgen/r ä") == "/home/jürgen/r ä"
    assert paths.shown("/a\x1b[2J\u202eb\udcff") == "/a\\x1b[2J\\u202eb\\udcff"


@pytest.mark.parametrize("path", ["/a b/ü", "/it's", "/a\tü'\\", "/\u202eb\udcff1"])
def test_a_path_in_a_hint_is_the_same_path_in_a_shell(path: str) -> None:
    said = subprocess.run(["bash", "-c", f"printf %s {paths.typed(path)}"], stdout=subprocess.PIPE, check=True).stdout
    assert said == os.fsencode(path)
