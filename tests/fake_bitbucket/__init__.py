"""A local Bitbucket Cloud, as real as can be: a process of its own that the tests and the demo talk to."""
