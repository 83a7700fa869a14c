"""Ranking trials: the front, its statistics, and which network to pick."""
