"""Opens, reads, creates and replaces regular files: atomically, durably, and without following links.

Imports errno, os, stat, errors and paths; all else is imported late. Links in the directories above a
file are followed: they are the user's own.
"""

import errno
import os
import stat

from git_credential_bitbucket.errors import Error, InsecurePath, system_reason
from git_credential_bitbucket.paths import check_owner_above, foreign_hint, shown, typed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

PRIVATE_MODE = 0o600
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_HINTS = {
    errno.ENOSPC: "free some space on that disk",
    errno.EDQUOT: "free some of your disk quota",
    errno.EFBIG: "raise the limit on file sizes: ulimit -f",
    errno.EROFS: "choose a path that can be written to",
    errno.EACCES: "check who may write to its directory",
    errno.EMFILE: "allow more open files: ulimit -n",
    errno.ENFILE: "allow the system more open files: sysctl fs.file-max",
    errno.ENOMEM: "free some memory",
    errno.EAGAIN: "allow more processes: ulimit -u",
    errno.EIO: "check the disk: dmesg",
}
_NO_DIRECTORY_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES, errno.EPERM}


def hint(exc: OSError) -> str | None:
    """The hint for a failed system call; None where there is none."""
    return _HINTS.get(exc.errno or 0)


def unwritable(path: str, exc: OSError) -> Error:
    """The error where `path` could not be written."""
    return Error(
        f"{shown(path)} cannot be written: {system_reason(exc)}",
        hint=hint(exc) or "name a file in a directory of your own",
    )


def check_regular(found: os.stat_result, path: str) -> None:
    """Raise `InsecurePath` unless `found` is a regular file: no link, device, pipe, socket or directory."""
    if not stat.S_ISREG(found.st_mode):
        raise _not_regular(path)


def check_private(found: os.stat_result, path: str) -> None:
    """Raise `InsecurePath` unless `found` is a regular file of this user that no one else can access."""
    check_regular(found, path)
    if found.st_uid != os.geteuid():
        hint = foreign_hint("name a file in a directory of your own")
        raise InsecurePath(f"{shown(path)} belongs to another user", hint=hint)
    if found.st_mode & 0o077:
        raise InsecurePath(f"{shown(path)} is open to others", hint=f"run: chmod 0600 {typed(path)}")


def open_regular(path: str, flags: int) -> int:
    """A descriptor of the regular file at `path`; created with mode 0600. Never waits.

    Raises `OSError`, and `InsecurePath` where it is no regular file, or root would create it in another user's folder.
    """
    return _open(path, flags)[0]


def _open(path: str, flags: int) -> tuple[int, os.stat_result]:
    if flags & os.O_CREAT and not os.path.lexists(path):
        check_owner_above(path)
    # O_NONBLOCK: a FIFO must be refused, not waited for
    flags |= os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    try:
        fd = os.open(path, flags, PRIVATE_MODE)
    except OSError as exc:
        if exc.errno in (errno.ELOOP, errno.EMLINK, errno.ENXIO, errno.EISDIR):  # FreeBSD says EMLINK for a link
            raise _not_regular(path) from None
        raise
    try:
        found = os.fstat(fd)
        check_regular(found, path)
    except BaseException:
        os.close(fd)
        raise
    return fd, found


def open_private(path: str, flags: int) -> int:
    """As `open_regular`, and raises `InsecurePath` also for a file that is another user's or open to others."""
    fd, found = _open(path, flags)
    try:
        check_private(found, path)
        if flags & os.O_CREAT and found.st_mode & PRIVATE_MODE != PRIVATE_MODE:
            os.fchmod(fd, PRIVATE_MODE)  # a umask like 0777 removed our own bits
    except BaseException:
        os.close(fd)
        raise
    return fd


def read(path: str, limit: int, *, follow: bool = False) -> bytes | None:
    """The content of a regular file; empty where it is none, None where it is larger than `limit`. Raises `OSError`.

    `follow` follows a link at `path` itself, too.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY | (0 if follow else os.O_NOFOLLOW)
    fd = os.open(path, flags)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return b""
        content = read_all(fd, limit)
    finally:
        os.close(fd)
    return content if len(content) <= limit else None


def read_all(fd: int, limit: int) -> bytes:
    """Everything from `fd`, at most `limit` + 1 bytes, by which the caller sees that there is more."""
    blocks = []
    left = limit + 1
    while left > 0 and (block := os.read(fd, min(left, 1 << 20))):
        blocks.append(block)
        left -= len(block)
    return b"".join(blocks)


def write_all(fd: int, data: bytes) -> None:
    """Write every byte of `data`; a full disk causes a short write first."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def is_at(path: str, found: os.stat_result) -> bool:
    """Whether the file that `found` describes still has the name `path`."""
    try:
        return os.path.samestat(os.lstat(path), found)
    except FileNotFoundError:
        return False


def unlink_if_there(path: str) -> None:
    """Remove `path`; nothing where it is not there."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def create(path: str, content: bytes, mode: int = PRIVATE_MODE) -> None:
    """Create a new file, private until it is complete. Raises `FileExistsError` and `Error`.

    It is removed if it cannot be completed, or a signal ends the process meanwhile.
    """
    _make(path, path, content, mode, None)


def replace(
    path: str,
    content: bytes,
    *,
    mode: int | None = PRIVATE_MODE,
    beside: str | None = None,
    check: "Callable[[], None] | None" = None,
) -> None:
    """Put `content` in place of the regular file at `path`, keeping owner and mode; or create it with `mode`.

    A `mode` of None is what the umask gives. `beside` is the file that is filled first and renamed, by default one of a
    unique name; where it exists, `FileExistsError` is raised, so it serves as a lock. `check` is called once it is
    created. Raises `InsecurePath` where something else than a file is at `path`, `Error` where it cannot be
    written, and what `check` raises: then all is as it was. Signals wait meanwhile: neither they nor an error leave
    the new file behind.
    """
    try:
        former = os.lstat(path)
    except FileNotFoundError:
        former = None
    except OSError as exc:
        raise unwritable(path, exc) from exc
    if former is not None:
        check_regular(former, path)
    directory, name = os.path.split(path)
    temporary = beside or os.path.join(directory, f".{name}.{os.getpid()}.{os.urandom(4).hex()}")
    _make(path, temporary, content, mode, former, check)


def remove(path: str) -> None:
    """Remove the file at `path`, durably. Raises `Error`."""
    try:
        os.unlink(path)
    except OSError as exc:
        raise unwritable(path, exc) from exc
    _sync_directory(path)


def sync_file(fd: int) -> None:
    """Return when the file's content is on the disk itself."""
    import fcntl  # lazy: not for a file that is only opened

    full = getattr(fcntl, "F_FULLFSYNC", None)  # macOS: fsync leaves it in the drive's cache (fsync(2) there)
    if full is None:
        os.fsync(fd)
    else:
        fcntl.fcntl(fd, full)


def sync_content(fd: int) -> None:
    """As `sync_file`, without times and other attributes that are not needed to find the content."""
    if hasattr(os, "fdatasync"):
        os.fdatasync(fd)
    else:
        sync_file(fd)


def sync_directory(path: str) -> None:
    """Make what was made, renamed or removed in `path` durable, as far as its file system can.

    Some (SMB, some FUSE) have no such operation; what was done there is done all the same.
    """
    fd = None
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        os.fsync(fd)
    except OSError as exc:
        if exc.errno not in _NO_DIRECTORY_SYNC:
            raise
    finally:
        if fd is not None:
            os.close(fd)


def _make(
    path: str,
    temporary: str,
    content: bytes,
    mode: int | None,
    former: os.stat_result | None,
    check: "Callable[[], None] | None" = None,
) -> None:
    """Fill a new file `temporary`, and give it the name `path` if that is another."""
    import signal  # lazy: its enums cost some ms, for writing only

    held = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT))
    try:
        fd = os.open(temporary, _NEW, 0o666 if mode is None and former is None else PRIVATE_MODE)
        try:
            try:
                if check is not None:
                    check()
                _fill(fd, content, mode, former)
            finally:
                os.close(fd)
            if temporary != path:
                os.rename(temporary, path)
        except BaseException:
            unlink_if_there(temporary)
            raise
    except FileExistsError:
        raise
    except OSError as exc:
        raise unwritable(path, exc) from exc
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
    _sync_directory(path)


def _fill(fd: int, content: bytes, mode: int | None, former: os.stat_result | None) -> None:
    write_all(fd, content)
    if former is not None:
        born, mode = os.fstat(fd), stat.S_IMODE(former.st_mode)
        if (born.st_uid, born.st_gid) != (former.st_uid, former.st_gid):
            os.fchown(fd, former.st_uid, former.st_gid)
    if mode is not None:
        os.fchmod(fd, mode)
    sync_file(fd)


def _sync_directory(path: str) -> None:
    try:
        sync_directory(os.path.dirname(path) or ".")
    except OSError as exc:
        cause = f"{shown(path)} was changed, but the change may not survive a crash: {system_reason(exc)}"
        raise Error(cause, hint=_HINTS[errno.EIO]) from exc


def _not_regular(path: str) -> InsecurePath:
    return InsecurePath(
        f"{shown(path)} is not a plain file", hint=f"name another file, or see what is there: ls -ld {typed(path)}"
    )
