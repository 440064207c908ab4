"""`python -m git_credential_bitbucket`: the executable without its isolation. For people, not for git."""

import sys

from git_credential_bitbucket.helper.relay import main

if __name__ == "__main__":
    sys.exit(main(sys.argv))
