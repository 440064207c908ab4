"""Marks on secrets that git has just erased, or was given. Imports os, _blake2 (hashlib costs 4 ms) and paths.

A rejected secret in the environment would be offered again at once, and git-lfs asks in a loop (some 155 requests in
20 s). A mark stops that for a minute, and for a Data Center, which locks accounts, as long as the mark is there.
Another tells a process without the vault's key that git stores what it got from the vault. A mark is an empty file in
the runtime directory, named by a digest from which no token can be guessed.
"""

import os
import time
from _blake2 import blake2b

from git_credential_bitbucket import paths
from git_credential_bitbucket.errors import InsecurePath, system_reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from git_credential_bitbucket.secret import Secret

ERASED_TTL_S = 60.0
"""Longer would block a runner's next job; shorter lets git-lfs repeat its request."""
GIVEN_TTL_S = 3600.0
"""git stores a secret once the server has accepted it, which is soon after."""
ERASED = "erased-"
GIVEN = "given-"
REJECTED = "rejected-"
_TTL_S = {ERASED: ERASED_TTL_S, GIVEN: GIVEN_TTL_S, REJECTED: float("inf")}


def mark(env: "Mapping[str, str]", host: str, secret: "Secret", prefix: str = ERASED) -> None:
    """Mark `secret` as rejected by `host` (`protocol://host`), as given for it (`GIVEN`), or as
    rejected by a Data Center (`REJECTED`).

    Raises `InsecurePath` where that fails.
    """
    from git_credential_bitbucket import files  # lazy: a `get`, which only looks for marks, needs none of it

    directory = paths.runtime_dir(env)
    try:
        paths.make_private_dir(directory)
        remove_expired(directory)
        descriptor = files.open_private(f"{directory}/{file_name(host, secret, prefix)}", os.O_WRONLY | os.O_CREAT)
        try:
            os.utime(descriptor)
        finally:
            os.close(descriptor)
    except OSError as exc:
        cause = f"cannot record the rejection in {ascii(directory)[1:-1]}: {system_reason(exc)}"
        raise InsecurePath(cause, hint="set XDG_RUNTIME_DIR to a writable directory of your own") from exc


def is_marked(env: "Mapping[str, str]", host: str, secret: "Secret", prefix: str = ERASED) -> bool:
    """Whether `secret` was so marked for `host`: within the last minute, for `GIVEN` within the last hour."""
    directory = paths.runtime_dir(env)
    try:
        paths.check_private_dir(directory)
        return is_fresh(f"{directory}/{file_name(host, secret, prefix)}", prefix)
    except (OSError, InsecurePath):  # no directory, or one that others can write to
        return False


def file_name(host: str, secret: "Secret", prefix: str = ERASED) -> str:
    """The file name of a mark."""
    text = f"{host}\n{secret.reveal()}".encode("utf-8", "surrogateescape")
    key = f"git-credential-bitbucket: {prefix[:-1]}".encode()  # no other use of the secret has the same digest
    return prefix + blake2b(text, key=key, digest_size=16).hexdigest()


def is_fresh(path: str, prefix: str = ERASED) -> bool:
    """Whether the mark is still valid. One from the future is not: the clock was set back."""
    return abs(time.time() - os.lstat(path).st_mtime) < _TTL_S[prefix]


def remove_expired(directory: str) -> None:
    """Remove marks that are no longer valid."""
    for entry in os.listdir(directory):
        prefix = entry.partition("-")[0] + "-"
        if prefix in _TTL_S:
            path = f"{directory}/{entry}"
            try:
                if not is_fresh(path, prefix):
                    os.unlink(path)
            except FileNotFoundError:  # another process was faster
                continue
