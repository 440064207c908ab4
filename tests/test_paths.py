"""Where things lie: the same places as other programs on this system have them."""

import subprocess
import sys
from pathlib import Path

import pytest

from git_credential_bitbucket import paths
from git_credential_bitbucket.errors import PlaceRefused


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it is platformdirs that is asked")
@pytest.mark.parametrize("given", [None, "", "relative", "/elsewhere", "/elsewhere/"])
def test_data_lies_where_platformdirs_has_it(given: str | None, home: Path) -> None:
    """Also where XDG_DATA_HOME is empty or not absolute, which the specification tells to ignore."""
    env = {"HOME": str(home)} | ({} if given is None else {"XDG_DATA_HOME": given})
    asked = f"import platformdirs; print(platformdirs.user_data_dir({paths.NAME!r}, appauthor=False))"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", asked], env=env, capture_output=True, text=True, check=True
    )
    assert paths.data_dir(env) == done.stdout.strip()


def test_nobody_is_told_to_close_a_directory_that_is_not_ours(tmp_path: Path) -> None:
    """The chmod to type is for our own; for /tmp, say, it would lock everybody out."""
    for name, cure in ((paths.NAME, "chmod 0700"), ("shared", "a directory of its own")):
        place = tmp_path / name
        place.mkdir()
        place.chmod(0o1777)
        with pytest.raises(PlaceRefused) as told:
            paths.check_private_dir(str(place))
        assert told.value.hint is not None
        assert cure in told.value.hint


def test_a_relative_vault_is_refused() -> None:
    """The daemon works in `/`, a verb where it was typed: each would keep its own."""
    with pytest.raises(PlaceRefused, match="relative path") as told:
        paths.vault_path({"GIT_CREDENTIAL_BITBUCKET_VAULT": "vault"})
    assert told.value.hint == "write the whole path"
    assert paths.vault_path({"GIT_CREDENTIAL_BITBUCKET_VAULT": "/srv/vault"}) == "/srv/vault"
