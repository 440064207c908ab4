"""The names of our settings in git's configuration, and booleans, ours and git's. Imports paths and errors."""

from git_credential_bitbucket import paths
from git_credential_bitbucket.errors import SettingsError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

KEYRING = "GIT_CREDENTIAL_BITBUCKET_KEYRING"
"""Off: the system's keyring is not used."""

SECTION = "credentialBitbucket"
"""Of our settings in git's configuration: git's own helpers have credentialCache and credentialStore (git-config(1)),
and `credential.bitbucket…` is git-credential-manager's."""
CONFIGURABLE = (
    *("DAEMON", "IDLE_EXIT", "KEYRING", "KEY_FILE", "LOCK_AFTER", "LOG", "PEERS", "SOCKET", "VAULT"),
    *("VAULT_PASSWORD_FILE", "VAULT_PASSWORD_FROM", "WARN"),
)
"""The settings with a key there. KEY has none because it is a secret; TRACE because it is for one command."""

_WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_UNITS = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def key(setting: str) -> str:
    """The name in git's configuration of the setting `KEY_FILE`: `credentialBitbucket.keyFile`."""
    first, *others = setting.lower().split("_")
    return f"{SECTION}.{first}{''.join(map(str.capitalize, others))}"


def describe(variable: str) -> str:
    """Our variable, and its key if it has one, for a message about a value from either."""
    setting = variable.removeprefix(paths.OWN_PREFIX)
    return f"{variable} (or {key(setting)})" if setting in CONFIGURABLE else variable


def is_on(env: "Mapping[str, str]", name: str, *, default: bool) -> bool:
    """Whether our variable `name` is on; `default` where it is unset or empty.

    Raises `SettingsError` for anything but on, true, yes or 1, and off, false, no or 0, in either case.
    """
    text = env.get(name, "").lower()
    if not text:
        return default
    value = {"1": True, "0": False}.get(text, _WORDS.get(text))
    if value is None:
        raise SettingsError(f"{describe(name)} is neither on nor off", hint="set it to on or off, or unset it")
    return value


def git_bool(text: str) -> bool | None:
    """A boolean as git reads it (git's parse.c, git_parse_maybe_bool); None where it is not one.

    That is true, yes, on or an integer but 0; false, no, off, 0 or nothing, in either case. A key without a value,
    which is true, comes as `true` from `git_config`.
    """
    value = _WORDS.get(text.lower()) if text else False
    if value is not None:
        return value
    number = _git_integer(text)
    return None if number is None else number != 0


def _git_integer(text: str) -> int | None:
    """strtoimax(3) with base 0, and git's units; within 32 bits, as git's own."""
    digits = text.lstrip(" \t\n\v\f\r").lower()
    sign, digits = (-1 if digits[:1] == "-" else 1), digits[1:] if digits[:1] in ("-", "+") else digits
    factor = _UNITS.get(digits[-1:], 1)
    digits = digits if factor == 1 else digits[:-1]
    base = 16 if digits.startswith("0x") else 8 if digits.startswith("0") else 10
    digits = digits.removeprefix("0x") if base == 16 else digits  # noqa: PLR2004 - hexadecimal
    if not digits or digits.strip("0123456789abcdef"):
        return None
    try:
        number = sign * int(digits, base) * factor
    except ValueError:
        return None
    return number if abs(number) < 1 << 31 else None
