#!/bin/sh
# What the pipe does: COMMAND in the clone, whose git asks for the token. The container goes with it.
set -eu
: "${COMMAND:=git submodule update --init --recursive}"
python3 -I "$(dirname "$0")/git-credential-bitbucket.pyz" configure
git config --global --add safe.directory '*' # the clone belongs to the step's user, and the container to us
cd "$BITBUCKET_CLONE_DIR"
exec sh -c "$COMMAND"
