"""What git executes: relays to the daemon, and thinks only where the daemon did not answer."""
