"""A git credential helper for Bitbucket Cloud.

Imports nothing: every start of the helper passes through here.
"""

__version__ = "0.1.0"
