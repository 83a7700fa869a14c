"""What to try next and what to stop: samplers and rungs, which know nothing of networks."""
