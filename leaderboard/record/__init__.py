"""What is recorded of studies, trials and trainings: plain, complete, JSON both ways."""
