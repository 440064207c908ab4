"""Gets an authorization code from a person: through a browser on this machine, or by pasting where there is none."""
