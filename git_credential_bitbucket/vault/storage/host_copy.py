"""What a host knows of a shared vault: its records, and which version of each it has seen on the server."""

from typing import TYPE_CHECKING, Any

from git_credential_bitbucket.vault.storage.contract import REST, Stored

if TYPE_CHECKING:
    from git_credential_bitbucket.vault.storage.contract import Record

_ABOUT = "shared"
"""Where the rest of the file has the vault's id, and generation and write id of each record that is or was there."""


class HostCopy:
    """What this host has of the vault, as its file has it."""

    def __init__(self, stored: Stored) -> None:
        rest = dict(stored.records.get(REST, {}))
        about: dict[str, Any] = rest.pop(_ABOUT, {})
        self.file = stored
        self.needs_header = False
        """Whether the next commit brings the vault's header: the server has none, or it is for another key."""
        self.vault: str = about.get("vault", "")
        self.versions: dict[str, tuple[int, str]] = {n: (g, w) for n, (g, w) in about.get("versions", {}).items()}
        self.altered: tuple[str, ...] = tuple(about.get("altered", ()))
        self.records = {name: record for name, record in stored.records.items() if name != REST}
        if REST in self.versions and about.get("has_rest"):
            self.records[REST] = rest

    @property
    def stored(self) -> Stored:
        """As others see it."""
        generations = {name: self.versions[name][0] for name in self.records}
        whole = self.file._replace(recovered=False, needs_repair=False, encoded=None)
        return whole._replace(records=self.records, generations=generations, altered=self.altered)

    def to_records(self) -> "dict[str, Record]":
        """The opposite of reading it from its file."""
        about = {"vault": self.vault, "versions": self.versions, "has_rest": REST in self.records}
        about |= {"altered": self.altered} if self.altered else {}
        return {**self.records, REST: {**self.records.get(REST, {}), _ABOUT: about}}

    def is_behind(self, name: str, generation: int, record: "Record | None") -> bool:
        """Whether the server's record, in this generation, takes the place of this host's.

        A failover may bring an older record back, which others then changed; the `generation` of a token inside a
        record never falls, so it shows which of two has the valid refresh token.
        """
        own_generation = self.versions.get(name, (0, ""))[0]
        own = self.records.get(name)
        if own is None or record is None:
            return generation >= own_generation
        return (record.get("generation", 0), generation) >= (own.get("generation", 0), own_generation)
