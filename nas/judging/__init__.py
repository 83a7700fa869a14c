"""One candidate is judged: counted, timed, and trained from rung to rung."""
