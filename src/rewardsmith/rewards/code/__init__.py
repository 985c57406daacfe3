"""Rewards for programs: tests in the forms that data sets have, run in a sandbox, compared outside it."""
