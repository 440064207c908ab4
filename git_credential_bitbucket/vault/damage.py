"""What is told of a damaged vault: what was set aside, what is missing, and what is left for a person to do.

Nothing remembers that besides the file itself: the notice stands while it lies there, and ends with its removal.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from git_credential_bitbucket.errors import Error
from git_credential_bitbucket.vault import disk

if TYPE_CHECKING:
    from git_credential_bitbucket.vault.vault import Vault


@dataclass(frozen=True, slots=True)
class Notice:
    """`path` is the damaged file, as it may be shown: set aside, or still the vault itself."""

    path: str
    cause: str
    cure: str


def notice(vault: "Vault") -> Notice | None:
    """What there is to tell now; None where no damage is to be seen, or nothing can be told of it yet."""
    try:
        if vault.state == "open" and vault.snapshot().unmended:
            return _unmended(vault.place.path)
    except Error:  # it is not this notice's to tell: whoever reads the vault meets it as well
        pass
    try:
        path = vault.place.damaged()
    except Error:
        return None
    return None if path is None else _set_aside(path)


def _set_aside(path: str) -> Notice:
    shown = disk.shown(path)
    cause = f"the vault was damaged: {shown} was set aside, and what its last write had added is missing"
    cure = "log in again for what is missing (git-credential-bitbucket login), then remove the damaged file: rm "
    return Notice(shown, cause, cure + disk.typed(path))


def _unmended(path: str) -> Notice:
    shown = disk.shown(path)
    cause = (
        f"the vault {shown} is damaged and cannot be set aside yet; the generation before it answers, without what its"
        " last write had added"
    )
    return Notice(shown, cause, "see that it can be written to; the next write mends it")
