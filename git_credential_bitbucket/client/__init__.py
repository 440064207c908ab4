"""Who answers a caller: the environment, the daemon (started if there is none), or an agent in this process."""
