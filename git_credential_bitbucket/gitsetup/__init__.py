"""git's own side: the configuration that names this program, other helpers, and what git asks them."""
