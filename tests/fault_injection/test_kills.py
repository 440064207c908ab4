"""The short form of `python -m tests.fault_injection --kills N`: each point of a renewal, writes, random moments."""

from tests.fault_injection import kills

SHORT = [
    *(("renew", point) for point in kills.RENEWAL_STEPS),
    *((operation, "tmp-written") for operation in ("store", "erase", "remove")),
    *[("renew", kills.RANDOM)] * 5,
    ("store", kills.RANDOM),
]


def test_killed_at_any_point_nothing_acknowledged_is_lost() -> None:
    """The vault opens, no credential is gone, and a refresh token only where nobody could have written it down."""
    tally = kills.kill(SHORT, 1, lanes=2)
    assert tally.wrong == []
    assert tally.total == len(SHORT)
    assert tally.unanswered >= 1, "the stand-in rotated, and held its answer until the daemon was dead"
    assert tally.unwritten >= 1, "the answer had come, and the daemon died before the first write"
