"""A report in words: for the terminal, as one HTML page, and as files."""
