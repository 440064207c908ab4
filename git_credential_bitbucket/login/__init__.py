"""Obtains credentials: prompts, OAuth by browser or paste, verification, and the vault's key."""
