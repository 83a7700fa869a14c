"""The published networks as architectures of the one grammar, a file for each family."""
