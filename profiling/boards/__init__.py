"""Other machines as targets: their names, and the client that speaks to them."""
