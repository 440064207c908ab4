#!/bin/sh
# Logs in to a host whose git gets a token for one scope, as long as the connection lasts: ssh.sh SCOPE HOST [COMMAND …]
# git there is configured once, by the two lines of .github/GUIDE.md; the first connection makes room for the socket.
set -eu
scope=$1 host=$2
shift 2
folder=$(ssh "$host" 'umask 077 && mkdir -p ~/.bitbucket && cd ~/.bitbucket && rm -f socket && pwd')
exec git-credential-bitbucket grant --for "$scope" --expires 12h -- sh -c '
    remote=$1 host=$2
    shift 2
    exec ssh -o ExitOnForwardFailure=yes -o StreamLocalBindMask=0177 \
        -R "$remote:$GIT_CREDENTIAL_BITBUCKET_SOCKET" "$host" "$@"
' ssh.sh "$folder/socket" "$host" "$@"
