"""A study in its storage: settings, state, claims and proposals."""
