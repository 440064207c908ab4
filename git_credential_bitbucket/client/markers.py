"""Marks on secrets from the environment that git has just erased. Imports os, _blake2 (hashlib costs 4 ms) and paths.

The environment cannot be changed from here, so the same secret would be offered again at once; git-lfs then asks
without end (some 155 requests in 20 s). A mark stops that for a minute. It is an empty file in the runtime directory,
named by a digest: tokens have too many bits to be guessed from it.
"""

import os
import time
from _blake2 import blake2b

from git_credential_bitbucket import paths
from git_credential_bitbucket.errors import PlaceRefused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from git_credential_bitbucket.secret import Secret

STANDS_S = 60.0
"""How long a mark stands. Longer would keep a runner from its next job, shorter lets git-lfs go on asking."""
PREFIX = "erased-"
_KEY = b"git-credential-bitbucket: erased"


def leave(env: "Mapping[str, str]", place: str, secret: "Secret") -> None:
    """Mark `secret` as rejected at `place` (`protocol://host`). Raises `PlaceRefused` or OSError if that cannot be."""
    directory = paths.runtime_dir(env)
    paths.make_private_dir(directory)
    sweep(directory)
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(f"{directory}/{name(place, secret)}", flags, 0o600)
    try:
        os.utime(descriptor)
    finally:
        os.close(descriptor)


def stands(env: "Mapping[str, str]", place: str, secret: "Secret") -> bool:
    """Whether `secret` was rejected at `place` within the last minute."""
    directory = paths.runtime_dir(env)
    try:
        paths.check_private_dir(directory)
        return is_fresh(f"{directory}/{name(place, secret)}")
    except (OSError, PlaceRefused):  # no directory, or one that others could put marks into
        return False


def name(place: str, secret: "Secret") -> str:
    """The file name of a mark; the key keeps the digest apart from any other use of the same secret's digest."""
    text = f"{place}\n{secret.reveal()}".encode("utf-8", "surrogateescape")
    return PREFIX + blake2b(text, key=_KEY, digest_size=16).hexdigest()


def is_fresh(path: str) -> bool:
    """Whether the mark is less than a minute old. One from further ahead is of a clock that has been set back."""
    return abs(time.time() - os.lstat(path).st_mtime) < STANDS_S


def sweep(directory: str) -> None:
    """Remove marks that no longer stand."""
    for entry in os.listdir(directory):
        if entry.startswith(PREFIX):
            path = f"{directory}/{entry}"
            try:
                if not is_fresh(path):
                    os.unlink(path)
            except FileNotFoundError:  # another front end swept it first
                continue
