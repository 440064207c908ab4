"""login --lifetime: said, kept and shown."""

import json
import time

from tests.fake_bitbucket import tokens
from tests.running import Runner

HELPER = "git-credential-bitbucket"


def test_a_lifetime_is_told_and_listed(keyed: Runner) -> None:
    """Eight hours from now it is forgotten; status knows."""
    told = keyed(
        HELPER,
        "login",
        "--no-verify",
        "--access-token",
        "--for",
        "acme",
        "--lifetime",
        "8h",
        stdin=tokens.access_token(),
    )
    assert "removed here in" in told.stdout
    (one,) = json.loads(keyed(HELPER, "status", "--json").stdout)["credentials"]
    assert 0 < one["forget_at"] - time.time() <= 8 * 3600


def test_a_lifetime_past_all_dates_keeps_nothing(keyed: Runner) -> None:
    """It is refused before the token is taken, and the list works on."""
    token = tokens.access_token()
    told = keyed(HELPER, "login", "--no-verify", "--access-token", "--lifetime", "99999y", stdin=token, check=False)
    assert told.returncode == 2
    assert "longer than 1000 years" in told.stderr
    assert json.loads(keyed(HELPER, "status", "--json").stdout)["credentials"] == []


def test_what_is_no_span_is_refused_before_anything_is_asked(keyed: Runner) -> None:
    """One line, with how to write it."""
    told = keyed(HELPER, "login", "--no-verify", "--access-token", "--lifetime", "tomorrow", check=False)
    assert told.returncode == 2
    assert "(write 30m (minutes), 12h" in told.stderr
