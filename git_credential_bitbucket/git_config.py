"""git's configuration, from one `git config --list`, without the scopes that a cloned repository can write.

Also how git is found and run, and our own settings in its configuration. Imports os, config, errors, paths,
git_protocol and url_match.
"""

import os

from git_credential_bitbucket import config, paths, url_match
from git_credential_bitbucket.errors import SettingsError, system_reason
from git_credential_bitbucket.git_protocol import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator, Mapping, MutableMapping

GIT_TIMEOUT_S = 10.0
"""git takes some ms here; only a network share that does not answer takes longer than this."""
STALL_S = 0.5
"""After this the reason is looked for, while git goes on."""
MAX_FILES, MAX_FILE_BYTES = 1000, 1 << 20
"""The limits of that search."""
ADOPTED = paths.OWN_PREFIX + "ADOPTED"
STAMPS = paths.OWN_PREFIX + "STAMPS"
"""Set by `adopt` for the daemon: our settings in git's files, and the stamps of those files."""
TRUSTED_SCOPES = frozenset({"system", "global", "command"})
"""Never local or worktree: those come with a repository, and a clone must not decide where tokens go."""

_KEPT_VARIABLES = ("HOME", "XDG_CONFIG_HOME", "PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
_RACY_NS = 2_000_000_000
"""A file written so shortly before it was read may be written again within one tick of its file system's clock."""

Stamp = tuple[int, int, int] | None


class Entry:
    """One line of git's configuration: `section.<url>.key = value`, with its file and scope."""

    __slots__ = ("key", "origin", "scope", "section", "url", "value")

    def __init__(self, scope: str, origin: str, name: str, value: str) -> None:
        """Split `name`: section and key are in lower case, what is between the first and last dot as written."""
        self.scope, self.origin, self.value = scope, origin.removeprefix("file:"), value
        self.section, _, rest = name.partition(".")
        url, dot, self.key = rest.rpartition(".")
        self.url = url if dot else None


class GitConfig:
    """git's configuration when it was read: its entries in git's order, and the stamps of their files."""

    __slots__ = ("_entries", "_stamps")

    def __init__(self, entries: list[Entry], stamps: "dict[str, Stamp]") -> None:
        """Use `read`; an empty one is a machine without configuration."""
        self._entries = entries
        self._stamps = stamps

    def credential(self, url: str, key: str, *, named: bool = False) -> str | None:
        """The value of `credential.<url>.<key>`: of the most specific `<url>`, the last one among equals.

        Falls back to `credential.<key>`, unless `named`: then only a `<url>` without wildcard counts, for
        settings that must not apply to a host by accident.
        """
        return self._best("credential", url, key, named=named)

    def http(self, url: str, key: str) -> str | None:
        """As `credential`, for `http.*`."""
        return self._best("http", url, key, named=False)

    def value(self, name: str) -> str | None:
        """The last value of a plain key such as `credential.interactive`; case of the key does not matter."""
        section, _, key = name.lower().partition(".")
        found = [e.value for e in self._of(section, key) if e.url is None]
        return found[-1] if found else None

    def credential_urls(self) -> list[str]:
        """Every `<url>` that has a `credential.<url>.*`, once, in git's order."""
        return list(dict.fromkeys(e.url for e in self._entries if e.section == "credential" and e.url))

    def helpers(self, url: str) -> list[tuple[str, str, str]]:
        """The helpers that git asks for `url`, in its order, as (value, file, scope); an empty value resets the list.

        All that match count, in the order of the files and not by how well they match (credential.c, select_all).
        """
        wanted = url_match.normalise(url)
        found: list[tuple[str, str, str]] = []
        for entry in self._of("credential", "helper"):
            is_partial = entry.url is not None and url_match.normalise(entry.url, globs=True) is None
            if url_match.match_partially(url, entry.url or "") if is_partial else _rank(entry, wanted):
                found = [*found, (entry.value, entry.origin, entry.scope)] if entry.value else []
        return found

    def entries(self, section: str, key: str) -> list[Entry]:
        """Every `section.key` and `section.<url>.key`, empty values included, in git's order."""
        return list(self._of(section, key))

    def is_stale(self) -> bool:
        """Whether a file of the configuration has changed since it was read. Costs a stat for each."""
        return any(stamp is None or _stamp(path) != stamp for path, stamp in self._stamps.items())

    def stamped(self) -> str:
        """The stamps that `is_stale` compares, as text."""
        return "\n".join(f"{stamp}\t{path}" for path, stamp in self._stamps.items())

    def _of(self, section: str, key: str) -> "Iterator[Entry]":
        key = key.lower()
        return (e for e in self._entries if e.section == section and e.key == key)

    def _best(self, section: str, url: str, key: str, *, named: bool) -> str | None:
        wanted = url_match.normalise(url)
        if wanted is None:
            return None
        best: url_match.Match | None = None
        value: str | None = None
        for entry in self._of(section, key):
            rank = _rank(entry, wanted, named=named)
            if rank is not None and (best is None or rank >= best):
                best, value = rank, entry.value
        return value


def _rank(entry: Entry, wanted: url_match.NormalUrl | None, *, named: bool = False) -> url_match.Match | None:
    """How well an entry matches a URL; None where it does not, or, if `named`, does so without a name of its own."""
    if entry.url is None:
        return None if named else (0, 0, False)
    configured = url_match.normalise(entry.url, globs=not named)
    return url_match.match(wanted, configured) if wanted and configured else None


def read(env: "Mapping[str, str]") -> GitConfig:
    """Ask git once. Raises `SettingsError` with git's own words where a file cannot be parsed or no git is found.

    Runs at the root directory, so `includeIf "gitdir:…"` never applies: a work tree, where git put us, is not trusted.
    """
    import time  # lazy: a request for bitbucket.org itself needs no configuration

    started = time.time_ns()
    entries = _listed(env, "/")
    return GitConfig([e for e in entries if e.scope in TRUSTED_SCOPES], _stamps(entries, env, started))


def read_repository(env: "Mapping[str, str]", folder: str) -> GitConfig:
    """As `read`, and what else git obeys in `folder`: with a repository's own lines. To be shown, never obeyed."""
    return GitConfig(_listed(env, folder), {})


def adopt(env: "MutableMapping[str, str]") -> None:
    """Set each of our settings that `env` does not have as git's configuration has it (`config.CONFIGURABLE`), once.

    Command scope counts as a variable does; the vault that a file names is the default. Raises `SettingsError`.
    """
    if ADOPTED in env or find_program(env, "git") is None:
        return
    keys, env[STAMPS] = _own_settings(env)
    env[ADOPTED] = _file_settings(keys)
    for setting, (from_file, from_command) in keys.items():
        name = paths.OWN_PREFIX + setting
        if setting == "VAULT" and from_file:
            env[paths.DEFAULT_VAULT] = from_file
        if (value := from_command or (from_file if setting != "VAULT" else "")) and not env.get(name):
            env[name] = value


def is_stale(env: "Mapping[str, str]") -> bool:
    """Whether a file of git's has changed since `env` adopted our settings. Costs a stat for each."""
    stamps = [line.partition("\t") for line in env.get(STAMPS, "").split("\n")]
    return any(stamp != str(_stamp(path)) for stamp, tab, path in stamps if tab)


def has_changed(env: "MutableMapping[str, str]") -> bool:
    """Whether our settings in git's files differ from those that `env` adopted. Reads them again."""
    try:
        keys, env[STAMPS] = _own_settings(env)
    except SettingsError:  # it is being edited
        return False
    return env.get(ADOPTED) != _file_settings(keys)


def _file_settings(keys: "Mapping[str, tuple[str, str]]") -> str:
    return "\n".join(f"{config.key(setting)}={value}" for setting, (value, _) in keys.items() if value)


def _own_settings(env: "Mapping[str, str]") -> tuple[dict[str, tuple[str, str]], str]:
    """Each of our settings in files and in command scope, empty where unset; and the files' stamps.

    The default files, whatever variables name instead, as the daemon reads them.
    """
    elsewhere = ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM")
    found = read({name: value for name, value in env.items() if name not in elsewhere})
    keys = {}
    for setting in config.CONFIGURABLE:
        by_scope = {"file": "", "command": ""}
        for entry in found.entries(*config.key(setting).lower().split(".")):
            if entry.url is None:
                by_scope["command" if entry.scope == "command" else "file"] = _setting(setting, entry, env)
        keys[setting] = (by_scope["file"], by_scope["command"])
    return keys, found.stamped()


def _setting(setting: str, entry: Entry, env: "Mapping[str, str]") -> str:
    value = _included(entry.value, "", env) if entry.value.startswith("~/") else entry.value
    is_path = setting in ("KEY_FILE", "SOCKET", "VAULT", "VAULT_PASSWORD_FILE")
    name = f"{config.key(setting)} ({printable(entry.origin)})"
    if not value.isprintable():
        raise SettingsError(f"{name} contains unprintable characters", hint="write one line")
    if value and is_path and not value.startswith(("/", *paths.SHARED) if setting == "VAULT" else "/"):
        hint = "write an absolute path, or one that begins with ~/"
        raise SettingsError(f"{name} is not an absolute path", hint=hint)
    return value


def run_git(
    env: "Mapping[str, str]",
    *words: str,
    folder: str = "/",
    given: bytes = b"",
    more: "Mapping[str, str] | None" = None,
) -> "subprocess.CompletedProcess[bytes]":
    """Run git to its end in `folder`, `given` on standard input, in `git_environment(env)` and `more`.

    Raises `SettingsError` where it cannot be run or does not end; the caller judges its output.
    """
    import subprocess  # lazy: 9 ms, and a request for bitbucket.org itself needs no configuration

    command, pipe = [find_git(env), *words], subprocess.PIPE
    around = {**git_environment(env), **(more or {})}
    try:
        with subprocess.Popen(command, cwd=folder, env=around, stdin=pipe, stdout=pipe, stderr=pipe) as git:
            try:
                try:
                    out, err = git.communicate(given, timeout=STALL_S)
                except subprocess.TimeoutExpired:
                    _check_no_pipe(env, folder)
                    out, err = git.communicate(timeout=GIT_TIMEOUT_S - STALL_S)
            except BaseException:
                git.kill()
                raise
        return subprocess.CompletedProcess(command, git.returncode, out, err)
    except subprocess.TimeoutExpired:
        hint = "check whether the home directory or the repository is on a file system that does not answer"
        raise SettingsError(f"git did not finish within {GIT_TIMEOUT_S:.0f} seconds", hint=hint) from None
    except OSError as exc:
        raise SettingsError(f"git could not be run: {system_reason(exc)}", hint="run: git version") from exc


def _check_no_pipe(env: "Mapping[str, str]", folder: str) -> None:
    """Raise `SettingsError` where git's configuration names a pipe or device, at which git hangs.

    Its files are parsed roughly: every `path = …` is taken for an include.
    """
    import re  # lazy: only where git hangs
    import stat

    from git_credential_bitbucket import files

    nothing = os.stat(os.devnull).st_rdev  # it means no configuration
    left, seen = [*_candidates(env), *_candidates_of_repository(folder)], set[str]()
    while left and len(seen) < MAX_FILES:
        path = left.pop()
        try:
            found = os.stat(path)
            content = files.read(path, MAX_FILE_BYTES, follow=True) if path not in seen else None
        except (OSError, ValueError):
            continue
        if stat.S_ISFIFO(found.st_mode) or (stat.S_ISCHR(found.st_mode) and found.st_rdev != nothing):
            cause = f"git waits for {printable(path)}, which its configuration names and which is not a regular file"
            raise SettingsError(cause, hint="remove that line from git's configuration")
        seen.add(path)
        included = re.findall(rb'(?i)\bpath[ \t]*=[ \t]*"?([^"\r\n]*)', content or b"")
        left += [_included(os.fsdecode(value).strip(), path, env) for value in included]


def _candidates_of_repository(folder: str) -> list[str]:
    """The configuration files of the repository that `folder` is in, and of its work tree."""
    from git_credential_bitbucket import files  # lazy: as above

    found = []
    while folder not in ("", "/"):
        git = f"{folder}/.git"
        if os.path.isfile(git):  # a submodule's, or another work tree's: `gitdir: PATH`
            git = os.path.join(folder, os.fsdecode(files.read(git, MAX_FILE_BYTES) or b"").partition(":")[2].strip())
        found += [f"{git}/config", f"{git}/config.worktree", f"{git}/../../config"]
        folder = os.path.dirname(folder)
    return found


def _listed(env: "Mapping[str, str]", folder: str) -> list[Entry]:
    done = run_git(env, "config", "--list", "--null", "--show-scope", "--show-origin", folder=folder)
    if done.returncode != 0:
        hint = "run: git config --list (git 2.26 or later is needed)"
        raise SettingsError(f"git cannot read its configuration: {_error_text(done.stderr)}", hint=hint)
    return _parse(done.stdout)


def git_environment(env: "Mapping[str, str]") -> dict[str, str]:
    """The environment to run git in, without GIT_DIR and the like, and without the caller's tokens.

    With GIT_CONFIG_*, by which `git -c credential.…` arrives; not GIT_CONFIG, with which git would read one file only.
    """
    kept = {name: env[name] for name in _KEPT_VARIABLES if name in env}
    kept.update((name, value) for name, value in env.items() if name.startswith("GIT_CONFIG_"))
    kept["LC_ALL"] = "C"
    return kept


def find_git(env: "Mapping[str, str]") -> str:
    """The absolute path of git; git itself puts its own directory at the head of PATH when it calls a helper.

    Raises `SettingsError` if there is none.
    """
    found = find_program(env, "git")
    if found is None:
        raise SettingsError("git is not on PATH", hint="add git's directory to PATH, as an absolute path")
    return found


def find_program(env: "Mapping[str, str]", name: str) -> str | None:
    """The absolute path of the first program of that name on PATH that is not a repository's; None without one.

    Relative entries do not count, nor do those within the current directory if that is a work tree: a repository
    could bring a program of its own there (CVE-2020-26233 was that).
    """
    tree = _work_tree()
    absolute = name.startswith("/")
    for directory in [os.path.dirname(name)] if absolute else env.get("PATH", os.defpath).split(":"):
        candidate = name if absolute else f"{directory}/{name}"
        if not directory.startswith("/") or (tree and (os.path.realpath(directory) + "/").startswith(tree)):
            continue
        if os.path.isfile(candidate) and os.access(candidate, os.X_OK):
            return candidate
    return None


def _work_tree() -> str | None:
    try:
        here = os.getcwd()
    except OSError:  # it was removed
        return None
    return here.rstrip("/") + "/" if os.path.lexists(here + "/.git") else None


def _parse(output: bytes) -> list[Entry]:
    """Entries from `scope NUL origin NUL name LF value NUL`; a name without LF is a key without value is true."""
    fields = output.decode("utf-8", "surrogateescape").split("\0")
    entries = []
    for scope, origin, line in zip(fields[0::3], fields[1::3], fields[2::3], strict=False):
        name, newline, value = line.partition("\n")
        entries.append(Entry(scope, origin, name, value if newline else "true"))
    return entries


def _error_text(stderr: bytes) -> str:
    lines = stderr.decode("utf-8", "replace").split("\n")
    fatal = [line for line in lines if line.startswith(("fatal: ", "error: "))] or [""]
    return printable(fatal[-1].partition(": ")[2] or "no reason given")


def _stamps(entries: list[Entry], env: "Mapping[str, str]", started: int) -> "dict[str, Stamp]":
    """The stamps of all files that were read or would be; None (always stale) for one that has just changed."""
    paths = {*_candidates(env)}
    for entry in entries:
        if entry.scope in TRUSTED_SCOPES and entry.origin.startswith("/"):
            paths.add(entry.origin)
            if entry.section in ("include", "includeif") and entry.key == "path":
                paths.add(_included(entry.value, entry.origin, env))
    found = {path: _stamp(path) for path in paths}
    return {path: None if stamp and stamp[0] > started - _RACY_NS else stamp for path, stamp in found.items()}


def _candidates(env: "Mapping[str, str]") -> list[str]:
    home = env.get("HOME", "")
    xdg = env.get("XDG_CONFIG_HOME") or home + "/.config"
    paths = [env.get("GIT_CONFIG_SYSTEM") or "/etc/gitconfig"]
    if "GIT_CONFIG_GLOBAL" in env:
        paths.append(env["GIT_CONFIG_GLOBAL"])
    else:
        paths += [xdg + "/git/config", home + "/.gitconfig"]
    return [path for path in paths if path.startswith("/")]


def _included(path: str, origin: str, env: "Mapping[str, str]") -> str:
    if path.startswith("~/"):
        path = env.get("HOME", "") + path[1:]
    return os.path.join(os.path.dirname(origin), path)


def _stamp(path: str) -> Stamp:
    """A file's time, inode and size; zeros where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return (0, 0, 0)
    return (found.st_mtime_ns, found.st_ino, found.st_size)
