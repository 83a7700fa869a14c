"""Other machines as targets: their names, and how they are spoken to."""
