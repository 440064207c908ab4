"""Owns the release 0.1.0 as the upgrade's tests need it: its package, to be run, and vaults that it once wrote.

`tests/data/0.1.0/package.tar.xz` is the package of commit b13ed1f (`git archive`, `xz -9e`): its rooms agent,
bitbucket, client, daemon, front and vault, and the modules beside them. What only a person's verbs need was left out.
The vaults there were written by that package; see make.py.
"""

import hashlib
import tarfile
import zlib
from pathlib import Path

DATA = Path(__file__).parents[1] / "data" / "0.1.0"
KEY = hashlib.blake2b(b"the key of a vault that was made for tests", digest_size=32).digest()
PASSPHRASE = "made up for tests, opens nothing else"
MADE_AT = 1_764_000_000.0
"""The clock of the program that wrote the vaults, when it was done."""
ENTER = (
    "import sys; sys.path.append(sys.argv.pop(1));"
    "from git_credential_bitbucket.client.activate import third_party; third_party();"
    "from git_credential_bitbucket.daemon.__main__ import main; sys.exit(main(sys.argv[1:]))"
)
"""What the release's launcher gives to `python -c`: a daemon that it started is started anew in this way."""
_PREFIXES = {"api-token": "ATATT3xFfGF0", "access-token": "ATCTT3xFfGN0"}


def secret(name: str, kind: str = "access-token") -> str:
    """The made-up secret of the credential that the fixtures call `name`, in the shape of its kind."""
    letters = hashlib.shake_128(name.encode()).hexdigest(60)
    if kind not in _PREFIXES:
        return letters
    body = f"{_PREFIXES[kind]}{letters}="
    return body + format(zlib.crc32(body.encode()), "08X")


def unpack(folder: Path) -> Path:
    """Put the release's package into `folder`, and return that."""
    with tarfile.open(DATA / "package.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder
