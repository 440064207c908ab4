"""What can go wrong, as one tree: every error has a cause and, where one exists, the cure. Imports nothing.

An error's text is shown to a person on one line of stderr, so it holds no secret and nothing unescaped from outside.
"""


class Error(Exception):
    """Something that a person can be told in one line, with a hint that mends it."""

    CURE: "str | None" = None
    """The hint where an error of a kind has none of its own."""

    def __init__(self, cause: str, *, hint: str | None = None) -> None:
        """`cause` is lower case without a full stop; `hint` is what to do or type."""
        super().__init__(cause)
        self.cause = cause
        self.hint = hint or self.CURE


class Problem:
    """What is wrong and what helps, as a person is told of it where nothing needs to stop: `Error` without raising."""

    __slots__ = ("cause", "hint")

    def __init__(self, cause: str, hint: "str | None" = None) -> None:
        """As `Error`."""
        self.cause = cause
        self.hint = hint


class InvalidRequest(Error):
    """A credential request that breaks git's protocol; it is answered with nothing, and with one line at most.

    No git writes one, so mostly there is nothing that whoever reads the line could do, and then it has no cure.
    """


class SettingsError(Error):
    """git's configuration or the environment holds something unusable."""


class InsecurePath(Error):
    """A file or directory that must be private is a link, somebody else's, or open to others."""


class SourceFailed(Error):
    """A file or command that a reference names gave no secret; nothing of what it said is repeated."""


class VaultLocked(Error):
    """The vault's key is not at hand. Nothing was moved or written."""


class WrongKey(VaultLocked):
    """A key is at hand, but the vault was sealed with another one."""


class VaultDamaged(Error):
    """The vault and its previous generation are unreadable with the right key."""

    CURE = "see: git-credential-bitbucket doctor"


class NewerVault(Error):
    """The vault was written by a later version of this program."""


class VaultBusy(Error):
    """Another process held the vault's lock for longer than we wait."""


class VaultUnreadable(Error):
    """The machine did not let the vault be read (input/output error, too many open files): no verdict on it."""


class VaultUnwritable(Error):
    """The vault could not be written: disk full, read-only, quota. What was there still is."""


class KeyringUnavailable(Error):
    """The keyring gave no key; `reason` is absent, locked, hanging, denied, plaintext or disabled."""

    def __init__(self, cause: str, *, reason: str, hint: str | None = None) -> None:
        """`reason` is the machine-readable cause."""
        super().__init__(cause, hint=hint)
        self.reason = reason


class LoginFailed(Error):
    """An interactive login did not end in a credential."""


class LoginExpired(Error):
    """Bitbucket rejected the refresh token: `invalid_grant` or `unauthorized_client`."""


class InvalidClient(Error):
    """Bitbucket rejected the OAuth consumer itself (its key, its secret or its missing callback)."""


class RejectedByBitbucket(Error):
    """Bitbucket answered with an error that another try will not mend."""

    CURE = "see: git-credential-bitbucket doctor"


class BitbucketUnreachable(Error):
    """No usable answer: network, TLS, time-out, 429 or 5xx. Worth another try later.

    `retry_after` is in seconds, where Bitbucket said it.
    """

    CURE = "try again later; if it stays so, see: git-credential-bitbucket doctor"

    def __init__(self, cause: str, *, hint: str | None = None, retry_after: float | None = None) -> None:
        """See the class."""
        super().__init__(cause, hint=hint)
        self.retry_after = retry_after


class DaemonUnavailable(Error):
    """No daemon answers, and none could be started."""


class DaemonDisabled(SettingsError):
    """The environment says that no daemon may run here."""


class UnknownCredential(Error):
    """A verb names a credential that is not kept."""
