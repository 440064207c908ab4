"""options.py: secrets on the command line are refused before anything repeats them."""

import pytest

from git_credential_bitbucket.cli import options
from git_credential_bitbucket.errors import Error
from tests.fake_bitbucket import tokens


@pytest.mark.parametrize("make", [tokens.api_token, tokens.access_token, tokens.app_password])
@pytest.mark.parametrize(
    "argument", ["{}", "--api-token={}", "--token={}", "https://user:{}@bitbucket.org/acme", "Bearer {}"]
)
def test_a_token_in_any_argument_is_refused(make: "object", argument: str) -> None:
    """Wherever it stands, it is in the shell's history."""
    secret = make()  # type: ignore[operator]  # parametrize knows no types
    with pytest.raises(Error, match="history") as refused:
        options.refuse_secrets(["--verify", argument.format(secret)])
    assert secret not in f"{refused.value.cause} {refused.value.hint}"


@pytest.mark.parametrize(
    "argument", ["acme/app", "ATBB-converter", "--for=ATATT/app", "https://bitbucket.org/acme/app.git", "--api-token"]
)
def test_names_are_no_secrets(argument: str) -> None:
    """A repository may be called like a prefix."""
    options.refuse_secrets([argument])
