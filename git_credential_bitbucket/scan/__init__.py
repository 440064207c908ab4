"""Finds Bitbucket's secrets that lie in the clear: in configuration, files, other keyrings, a whole history."""
