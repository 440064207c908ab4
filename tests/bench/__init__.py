"""Measures this helper beside its peers: `python -m tests.bench`, one module a measurement."""
