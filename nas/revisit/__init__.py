"""Studies that have run: listed, moved, timed again, replayed, written to MLflow again."""
