"""durable.py: what is written lasts, on file systems that can see to that, and is no failure on those that cannot."""

import errno
import os
from pathlib import Path

import pytest

from git_credential_bitbucket import durable


def test_a_folder_that_cannot_be_synced_is_no_failure() -> None:
    """Linux's procfs is such a file system, as SMB and some FUSE are; the sync itself says so."""
    descriptor = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
    try:
        with pytest.raises(OSError, match="Invalid argument") as caught:
            os.fsync(descriptor)
    except pytest.fail.Exception:
        pytest.skip("this machine's procfs can be synced")
    finally:
        os.close(descriptor)
    assert caught.value.errno == errno.EINVAL
    durable.sync_folder("/proc")


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    """Only the lack of the operation is let pass."""
    durable.sync_folder(str(tmp_path))
    with pytest.raises(FileNotFoundError):
        durable.sync_folder(str(tmp_path / "missing"))
