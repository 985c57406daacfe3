"""Verifiers of a reference answer or a format: TRL rewards of 1.0, 0.0, or None for an unreadable key."""
