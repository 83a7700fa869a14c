"""A search as it runs: the request, the workers, and how it ends."""
