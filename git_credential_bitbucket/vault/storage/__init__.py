"""Where a vault's records are stored: in a file or in memory, behind one protocol (`contract`)."""
