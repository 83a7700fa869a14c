"""The content of a workspace, and how the names that users give are found in it."""
