"""Makes third-party packages importable in a Python that was started isolated. Imports sys and os.

The executable starts Python with `-I -S`: without `site`, whose import costs more than the relay itself.
Whoever needs `click`, `cryptography` or the like calls `third_party` first.
"""

import os
import sys


def third_party() -> None:
    """Make the packages beside this one importable, then those of the environment or system.

    Beside it: a virtual environment's, `pip install --user`'s or `--prefix`'s. The system's may hold some of
    its dependencies too (Debian's `python3-cryptography`). A second call does nothing.
    """
    if not sys.flags.no_site or "site" in sys.modules:
        return
    import site  # here, not above: 3 ms that the relay does without

    site.addsitedir(os.path.realpath(os.path.join(os.path.dirname(__file__), "..", "..")))
    site.main()
