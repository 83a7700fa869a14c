"""One network is trained: by one process or a team, and resumed after a kill."""
