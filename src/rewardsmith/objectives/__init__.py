"""Scores or log-probabilities in, unreduced loss out. No objective has landed yet: TRL's own losses are in use."""
