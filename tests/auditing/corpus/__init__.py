"""Rewards with one planted flaw each, sound ones of many kinds, and fresh prompts for both."""
