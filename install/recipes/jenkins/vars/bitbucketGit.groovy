// Gives the git of a block a token for Bitbucket Cloud. As a shared library, with `install/recipes/jenkins` as its path:
//     bitbucketGit(credentialsId: 'bitbucket', url: '…/git-credential-bitbucket.pyz', sha256: '…') { sh 'git clone …' }
// The agent has git and Python 3.11 or later; the credential is a secret text; URL and checksum are a release's.
def call(Map given, Closure body) {
    withCredentials([string(credentialsId: given.credentialsId, variable: 'BITBUCKET_TOKEN')]) {
        withEnv([
            "GIT_CONFIG_GLOBAL=${env.WORKSPACE_TMP}/git-credential-bitbucket/gitconfig",
            "BITBUCKET_HELPER_URL=${given.url}",
            "BITBUCKET_HELPER_SHA256=${given.sha256}",
        ]) {
            sh label: 'Have git ask for the token', script: '''
                set -eu
                folder=$WORKSPACE_TMP/git-credential-bitbucket
                rm -rf "$folder"
                mkdir -p "$folder"
                pyz=$folder/git-credential-bitbucket.pyz
                python3 -I -c 'import sys, urllib.request as request; request.urlretrieve(*sys.argv[1:])' "$BITBUCKET_HELPER_URL" "$pyz"
                echo "$BITBUCKET_HELPER_SHA256  $pyz" | sha256sum -c -
                git config --global include.path "$HOME/.gitconfig"
                python3 -I "$pyz" configure
            '''
            body()
        }
    }
}
