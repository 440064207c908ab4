"""Where things lie on this machine, and that they are private. Imports only os and errors: the hot path uses it."""

import os

from git_credential_bitbucket.errors import PlaceRefused

NAME = "git-credential-bitbucket"
SOCKET_PATH_BYTES = 103
"""The longest socket path that both Linux (108 with NUL) and macOS (104 with NUL) take."""

_S_IFMT, _S_IFDIR = 0o170000, 0o040000  # as in stat, which is one import more

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def socket_path(env: "Mapping[str, str]") -> str:
    """The daemon's socket: `GIT_CREDENTIAL_BITBUCKET_SOCKET`, else `socket` in `runtime_dir`."""
    return env.get("GIT_CREDENTIAL_BITBUCKET_SOCKET") or runtime_dir(env) + "/socket"


def runtime_dir(env: "Mapping[str, str]") -> str:
    """The directory of socket and markers: never a shared place, and for cron and su the same as for a log-in shell."""
    given = env.get("XDG_RUNTIME_DIR", "")
    if given.startswith("/"):
        return f"{given}/{NAME}"
    run_user = f"/run/user/{os.getuid()}"
    try:
        if os.stat(run_user).st_uid == os.getuid():
            return f"{run_user}/{NAME}"
    except OSError:
        pass
    return cache_dir(env)


def cache_dir(env: "Mapping[str, str]") -> str:
    """The user's cache directory for this program (XDG base directories; `~/Library/Caches` on macOS)."""
    if os.uname().sysname == "Darwin":
        return f"{_home(env)}/Library/Caches/{NAME}"
    given = env.get("XDG_CACHE_HOME", "")
    return f"{given}/{NAME}" if given.startswith("/") else f"{_home(env)}/.cache/{NAME}"


def data_dir(env: "Mapping[str, str]") -> str:
    """The user's data directory for this program: vault and audit log lie here.

    On Linux the same as platformdirs', which would cost the daemon's start 8 ms and its memory 1.4 MiB; a test
    compares the two.
    """
    if os.uname().sysname == "Linux":
        given = env.get("XDG_DATA_HOME", "")
        return f"{given.rstrip('/')}/{NAME}" if given.startswith("/") else f"{_home(env)}/.local/share/{NAME}"
    import platformdirs  # here, not above: see above

    return platformdirs.user_data_dir(NAME, appauthor=False)


def vault_path(env: "Mapping[str, str]") -> str:
    """The vault: `GIT_CREDENTIAL_BITBUCKET_VAULT`, else `vault` in `data_dir`. Raises `PlaceRefused`."""
    given = env.get("GIT_CREDENTIAL_BITBUCKET_VAULT")
    if given and not given.startswith("/"):
        raise PlaceRefused(
            "GIT_CREDENTIAL_BITBUCKET_VAULT is a relative path, and every process would look elsewhere",
            hint="write the whole path",
        )
    return given or data_dir(env) + "/vault"


def _home(env: "Mapping[str, str]") -> str:
    home = env.get("HOME", "")
    if home.startswith("/"):
        return home.rstrip("/")
    import pwd  # here, not above: only a caller without HOME (cron, su) needs it

    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        raise PlaceRefused("there is no home directory to keep anything in", hint="set HOME") from None


def check_socket_path(path: str) -> None:
    """Raise `PlaceRefused` where a socket's path is longer than the system takes, instead of cutting it."""
    if len(os.fsencode(path)) > SOCKET_PATH_BYTES:
        raise PlaceRefused(
            f"the socket's path is longer than {SOCKET_PATH_BYTES} bytes",
            hint="set XDG_RUNTIME_DIR or GIT_CREDENTIAL_BITBUCKET_SOCKET to a shorter place that is yours alone",
        )


def make_private_dir(path: str) -> None:
    """`make_dir`, then `check_private_dir`."""
    make_dir(path)
    check_private_dir(path)


def make_dir(path: str) -> None:
    """Make `path` with mode 0700 (its parents as the umask has it) unless it is there.

    Raises `PlaceRefused` where root would leave it in a directory of another user (`sudo -E`), whom it would lock out.
    """
    if os.path.lexists(path):
        return
    if os.getuid() == 0:
        _check_not_of_a_user(path)
    os.makedirs(path, mode=0o700, exist_ok=True)


def _check_not_of_a_user(path: str) -> None:
    above = os.path.dirname(os.path.abspath(path))
    while not os.path.isdir(above):
        above = os.path.dirname(above)
    owner = os.stat(above).st_uid
    if owner == 0:
        return
    import pwd  # lazy: only root, and only where a directory is to be made

    try:
        name = pwd.getpwuid(owner).pw_name
    except KeyError:  # a container's volume, which belongs to nobody whom this system knows
        return
    raise PlaceRefused(
        f"root would make {shown(path)} in a directory of the user {name}",
        hint="leave out sudo's -E, or set HOME and XDG_RUNTIME_DIR to root's own",
    )


def check_private_dir(path: str) -> None:
    """Raise `PlaceRefused` unless `path` is a directory, no link, ours, and closed to others (0700)."""
    found = os.lstat(path)
    if found.st_mode & _S_IFMT != _S_IFDIR:
        ours = os.path.basename(path) == NAME
        hint = f"remove it: rm {typed(path)}" if ours else "name a place in a directory of its own, with mode 0700"
        raise PlaceRefused(f"{shown(path)} is not a directory", hint=hint)
    if found.st_uid != os.getuid():
        hint = "set XDG_RUNTIME_DIR (for the vault: GIT_CREDENTIAL_BITBUCKET_VAULT) to a place of your own"
        raise PlaceRefused(f"{shown(path)} belongs to another user", hint=hint)
    if found.st_mode & 0o077:
        # Only what is ours by its name: somebody who put the vault into /, /tmp or a home would close that for others.
        ours = os.path.basename(path) == NAME
        hint = f"type: chmod 0700 {typed(path)}" if ours else "give it a directory of its own, with mode 0700"
        raise PlaceRefused(f"{shown(path)} is open to others", hint=hint)


def shown(path: str) -> str:
    """`path` as it may stand in a message: nothing in it can move a terminal's cursor."""
    return ascii(path)[1:-1]


def typed(path: str) -> str:
    """`path` as it can be typed into a shell."""
    import shlex  # here, not above: only an error's hint needs it

    return shlex.quote(path) if path.isprintable() else f"$'{shown(path)}'"
