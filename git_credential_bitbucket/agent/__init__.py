"""Decides which credential answers, whether it is fresh, what an erase means. No sockets, no files, no HTTP."""
