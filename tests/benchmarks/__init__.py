"""Measures this helper beside its peers: `python -m tests.benchmarks`, one module a measurement."""
