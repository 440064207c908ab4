"""A second name for a file; a second copy of it where its file system has no hard links (FAT, some FUSE and SMB)."""

import errno
import os
from typing import TYPE_CHECKING

from git_credential_bitbucket import durable
from git_credential_bitbucket.vault import disk

if TYPE_CHECKING:
    from collections.abc import Callable

_NO_HARD_LINKS = {errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV}


def make(path: str, second: str, content: "Callable[[], bytes | None]") -> bool:
    """Have `second` stand for the file at `path`, or for its `content`; False where there is no such file.

    Raises `OSError` and what `content` raises, and leaves nothing then.
    """
    disk.unlink_if_there(second)
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
        _copy(copied, second)
    return True


def _copy(content: bytes, second: str) -> None:
    fd = disk.open_private(second, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        disk.write_all(fd, content)
        durable.sync_file(fd)
    except BaseException:
        disk.unlink_if_there(second)
        raise
    finally:
        os.close(fd)
