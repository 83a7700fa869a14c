"""What a workspace holds, and how what a user names is found there."""
