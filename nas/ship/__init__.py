"""A chosen network is trained for long and exported."""
