"""Ranking networks by the rule of the NTIRE challenge."""
