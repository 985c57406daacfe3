"""Render a report: for the terminal, as one HTML page, and as files."""
