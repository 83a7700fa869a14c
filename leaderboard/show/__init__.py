"""Showing boards and profiles: tables, figures, and the page."""
