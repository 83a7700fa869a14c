"""Judging one candidate: it is counted, timed, and trained from rung to rung."""
