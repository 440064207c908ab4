"""What has been written is on the disk itself when these return. Imports errno, fcntl and os."""

import errno
import fcntl
import os

_NO_DIRECTORY_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES, errno.EPERM}


def sync_file(fd: int) -> None:
    """Return when the file's content is on the disk itself."""
    full = getattr(fcntl, "F_FULLFSYNC", None)  # macOS: fsync leaves it in the drive's cache (fsync(2) there)
    if full is None:
        os.fsync(fd)
    else:
        fcntl.fcntl(fd, full)


def sync_folder(path: str) -> None:
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
