"""A git credential helper for Bitbucket Cloud and Data Center.

`BitbucketAuth` is its interface for Python programs. Imports nothing: every start of the helper passes through here.
"""

__version__ = "0.2.0"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from git_credential_bitbucket.requests_auth import BitbucketAuth

__all__ = ["BitbucketAuth", "__version__"]


def __getattr__(name: str) -> object:
    """The public names, imported on first use."""
    if name == "BitbucketAuth":
        from git_credential_bitbucket.requests_auth import BitbucketAuth

        return BitbucketAuth
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
