"""Networks ranked as the NTIRE challenge does."""
