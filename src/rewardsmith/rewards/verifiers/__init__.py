"""Verifiers of a reference answer or a form: each is a TRL reward of 1.0, 0.0 or None for an unreadable key."""
