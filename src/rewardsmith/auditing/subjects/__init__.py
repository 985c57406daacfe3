"""Subjects of an audit: answers, pairs, steps and sources, each with its baseline and probes."""
