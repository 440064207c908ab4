"""Checks of pasted secrets: cleaned, recognised, and rejected if they cannot work."""

from __future__ import annotations

from dataclasses import dataclass

from git_credential_bitbucket.agent.naming import kind_label
from git_credential_bitbucket.bitbucket import hosts, token_kinds
from git_credential_bitbucket.errors import LoginFailed
from git_credential_bitbucket.secret import Secret

MIN_TOKEN_CHARACTERS = 16
"""Every secret of Bitbucket's is longer (an old consumer's key has 18 characters)."""


@dataclass(frozen=True, slots=True)
class CheckedToken:
    """A usable secret, its kind, and warnings for the user. `is_whole` is False where its checksum does not match."""

    secret: Secret
    kind: token_kinds.Kind
    warnings: tuple[str, ...]
    is_whole: bool


def check_token(text: str, wanted: token_kinds.Kind, product: str = hosts.PROVIDER) -> CheckedToken:
    """A token of `product` that should be of kind `wanted`; its prefix decides.

    Raises `LoginFailed`, never repeating the text.
    """
    alone = _token_in_url(text)
    secret, notes = token_kinds.clean_paste(alone or text)
    _check(secret, "token")
    kind = token_kinds.recognise(secret)
    if kind == token_kinds.APP_PASSWORD:
        raise LoginFailed(token_kinds.APP_PASSWORDS_GONE.cause, hint=token_kinds.APP_PASSWORDS_GONE.hint)
    if (kind == token_kinds.PERSONAL_TOKEN) != (product == hosts.DATA_CENTER) and kind != token_kinds.UNKNOWN:
        raise _OF_OTHER_PRODUCT[product]
    warnings = ["only the token in the pasted text is used", *notes] if alone else list(notes)
    if product == hosts.DATA_CENTER:  # older tokens have no prefix
        return CheckedToken(Secret(secret), token_kinds.PERSONAL_TOKEN, tuple(warnings), is_whole=True)
    if kind == token_kinds.UNKNOWN:
        kind = wanted
        starts = f"an {kind_label(wanted)} starts with {_PREFIXES[wanted]}"
        warnings.append(f"{starts}, and this does not: is it the right one?")
    elif kind != wanted:
        warnings.append(f"this is an {kind_label(kind)} by its prefix, so it is stored as one")
    return CheckedToken(Secret(secret), kind, tuple(warnings), token_kinds.is_checksum_valid(secret) is not False)


def consumer_secret(text: str) -> Secret:
    """An OAuth consumer's secret, cleaned. Raises `LoginFailed`."""
    return Secret(_of_consumer(text, "secret"))


def consumer_key(text: str) -> str:
    """An OAuth consumer's key. Raises `LoginFailed`."""
    return _of_consumer(text, "key")


def _of_consumer(text: str, what: str) -> str:
    value, _ = token_kinds.clean_paste(text)
    _check(value, f"consumer's {what}")
    if token_kinds.recognise(value) != token_kinds.UNKNOWN:
        hint = "log in with it: git-credential-bitbucket login --api-token, or --access-token"
        raise LoginFailed(f"this is a token, not the {what} of an OAuth consumer", hint=hint)
    return value


def app_key(text: str) -> str:
    """The key of a Connect app, or of its installation. Raises `LoginFailed`."""
    key, _ = token_kinds.clean_paste(text)
    if token_kinds.recognise(key) != token_kinds.UNKNOWN:
        hint = "see: git-credential-bitbucket login --help"
        raise LoginFailed("this is a token, not a key of the Connect app", hint=hint)
    if not key or not key.isprintable() or not key.isascii() or " " in key:
        raise LoginFailed("not a key of a Connect app", hint="it is one word, without spaces")
    return key


def check_account(text: str) -> str | None:
    """A user's email or name; None if nothing was typed. Raises `LoginFailed` if a secret was typed."""
    name, _ = token_kinds.clean_paste(text)
    if token_kinds.recognise(name) != token_kinds.UNKNOWN:
        raise LoginFailed("this is a token, not an email", hint="log in again, and enter the email")
    if not name.isprintable() or any(c.isspace() or c == ":" for c in name):
        raise LoginFailed("not an email or username", hint="it has no spaces or colons")
    return name or None


def _token_in_url(text: str) -> str | None:
    """The only token in a clone URL (`https://x-token-auth:…@…`) or after a name (`alice@example.com:…`).

    None where there is none, and for a token that is alone.
    """
    found = token_kinds.whole_tokens(token_kinds.strip_wrapping(text)[0])
    if len(found) != 1 or not any(mark in text for mark in ":@"):
        return None
    return found.pop()


def _check(text: str, what: str) -> None:
    if not text:
        raise LoginFailed(f"no {what} was given", hint="copy it from Bitbucket's page, and paste it")
    if "://" in text:
        hint = "copy the secret only; in a URL it is between the colon after the username and the @"
        raise LoginFailed(f"this is a URL, not a {what}", hint=hint)
    if "@" in text and "." in text.rpartition("@")[2] and " " not in text:
        hint = "the email is asked for separately, or given with --account"
        raise LoginFailed(f"this is an email, not a {what}", hint=hint)
    if not text.isprintable() or not text.isascii() or " " in text:
        raise LoginFailed(f"not a {what}: it contains spaces or control characters", hint="copy the token only")
    if len(text) < MIN_TOKEN_CHARACTERS:
        raise LoginFailed(f"too short for a {what}", hint=f"copy all of the {what}, and paste it")


_PREFIXES = {token_kinds.API_TOKEN: "ATATT", token_kinds.ACCESS_TOKEN: "ATCTT"}
_OF_OTHER_PRODUCT = {
    hosts.PROVIDER: LoginFailed(
        "this is a Bitbucket Data Center token, which bitbucket.org does not accept",
        hint="name its server: git-credential-bitbucket login --access-token --host URL",
    ),
    hosts.DATA_CENTER: LoginFailed(
        "this is a token of bitbucket.org, which Bitbucket Data Center does not accept",
        hint="create an HTTP access token on your server, in your account's, a project's or a repository's settings",
    ),
}
