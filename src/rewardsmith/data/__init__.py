"""Rows, and the steps that prepare them before any reward sees them.

The package loads no numpy, because every worker process imports it; modules with numpy are loaded on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rewardsmith.data.augment import add_truncated_negatives
from rewardsmith.data.causal import causal_augment, informative_filter, neutral_augment, ties_as_pairs
from rewardsmith.data.confidence import ConfidenceAugment, parse_confidence, strip_confidence
from rewardsmith.data.contexts import in_context
from rewardsmith.data.contrast import convex_augment, cross_prompt_negatives, mine_contrast_pairs
from rewardsmith.data.master_keys import HELD_OUT_KEYS, MASTER_KEYS
from rewardsmith.data.negatives import Rewriter, agreement_filter, corrupt_number
from rewardsmith.data.pairing import GoalTemplate, best_worst_pairs, reward_augmented, with_goal
from rewardsmith.data.preference_trees import grow_tree, sample_tree_pairs
from rewardsmith.data.preferences import (
    BenchmarkRow,
    OutcomeRow,
    PreferenceRow,
    RatedRow,
    StepRow,
    held_out,
    to_dataset,
)
from rewardsmith.data.rows import Row, Rows, completion_text, read_rows, text_of
from rewardsmith.data.steps import encode_steps, segment_steps, split_clauses, split_sentences, split_steps

if TYPE_CHECKING:
    from rewardsmith.data.card import data_card
    from rewardsmith.data.duplicates import near_duplicates
    from rewardsmith.data.readers import read_benchmark, read_outcomes, read_preferences, read_ratings, read_steps
    from rewardsmith.data.relabeling import relabel, relabel_rows
    from rewardsmith.data.strength import cross_fit_masks, preference_strength, strength_of_votes

__all__ = [
    "HELD_OUT_KEYS",
    "MASTER_KEYS",
    "BenchmarkRow",
    "ConfidenceAugment",
    "GoalTemplate",
    "OutcomeRow",
    "PreferenceRow",
    "RatedRow",
    "Rewriter",
    "Row",
    "Rows",
    "StepRow",
    "add_truncated_negatives",
    "agreement_filter",
    "best_worst_pairs",
    "causal_augment",
    "completion_text",
    "convex_augment",
    "corrupt_number",
    "cross_fit_masks",
    "cross_prompt_negatives",
    "data_card",
    "encode_steps",
    "grow_tree",
    "held_out",
    "in_context",
    "informative_filter",
    "mine_contrast_pairs",
    "near_duplicates",
    "neutral_augment",
    "parse_confidence",
    "preference_strength",
    "read_benchmark",
    "read_outcomes",
    "read_preferences",
    "read_ratings",
    "read_rows",
    "read_steps",
    "relabel",
    "relabel_rows",
    "reward_augmented",
    "sample_tree_pairs",
    "segment_steps",
    "split_clauses",
    "split_sentences",
    "split_steps",
    "strength_of_votes",
    "strip_confidence",
    "text_of",
    "ties_as_pairs",
    "to_dataset",
    "with_goal",
]
_LATER = {
    "card": ("data_card",),
    "duplicates": ("near_duplicates",),
    "readers": ("read_benchmark", "read_outcomes", "read_preferences", "read_ratings", "read_steps"),
    "relabeling": ("relabel", "relabel_rows"),
    "strength": ("cross_fit_masks", "preference_strength", "strength_of_votes"),
}


def __getattr__(name: str) -> Any:
    for file, names in _LATER.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{file}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
