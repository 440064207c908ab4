"""Makes third-party packages importable in a Python that was started isolated. Imports sys and os.

The executable starts Python with `-I -S`: without `site`, whose import costs more than the relay itself.
Code that needs `click`, `cryptography` or the like calls `third_party` first.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from git_credential_bitbucket.errors import Error


def archive() -> str | None:
    """The path of the one-file program (`….pyz`) that runs; None where the package is installed."""
    path = getattr(__spec__.loader, "archive", None)  # zipimport's
    return None if path is None else os.path.abspath(path)


def not_in_archive(cause: str) -> "Error":
    """The error where the one-file program lacks what an installation has."""
    from git_credential_bitbucket.errors import Error  # lazy: an installation never needs it

    return Error(
        cause, hint="for everything else, install it: run install/install or pipx install . in its source directory"
    )


def third_party() -> None:
    """Make the packages beside this one importable, then those of the virtual environment or system.

    Beside it: a virtual environment's, `pip install --user`'s or `--prefix`'s. The system's may hold some of
    its dependencies too (Debian's `python3-cryptography`). A second call does nothing.

    Raises an `Error` in the one-file program, which has none.
    """
    if archive() is not None:
        raise not_in_archive("this one-file program answers with tokens from the environment only")
    if not sys.flags.no_site or "site" in sys.modules:
        return
    import site  # lazy: 3 ms that the relay does without

    site.addsitedir(os.path.realpath(os.path.join(os.path.dirname(__file__), "..", "..")))
    site.main()
