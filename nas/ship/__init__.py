"""Training a chosen network for long, and exporting it."""
