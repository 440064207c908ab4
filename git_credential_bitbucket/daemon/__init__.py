"""The daemon process: sockets, peers, limits, time-outs, life cycle, upgrades. Answers come from agent/."""
