"""Records of studies, trials and trainings: plain values that are read from and written to JSON."""
