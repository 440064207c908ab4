#!python
"""Finds the package that this script was installed with, and enters it. Short: compiled at every start."""

import os
import sys

# Under -S nobody else says where packages are, and importing `site` would cost as much as the whole relay.
prefix = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
python = "python{}.{}".format(*sys.version_info)
for place in (
    f"lib/{python}/site-packages",
    f"{sys.platlibdir}/{python}/site-packages",
    f"lib/{python}/dist-packages",
    ".",  # pip install --target
):
    if os.path.isdir(f"{prefix}/{place}/git_credential_bitbucket"):
        sys.path.append(f"{prefix}/{place}")
        break
else:  # an editable or unusual installation
    import site

    site.addsitedir(f"{prefix}/lib/{python}/site-packages")
    site.main()
try:
    from git_credential_bitbucket.helper.relay import main
except ModuleNotFoundError as exc:
    if exc.name != "git_credential_bitbucket":
        raise
    sys.exit(
        f"git-credential-bitbucket: error: its package is not in {prefix}/lib/{python}\n"
        "git-credential-bitbucket: hint: Python was upgraded under it, or it was moved: install it again"
    )
sys.exit(main(sys.argv))
