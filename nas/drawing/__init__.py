"""One block in words and as a drawing."""
