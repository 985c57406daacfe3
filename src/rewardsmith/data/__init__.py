"""Rows and what is done to them before any reward sees them."""

from rewardsmith.data.augment import add_truncated_negatives, first_sentence
from rewardsmith.data.columns import number_columns
from rewardsmith.data.confidence import (
    CONFIDENCE_TEMPLATES,
    ConfidenceAugment,
    ConfidenceScale,
    ConfidenceVariants,
    confidence_variants,
    parse_confidence,
    strip_confidence,
)
from rewardsmith.data.master_keys import HELD_OUT_KEYS, MASTER_KEYS
from rewardsmith.data.rows import ANSWER_NAMES, Row, read_rows, text_of
from rewardsmith.data.steps import BLANK_LINE, StepTable, segment_steps, split_steps, token_step_ends

__all__ = [
    "ANSWER_NAMES",
    "BLANK_LINE",
    "CONFIDENCE_TEMPLATES",
    "HELD_OUT_KEYS",
    "MASTER_KEYS",
    "ConfidenceAugment",
    "ConfidenceScale",
    "ConfidenceVariants",
    "Row",
    "StepTable",
    "add_truncated_negatives",
    "confidence_variants",
    "first_sentence",
    "number_columns",
    "parse_confidence",
    "read_rows",
    "segment_steps",
    "split_steps",
    "strip_confidence",
    "text_of",
    "token_step_ends",
]
