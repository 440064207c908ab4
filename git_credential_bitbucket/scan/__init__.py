"""Finds Bitbucket's secrets that lie in plain text: in configuration, files, other keyrings, a whole history."""
