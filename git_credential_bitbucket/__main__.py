"""`python -m git_credential_bitbucket`: the command line without Python's isolation, which git's start has."""

import sys

from git_credential_bitbucket.helper.relay import main

if __name__ == "__main__":
    sys.exit(main(sys.argv))
