"""The fixtures that an upgrade's tests have from those of the verbs and of the daemon."""

from tests.cli.conftest import bare_run, link, prefix  # noqa: F401 - fixtures
from tests.daemon.conftest import daemon, keyed_env, start  # noqa: F401 - fixtures
