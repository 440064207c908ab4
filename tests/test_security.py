"""SECURITY.md's promises: each names tests, and these exist."""

from tests import named

TEXT = (named.ROOT / ".github" / "SECURITY.md").read_text()


def test_every_test_that_a_promise_names_exists() -> None:
    """A renamed test would leave its promise without anybody to hold it."""
    assert len(named.named(TEXT)) > 50
    assert named.missing(TEXT) == []


def test_every_promise_names_a_test() -> None:
    """What nobody tests is not promised."""
    promises = TEXT.partition("## What you can rely on")[2].partition("## The one window")[0].split("\n- ")[1:]
    assert promises
    assert [promise for promise in promises if "`tests/" not in promise] == []
