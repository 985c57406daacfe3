"""Verifiers of a reference answer or a form: each is a TRL reward of 1.0, 0.0 or None for an unreadable key."""

from rewardsmith.rewards.verifiers.choice import multiple_choice
from rewardsmith.rewards.verifiers.final_answer import final_answer
from rewardsmith.rewards.verifiers.formats import matches_format, think_format
from rewardsmith.rewards.verifiers.mathematics import math_equal
from rewardsmith.rewards.verifiers.numbers import exact_number
from rewardsmith.rewards.verifiers.schema import json_schema
from rewardsmith.rewards.verifiers.texts import exact_text, plain_text

__all__ = [
    "exact_number",
    "exact_text",
    "final_answer",
    "json_schema",
    "matches_format",
    "math_equal",
    "multiple_choice",
    "plain_text",
    "think_format",
]
