"""The fixtures of the daemon's own tests, for those of an upgrade."""

from tests.daemon.conftest import keyed_env, start  # noqa: F401 - fixtures
