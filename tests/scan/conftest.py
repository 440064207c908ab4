"""Owns what the tests of the audit share: the verbs' runner, and secrets of real shape."""

from tests.cli.conftest import bare_run, keyed, link, person, prefix, run

__all__ = ["bare_run", "keyed", "link", "person", "prefix", "run"]
