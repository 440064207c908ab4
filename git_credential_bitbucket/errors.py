"""The errors of this program: each has a cause and, where something helps, a hint. Imports nothing.

An error's text is shown on one line of stderr, so it holds no secret and nothing unescaped from outside.
"""


class Error(Exception):
    """A failure that is told in one line, with a hint about what helps."""

    HINT: "str | None" = None
    """The hint of an error that was raised without one."""

    def __init__(self, cause: str, *, hint: str | None = None) -> None:
        """`cause` is lower case without a full stop; `hint` is what to do or run."""
        super().__init__(cause)
        self.cause = cause
        self.hint = hint or self.HINT


class Problem:
    """A cause and a hint that are reported while the program goes on: an `Error` that is not raised."""

    __slots__ = ("cause", "hint")

    def __init__(self, cause: str, hint: "str | None" = None) -> None:
        """As `Error`."""
        self.cause = cause
        self.hint = hint


def system_reason(exc: OSError) -> str:
    """The system's words for a failed call, for a message."""
    return (exc.strerror or "no reason given").lower()


class InvalidRequest(Error):
    """A credential request that breaks git's protocol. No git writes one, so it rarely has a hint."""


class SettingsError(Error):
    """git's configuration or the environment holds something unusable."""


class InsecurePath(Error):
    """A file or directory that must be private is a link, another user's, or open to others."""


class SourceFailed(Error):
    """A file or command that a reference names gave no secret; nothing of what it said is repeated."""


class VaultLocked(Error):
    """The vault's key is not available. Nothing was moved or written."""

    HINT = "run: git-credential-bitbucket unlock"


class WrongKey(VaultLocked):
    """The key that is available does not decrypt the vault."""


class VaultDamaged(Error):
    """The vault and its previous generation are unreadable with the right key."""

    HINT = "see: git-credential-bitbucket doctor"


class NewerVault(Error):
    """The vault was written by a later version of this program."""


class VaultBusy(Error):
    """Another process held the vault's lock until the time-out, or changed the vault meanwhile."""

    HINT = "run the command again"


class VaultChanged(VaultBusy):
    """Another host changed what this one waited for: read it again."""


class VaultMoved(Error):
    """The vault's credentials were moved to another vault, `to`."""

    def __init__(self, to: str, quoted: str, host: str | None = None) -> None:
        """`to` is a path or a URL without a password, safe to show, and `quoted` the same for a shell.

        With `host`, it is a path there, on another one than this.
        """
        hint = f"set GIT_CREDENTIAL_BITBUCKET_VAULT={quoted}, or credentialBitbucket.vault in git's configuration"
        if host is not None:
            hint = f"use another vault here, or on {host} run: git-credential-bitbucket vault move redis://…"
        super().__init__(f"the vault was moved to {to}{'' if host is None else f' on the host {host}'}", hint=hint)
        self.to = to


class VaultUnreadable(Error):
    """The system failed to read the vault (input/output error, too many open files); it may be whole."""


class VaultUnwritable(Error):
    """The vault could not be written: disk full, read-only, quota. Its former content is unchanged."""


class VaultUnreachable(VaultUnwritable):
    """The server of a shared vault cannot be reached, or does not promise what it must: nothing is renewed without."""

    HINT = (
        "check that it runs and accepts this host; meanwhile tokens are served until they expire, and none is renewed"
    )


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
    """Bitbucket answered with an error that will persist."""

    HINT = "see: git-credential-bitbucket doctor"


class BitbucketUnreachable(Error):
    """No usable answer: network, TLS, time-out, 429 or 5xx. A later try may succeed.

    `retry_after` is in seconds, where Bitbucket said it.
    """

    HINT = "try again later; if that does not help, see: git-credential-bitbucket doctor"

    def __init__(self, cause: str, *, hint: str | None = None, retry_after: float | None = None) -> None:
        """See the class."""
        super().__init__(cause, hint=hint)
        self.retry_after = retry_after


class DaemonUnavailable(Error):
    """No daemon answers, and none could be started."""


class DaemonDisabled(SettingsError):
    """`GIT_CREDENTIAL_BITBUCKET_DAEMON` is off."""


class UnknownCredential(Error):
    """A command names a credential that is not stored."""

    HINT = "see: git-credential-bitbucket status"
