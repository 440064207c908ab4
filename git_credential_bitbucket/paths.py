"""Paths of this program's files, and checks that they are private. Imports only os and errors: on the hot path."""

import os

from git_credential_bitbucket.errors import InsecurePath

NAME = "git-credential-bitbucket"
OWN_PREFIX = "GIT_CREDENTIAL_BITBUCKET_"
"""The prefix of our settings, the vault's key among them."""
SECOND_PREFIX = "BITBUCKET_CREDENTIAL_"
"""The prefix of their second names: pre-commit and simple-git run git without most variables that begin with GIT_."""
DEFAULT_VAULT = "GIT_CREDENTIAL_BITBUCKET_DEFAULT_VAULT"
"""The vault that git's configuration names, passed between our processes (`git_config.adopt`)."""
SOCKET_PATH_BYTES = 103
"""The longest socket path that both Linux (108 with NUL) and macOS (104 with NUL) take."""

_SUDO_HINT = "omit sudo's -E, or set HOME and XDG_RUNTIME_DIR to root's own"
_S_IFMT, _S_IFDIR, _S_IFREG = 0o170000, 0o040000, 0o100000  # as in stat, which is not imported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping


def adopt_second_names(env: "MutableMapping[str, str]") -> None:
    """Copy settings that `env` has by their second names to the first ones, which all else reads."""
    for second in list(env):
        if second.startswith(SECOND_PREFIX):
            first = OWN_PREFIX + second.removeprefix(SECOND_PREFIX)
            env[first] = env.get(first) or env[second]


def socket_path(env: "Mapping[str, str]") -> str:
    """The path of git's socket: `GIT_CREDENTIAL_BITBUCKET_SOCKET`, else in `runtime_dir`, with a name for its vault."""
    return env.get("GIT_CREDENTIAL_BITBUCKET_SOCKET") or f"{runtime_dir(env)}/{_socket_name(env)}"


def socket_candidates(env: "Mapping[str, str]") -> list[str]:
    """The sockets at which the daemon of `env`'s vault may listen, by variables alone.

    The second is the default one: git's configuration may name this vault as the default.
    """
    vault = env.get("GIT_CREDENTIAL_BITBUCKET_VAULT")
    if not vault or env.get("GIT_CREDENTIAL_BITBUCKET_SOCKET"):
        return [socket_path(env)]
    directory = runtime_dir(env)
    return [f"{directory}/socket-{fnv1a(vault)}", f"{directory}/socket"]


def private_daemon_variables(socket: str) -> dict[str, str]:
    """The variables that name the private daemon at `socket`. Without it, they lead to no vault of the user."""
    return {f"{OWN_PREFIX}SOCKET": socket, f"{OWN_PREFIX}VAULT": f"{os.path.dirname(socket)}/vault"}


def control_socket(socket: str) -> str:
    """The path of the control socket for git's `socket`: in a sibling of its directory, which may be mounted.

    In a sibling of the runtime directory, where the socket is further down in that.
    """
    return _sibling(socket, "control")


def guest_socket(socket: str) -> str:
    """The path of the socket for other users, where they are admitted; in a sibling directory, which they may enter."""
    return _sibling(socket, "guests")


def grant_socket(socket: str, name: str) -> str:
    """The path of a limited socket, in a directory of its own; its parent is a sibling of the socket's directory."""
    return f"{os.path.dirname(_sibling(socket, 'grants'))}/{name}/socket"


def _sibling(socket: str, suffix: str) -> str:
    directory, name = os.path.split(socket)
    above, _, below = directory.partition(f"/{NAME}/")
    if below:
        directory, name = f"{above}/{NAME}", f"socket-{fnv1a(socket)}"
    return f"{directory}-{suffix}/{name}"


def _socket_name(env: "Mapping[str, str]") -> str:
    given = env.get("GIT_CREDENTIAL_BITBUCKET_VAULT")
    if not given:
        return "socket"
    default = env.get(DEFAULT_VAULT)
    try:
        is_default = given == (default or (os.uname().sysname == "Linux" and f"{data_dir(env)}/vault"))
    except InsecurePath:  # without a home there is no default vault
        is_default = False
    return "socket" if is_default else f"socket-{fnv1a(given)}"


def vault_id(env: "Mapping[str, str]") -> str:
    """The id of a vault, which its daemon reports: the hash of `vault_address`. Raises `InsecurePath`."""
    return fnv1a(vault_address(env))


def named_vault_id(env: "Mapping[str, str]") -> str:
    """The id of the vault that the daemon must serve, where `env` names one; else empty."""
    vault = env.get("GIT_CREDENTIAL_BITBUCKET_VAULT")
    return fnv1a(vault) if vault else ""


def fnv1a(text: str) -> str:
    """The 64-bit FNV-1a hash of a path or URL, in 16 hex digits. relay.c computes the same."""
    found = 0xCBF29CE484222325
    for byte in os.fsencode(text):
        found = (found ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{found:016x}"


def runtime_dir(env: "Mapping[str, str]") -> str:
    """The directory of sockets and markers: never a shared one, and for cron and su the same as for a login shell."""
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
    """The user's data directory for this program, with the vault and the access log.

    On Linux the same as platformdirs', which would cost the daemon's start 8 ms and its memory 1.4 MiB; a test
    compares the two.
    """
    if os.uname().sysname == "Linux":
        given = env.get("XDG_DATA_HOME", "")
        return f"{given.rstrip('/')}/{NAME}" if given.startswith("/") else f"{_home(env)}/.local/share/{NAME}"
    import platformdirs  # lazy: costs 8 ms

    return platformdirs.user_data_dir(NAME, appauthor=False)


SOURCE_PREFIXES = (
    *("AWS_", "VAULT_", "BAO_", "AZURE_", "CLOUDSDK_", "GOOGLE_", "OP_", "BW_", "BITWARDENCLI_"),
    *("PASSWORD_STORE_", "GOPASS_", "GNUPGHOME", "GPG_", "CREDENTIALS_DIRECTORY"),
)
"""How the variables begin that secret managers' programs are configured by: what a daemon's `sources` get of its
starter's environment. Some are secrets."""


SHARED = ("redis://", "rediss://", "unix://", "redis+sentinel://")
"""How the address of a vault that several hosts share begins."""


def vault_path(env: "Mapping[str, str]") -> str:
    """The vault's file; of a shared vault, this host's copy. Raises `InsecurePath`."""
    address = vault_address(env)
    return f"{data_dir(env)}/shared-{fnv1a(address)}/vault" if address.startswith(SHARED) else address


def vault_address(env: "Mapping[str, str]") -> str:
    """`GIT_CREDENTIAL_BITBUCKET_VAULT`, else what git's configuration names, else `vault` in `data_dir`.

    A path, or a URL that begins with one of `SHARED`. Raises `InsecurePath`.
    """
    given = env.get("GIT_CREDENTIAL_BITBUCKET_VAULT")
    if given and not given.startswith(("/", *SHARED)):
        cause = "GIT_CREDENTIAL_BITBUCKET_VAULT is a relative path, so each process would look in another directory"
        raise InsecurePath(cause, hint="write an absolute path")
    return given or env.get(DEFAULT_VAULT) or data_dir(env) + "/vault"


def _home(env: "Mapping[str, str]") -> str:
    home = env.get("HOME", "")
    if home.startswith("/"):
        return home.rstrip("/")
    import pwd  # lazy: only a caller without HOME (cron, su) needs it

    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        raise InsecurePath("there is no home directory", hint="set HOME") from None


def check_socket_path(path: str) -> None:
    """Raise `InsecurePath` where a socket's path is longer than the system takes, instead of cutting it."""
    if len(os.fsencode(path)) > SOCKET_PATH_BYTES:
        hint = "set XDG_RUNTIME_DIR or GIT_CREDENTIAL_BITBUCKET_SOCKET to a shorter path in a directory of your own"
        raise InsecurePath(f"the socket's path is longer than {SOCKET_PATH_BYTES} bytes", hint=hint)


def make_private_dir(path: str, mode: int = 0o700) -> None:
    """`make_dir`, then `check_private_dir`; `mode` as there."""
    make_dir(path)
    check_private_dir(path, mode)
    if mode != 0o700:  # noqa: PLR2004 - the mode that it was made with
        os.chmod(path, mode)


def make_dir(path: str) -> None:
    """Make `path` with mode 0700 (its parents by the umask) unless it exists.

    Raises `InsecurePath` where it would lock out another user: see `check_owner_above`.
    """
    if os.path.lexists(path):
        return
    check_owner_above(path)
    os.makedirs(path, mode=0o700, exist_ok=True)


def check_owner_above(path: str) -> None:
    """Raise `InsecurePath` where root would create or replace `path` in a directory of another user (`sudo -E`)."""
    if os.getuid() != 0:
        return
    above = os.path.dirname(os.path.abspath(path))
    while not os.path.isdir(above):
        above = os.path.dirname(above)
    owner = os.stat(above).st_uid
    if owner == 0:
        return
    import pwd  # lazy: only root, and only where a directory is to be made

    try:
        name = pwd.getpwuid(owner).pw_name
    except KeyError:  # a container's volume, whose owner this system does not know
        return
    raise InsecurePath(f"{shown(path)} would belong to root, in a directory of the user {name}", hint=_SUDO_HINT)


def foreign_hint(otherwise: str) -> str:
    """What to do about a path of another user: for root, who most likely came by `sudo -E`, or `otherwise`."""
    return _SUDO_HINT if os.getuid() == 0 else otherwise


def check_private_dir(path: str, mode: int = 0o700) -> None:
    """Raise `InsecurePath` unless `path` is a directory of this user, no link, and not open beyond `mode`."""
    found = os.lstat(path)
    ours = is_own_dir(path)
    if found.st_mode & _S_IFMT != _S_IFDIR:
        hint = f"remove it: rm {typed(path)}" if ours else "choose a path in a separate directory with mode 0700"
        raise InsecurePath(f"{shown(path)} is not a directory", hint=hint)
    if found.st_uid != os.getuid():
        hint = foreign_hint("set XDG_RUNTIME_DIR (for the vault: GIT_CREDENTIAL_BITBUCKET_VAULT) to a path of your own")
        raise InsecurePath(f"{shown(path)} belongs to another user", hint=hint)
    if found.st_mode & 0o777 & ~mode:
        # Only a directory with this program's name: chmod of /, /tmp or a home would lock others out.
        hint = f"run: chmod {mode:04o} {typed(path)}" if ours else "use a separate directory with mode 0700"
        raise InsecurePath(f"{shown(path)} is open to others", hint=hint)


def is_private_file(found: os.stat_result) -> bool:
    """Whether `found` is of a regular file that no other user can read.

    Ours with mode 0600 or stricter; or root's, neither writable by a group nor open to others, as orchestrators pass
    secrets to a service (Kubernetes' defaultMode 0400 or 0440, systemd's credentials).
    """
    ours = found.st_uid == os.geteuid() and not found.st_mode & 0o077
    handed = found.st_uid == 0 and not found.st_mode & 0o037
    return found.st_mode & _S_IFMT == _S_IFREG and (ours or handed)


def is_own_dir(path: str) -> bool:
    """Whether a directory's name is this program's, so that it holds nothing else."""
    name = os.path.basename(path)
    return name == NAME or name.startswith(f"{NAME}-")


def shown(path: str) -> str:
    """`path` for a message: as it is, or in ASCII with escapes where a terminal could not show all of it."""
    return path if path.isprintable() else ascii(path)[1:-1]


def typed(path: str) -> str:
    """`path` quoted for a shell."""
    import shlex  # lazy: only an error's hint needs it

    if path.isprintable():
        return shlex.quote(path)
    plain = b"/._-" + bytes(range(0x30, 0x3A)) + bytes(range(0x41, 0x5B)) + bytes(range(0x61, 0x7B))
    return "$'" + "".join(chr(byte) if byte in plain else f"\\x{byte:02x}" for byte in os.fsencode(path)) + "'"
