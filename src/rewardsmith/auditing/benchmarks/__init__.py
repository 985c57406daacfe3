"""Reward model benchmarks, scored as their authors score them."""
