"""Reward models: any classifier or language model of transformers as a reward, alone or several together."""
