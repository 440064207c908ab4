"""Names in `files` by which the vault still calls them."""

from git_credential_bitbucket.files import sync_file, sync_folder

__all__ = ["sync_file", "sync_folder"]
