#!/bin/sh
# Runs a command in a container whose git gets a token for one scope, as long as it runs: run.sh SCOPE IMAGE COMMAND …
# The image needs git 2.31 alone. CONTAINER_USER is the user id in there, if it is not root's.
set -eu
scope=$1
shift
recipe=$(cd "$(dirname "$0")" && pwd)
user=${CONTAINER_USER:-0}
exec git-credential-bitbucket grant --for "$scope" --expires 12h --peer "$user" -- sh -c '
    user=$1 recipe=$2
    shift 2
    exec docker run --rm --user "$user" --env-file "$recipe/git.env" \
        -v "$(dirname "$GIT_CREDENTIAL_BITBUCKET_SOCKET"):/bitbucket:ro" "$@"
' run.sh "$user" "$recipe" "$@"
