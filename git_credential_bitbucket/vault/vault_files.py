"""What the vault's files need beyond `files`: errors with hints, and a second name for a file."""

import errno
import os
from typing import TYPE_CHECKING

from git_credential_bitbucket import files
from git_credential_bitbucket.errors import VaultUnreadable, VaultUnwritable
from git_credential_bitbucket.paths import shown

if TYPE_CHECKING:
    from collections.abc import Callable

PATH_HINT = "set GIT_CREDENTIAL_BITBUCKET_VAULT to a file in a directory of your own on a local disk"

_NO_HARD_LINKS = {errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV}
_MOVABLE = {errno.EROFS, errno.EACCES}
"""Faults for which another path is what helps."""


def link_or_copy(path: str, second: str, content: "Callable[[], bytes | None]") -> bool:
    """Have `second` name the file at `path`, or hold its `content` where there are no hard links (FAT, SMB, some FUSE).

    False where there is no such file. Raises `OSError` and what `content` raises, and leaves nothing then.
    """
    files.unlink_if_there(second)
    try:
        os.link(path, second, follow_symlinks=False)
    except FileNotFoundError:
        return False
    except OSError as exc:
        if exc.errno not in _NO_HARD_LINKS:
            raise
        copied = content()
        if copied is None:
            return False
        write_new(second, copied)
    return True


def write_new(path: str, blob: bytes) -> None:
    """A new private file with `blob` in it, on the disk itself; none where that fails."""
    fd = files.open_private(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        files.write_all(fd, blob)
        files.sync_file(fd)
    except BaseException:
        files.unlink_if_there(path)
        raise
    finally:
        os.close(fd)


class _Raising:
    """Turns an `OSError` inside into an error of the vault. A class, for a generator takes four times as long."""

    __slots__ = ("done", "kind", "path")

    def __init__(self, kind: type[VaultUnwritable | VaultUnreadable], path: str, done: str) -> None:
        self.kind = kind
        self.path = path
        self.done = done

    def __enter__(self) -> None: ...

    def __exit__(self, _kind: object, exc: BaseException | None, _traceback: object) -> None:
        if isinstance(exc, OSError):
            hint = None if exc.errno in _MOVABLE else files.hint(exc)
            if hint is not None and self.kind is VaultUnwritable:
                hint = f"{hint}; the vault's content is unchanged"
            raise self.kind(
                f"the vault {shown(self.path)} cannot be {self.done}: {(exc.strerror or type(exc).__name__).lower()}",
                hint=hint or f"fix that, or {PATH_HINT}",
            ) from exc


def writing(path: str) -> _Raising:
    """Turn an `OSError` inside into `VaultUnwritable` with cause and hint."""
    return _Raising(VaultUnwritable, path, "written")


def reading(path: str) -> _Raising:
    """Turn an `OSError` inside into `VaultUnreadable`: an I/O error does not mean that the content is damaged."""
    return _Raising(VaultUnreadable, path, "read")
