"""Photographs: read, reduced, cut into patches, upscaled, and judged."""
