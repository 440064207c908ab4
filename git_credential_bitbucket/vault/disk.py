"""Errors of the vault's file operations, with the cure; the operations are those of `files`."""

import errno
from contextlib import contextmanager
from typing import TYPE_CHECKING

from git_credential_bitbucket.errors import VaultUnreadable, VaultUnwritable
from git_credential_bitbucket.files import check_private as check_private_file
from git_credential_bitbucket.files import open_private, read_all, unlink_if_there, write_all
from git_credential_bitbucket.paths import shown, typed

__all__ = ["check_private_file", "open_private", "read_all", "shown", "typed", "unlink_if_there", "write_all"]

if TYPE_CHECKING:
    from collections.abc import Iterator

PLACE_HINT = "set GIT_CREDENTIAL_BITBUCKET_VAULT to a file in a directory of your own on a local disk"

_WRITE_HINTS = {
    errno.ENOSPC: "free some space on its file system; what the vault held is still there",
    errno.EDQUOT: "free some of your quota on its file system; what the vault held is still there",
    errno.EFBIG: "raise the limit on file sizes (ulimit -f); what the vault held is still there",
    errno.EROFS: f"mount its file system writable, or {PLACE_HINT}",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
    errno.ENFILE: "close some programs: the whole system is out of open files",
    errno.EIO: "look after the disk (dmesg tells more) and make a copy of the vault",
}


@contextmanager
def writing(path: str) -> "Iterator[None]":
    """Turn an `OSError` inside into `VaultUnwritable` with the cause and the cure."""
    try:
        yield
    except OSError as exc:
        raise VaultUnwritable(
            f"the vault {shown(path)} cannot be written: {_reason(exc)}",
            hint=_WRITE_HINTS.get(exc.errno or 0, f"see to it, or {PLACE_HINT}"),
        ) from exc


@contextmanager
def reading(path: str) -> "Iterator[None]":
    """Turn an `OSError` inside into `VaultUnreadable`: trouble with the machine says nothing about the content."""
    try:
        yield
    except OSError as exc:
        raise VaultUnreadable(
            f"the vault {shown(path)} cannot be read: {_reason(exc)}",
            hint=_WRITE_HINTS.get(exc.errno or 0, f"see to it, or {PLACE_HINT}"),
        ) from exc


def _reason(exc: OSError) -> str:
    return (exc.strerror or type(exc).__name__).lower()
