"""Keeps what is secret: one encrypted file, its lock, its previous generation, and the key that opens it."""
