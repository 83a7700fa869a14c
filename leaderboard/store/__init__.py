"""Records in MLflow, written and read."""
