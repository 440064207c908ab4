"""For other programs: REST with the tokens that git uses."""
