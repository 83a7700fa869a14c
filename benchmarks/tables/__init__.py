"""Tables of trained networks, and what table.py makes them with."""
