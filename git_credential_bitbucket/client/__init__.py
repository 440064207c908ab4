"""Clients of the daemon, which is started where none runs; the environment's credentials; the agent in-process."""
