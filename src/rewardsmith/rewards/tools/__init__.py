"""Rewards of tool calls: readers of the usual syntaxes, a comparison of two lists of calls, rewards in TRL's form."""
