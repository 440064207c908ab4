#!/bin/sh
# Builds an image whose RUN steps clone with a token that is in no layer: build.sh WORKSPACE/REPOSITORY [OPTIONS …] FOLDER
# BuildKit forwards no socket but an ssh agent's, so the token is a secret file, for the time of the build.
set -eu
scope=$1
shift
secret=$(mktemp)
trap 'rm -f "$secret"' EXIT
trap 'exit 129' HUP # where the shell is killed, some run no trap for EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
printf 'protocol=https\nhost=bitbucket.org\npath=%s\n' "$scope" | git-credential-bitbucket get >"$secret"
test -s "$secret"
docker build --secret "id=bitbucket,src=$secret" "$@"
