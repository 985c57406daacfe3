"""Rows and what is done to them before any reward sees them."""

from rewardsmith.data.augment import add_truncated_negatives, first_sentence
from rewardsmith.data.master_keys import HELD_OUT_KEYS, MASTER_KEYS
from rewardsmith.data.rows import ANSWER_NAMES, Row, read_rows, text_of

__all__ = [
    "ANSWER_NAMES",
    "HELD_OUT_KEYS",
    "MASTER_KEYS",
    "Row",
    "add_truncated_negatives",
    "first_sentence",
    "read_rows",
    "text_of",
]
