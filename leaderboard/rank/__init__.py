"""Trials ranked: the front, its statistics, and what to pick."""
