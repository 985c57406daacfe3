"""Judges: a language model reads the completion, or each of its steps, and says what it thinks of it."""
