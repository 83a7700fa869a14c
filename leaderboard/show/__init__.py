"""Boards and profiles shown: tables, figures, and the page."""
