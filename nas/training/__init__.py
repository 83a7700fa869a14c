"""Training one network, by one process or a team, and resuming after a kill."""
