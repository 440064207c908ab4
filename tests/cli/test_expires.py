"""expires: which tokens end when, and a date that is entered later."""

import json
import time

import pytest

from git_credential_bitbucket.ui import dates
from tests.cli.listed import keep_consumer, listed
from tests.fake_bitbucket import tokens
from tests.fake_bitbucket.client import FakeBitbucket
from tests.running import Runner

HELPER = "git-credential-bitbucket"
DAY = 86400


@pytest.fixture
def two(keyed: Runner) -> Runner:
    """An API token that ends in ten days, and an access token of which nobody knows."""
    words = ("--no-verify", "--api-token", "--expires", "10d")
    keyed(HELPER, "login", *words, stdin=f"{tokens.api_token()}\nalice@example.com\n")
    keyed(HELPER, "login", "--no-verify", "--access-token", "--for", "acme/app", stdin=f"{tokens.access_token()}\n")
    return keyed


def test_the_first_to_end_is_the_first_that_is_told(two: Runner) -> None:
    """With its date and what is left; what is not known comes last, and how to enter it."""
    first, second, how = two(HELPER, "expires").stdout.splitlines()
    day = dates.day(time.time() + 10 * DAY)
    assert first.split()[:3] in ([day, "9", "days"], [day, "10", "days"])
    assert first.endswith("API token for bitbucket.org of alice@example.com")
    assert second.startswith("unknown ")
    assert second.endswith("access token for bitbucket.org/acme/app")
    assert "expires ID DATE" in how


def test_a_date_is_entered_changed_and_forgotten(two: Runner) -> None:
    """By place or by id, as a date or as what is left; `status --fail-within` sees it."""
    said = two(HELPER, "expires", "acme/app", "2999-01-31").stdout
    assert said == "Expiry date entered for the access token for bitbucket.org/acme/app: 2999-01-31\n"
    (one,) = [one for one in listed(two) if one["scope"].endswith("app")]
    two(HELPER, "expires", one["id"], "3d")
    refused = two(HELPER, "status", "--fail-within", "7d", check=False)
    assert refused.returncode == 1
    assert "access token for bitbucket.org/acme/app" in refused.stderr
    two(HELPER, "expires", one["id"], "unknown")
    assert two(HELPER, "expires", one["id"]).stdout.startswith("unknown ")
    refused = two(HELPER, "status", "--fail-within", "7d", check=False)
    assert "has no known expiry" in refused.stderr
    assert f"hint: enter the date: git-credential-bitbucket expires {one['id']} DATE" in refused.stderr
    two(HELPER, "status", "--fail-within", "7d", "--unknown-ok")


def test_the_list_as_json_has_the_same_order_and_the_days_that_were_entered(two: Runner) -> None:
    """Twenty days are listed as twenty a moment later; what has no date is null, and last."""
    two(HELPER, "expires", "acme/app", "20d")
    assert "  20 days  " in two(HELPER, "expires", "acme/app").stdout
    first, second = json.loads(two(HELPER, "expires", "--json").stdout)
    assert first["ends_at"] < second["ends_at"]
    assert second["url"] == "https://bitbucket.org/acme/app"
    two(HELPER, "expires", "acme/app", "unknown")
    assert [one["ends_at"] is None for one in json.loads(two(HELPER, "expires", "--json").stdout)] == [False, True]
    assert two(HELPER, "expires", "acme/app", "20d", "--json", check=False).returncode == 2


def test_the_list_is_asked_for_once(two: Runner) -> None:
    """A second one may differ from the first, for git goes on using what is in both."""
    served = []
    for words in ((), ("acme/app",), ()):
        two(HELPER, "expires", *words)
        served.append(json.loads(two(HELPER, "status", "--json").stdout)["daemon"]["served"])
    assert served[2] - served[1] == served[1] - served[0]


def test_what_is_no_date_changes_nothing(two: Runner) -> None:
    """And how to write one is told."""
    before = listed(two)
    for date in ("soon", "2001-01-01", "31.12.2999", "99999y"):
        refused = two(HELPER, "expires", "bitbucket.org", date, check=False)
        assert refused.returncode == 2, date
        assert "hint: " in refused.stderr
    assert [one["ends_at"] for one in listed(two)] == [one["ends_at"] for one in before]


def test_what_git_says_to_end_past_all_dates_is_listed(run: Runner, bitbucket: FakeBitbucket) -> None:
    """Another helper's `password_expiry_utc` may be any number; neither list stops at it."""
    token = tokens.access_token()
    lines = f"protocol=https\nhost={bitbucket.netloc}\npath=acme/app\nusername=x-token-auth\npassword={token}\n"
    run(HELPER, "store", stdin=f"{lines}password_expiry_utc=999999999999999\n\n")
    assert run(HELPER, "expires").stdout.startswith("9999-12-31 ")
    assert "expires on: 9999-12-31" in run(HELPER, "status", "--long").stdout


def test_what_renews_itself_has_no_date(keyed: Runner, bitbucket: FakeBitbucket) -> None:
    keep_consumer(keyed, bitbucket)
    refused = keyed(HELPER, "expires", bitbucket.netloc, "90d", check=False)
    assert "renews itself" in refused.stderr
    assert "No stored token expires" in keyed(HELPER, "expires").stdout
