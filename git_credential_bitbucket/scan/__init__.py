"""The secret scan: Bitbucket's secrets in plain text, in configuration, files, other keyrings and git history."""
