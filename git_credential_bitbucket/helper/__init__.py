"""The credential helper that git executes: the relay to the daemon, and the fallback where it did not answer."""
