"""What can be wrong on the way from git to Bitbucket: one place to look at a module, each with a `look`."""
