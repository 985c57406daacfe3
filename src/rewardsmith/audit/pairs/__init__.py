"""The audit of a reward on preference pairs: reward models, their ensembles, and any other reward."""
