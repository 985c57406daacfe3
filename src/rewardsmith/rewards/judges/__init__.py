"""Judges: a language model reads the completion, or each of its steps, and gives a verdict."""
