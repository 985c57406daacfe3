"""Kinds, equality and spellings of answer keys, independent of any verifier."""
