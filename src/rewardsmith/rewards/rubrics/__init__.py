"""Rubrics: weighted criteria that a model answers, in files, and from written feedback."""
