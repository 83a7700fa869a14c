"""What is tried next, and what is stopped: samplers and rungs, which know nothing of networks."""
