"""Rows and what is done to them before any reward sees them.

Importing the room loads no numpy, as every worker process does it; what needs it is loaded when it is asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rewardsmith.data.augment import add_truncated_negatives, first_sentence
from rewardsmith.data.causal import (
    CausalAugmentation,
    Direction,
    Editor,
    Rubric,
    causal_augment,
    informative_filter,
    neutral_augment,
    ties_as_pairs,
)
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
from rewardsmith.data.contexts import CONTEXT_TEMPLATE, NO_CONTEXT, ContextForm, in_context, reversal_pairs, split_whole
from rewardsmith.data.contrast import (
    ContrastPair,
    Perturb,
    Pick,
    Side,
    convex_augment,
    cross_prompt_negatives,
    hull_vertices,
    mine_contrast_pairs,
    unit_embeddings,
)
from rewardsmith.data.files import file_records
from rewardsmith.data.keys import Key, is_missing, only_text, read_key
from rewardsmith.data.master_keys import HELD_OUT_KEYS, MASTER_KEYS
from rewardsmith.data.preference_trees import (
    Leaf,
    TreePair,
    grow_tree,
    leaf_paths,
    sample_tree_pairs,
    shared_prefix,
    shared_prefix_counts,
)
from rewardsmith.data.preferences import (
    TRAINING_COLUMNS,
    BenchmarkRow,
    PreferenceRow,
    RatedRow,
    StepRow,
    held_out,
    to_dataset,
)
from rewardsmith.data.records import records_of
from rewardsmith.data.rows import (
    ANSWER_NAMES,
    Row,
    Rows,
    as_row,
    as_rows,
    completion_text,
    has_text,
    read_rows,
    text_of,
)
from rewardsmith.data.segments import split_clauses, split_sentences
from rewardsmith.data.step_encoding import STEP_END, EncodedSteps, encode_steps
from rewardsmith.data.steps import BLANK_LINE, StepTable, segment_steps, split_steps, token_step_ends

if TYPE_CHECKING:
    from rewardsmith.data.card import DataCard, Spread, data_card
    from rewardsmith.data.duplicates import NearDuplicate, near_duplicates
    from rewardsmith.data.readers import (
        RM_BENCH_STYLES,
        Given,
        ReadData,
        read_benchmark,
        read_preferences,
        read_ratings,
        read_rows_or_pairs,
        read_steps,
        strength_from_annotators,
    )
    from rewardsmith.data.relabeling import Relabeled, relabel, relabel_rows
    from rewardsmith.data.strength import (
        Fit,
        PreferenceStrength,
        Score,
        cross_fit_masks,
        preference_strength,
        strength_of_votes,
    )

__all__ = [
    "ANSWER_NAMES",
    "BLANK_LINE",
    "CONFIDENCE_TEMPLATES",
    "CONTEXT_TEMPLATE",
    "HELD_OUT_KEYS",
    "MASTER_KEYS",
    "NO_CONTEXT",
    "RM_BENCH_STYLES",
    "STEP_END",
    "TRAINING_COLUMNS",
    "BenchmarkRow",
    "CausalAugmentation",
    "ConfidenceAugment",
    "ConfidenceScale",
    "ConfidenceVariants",
    "ContextForm",
    "ContrastPair",
    "DataCard",
    "Direction",
    "Editor",
    "EncodedSteps",
    "Fit",
    "Given",
    "Key",
    "Leaf",
    "NearDuplicate",
    "Perturb",
    "Pick",
    "PreferenceRow",
    "PreferenceStrength",
    "RatedRow",
    "ReadData",
    "Relabeled",
    "Row",
    "Rows",
    "Rubric",
    "Score",
    "Side",
    "Spread",
    "StepRow",
    "StepTable",
    "TreePair",
    "add_truncated_negatives",
    "as_row",
    "as_rows",
    "causal_augment",
    "completion_text",
    "confidence_variants",
    "convex_augment",
    "cross_fit_masks",
    "cross_prompt_negatives",
    "data_card",
    "encode_steps",
    "file_records",
    "first_sentence",
    "grow_tree",
    "has_text",
    "held_out",
    "hull_vertices",
    "in_context",
    "informative_filter",
    "is_missing",
    "leaf_paths",
    "mine_contrast_pairs",
    "near_duplicates",
    "neutral_augment",
    "number_columns",
    "only_text",
    "parse_confidence",
    "preference_strength",
    "read_benchmark",
    "read_key",
    "read_preferences",
    "read_ratings",
    "read_rows",
    "read_rows_or_pairs",
    "read_steps",
    "records_of",
    "relabel",
    "relabel_rows",
    "reversal_pairs",
    "sample_tree_pairs",
    "segment_steps",
    "shared_prefix",
    "shared_prefix_counts",
    "split_clauses",
    "split_sentences",
    "split_steps",
    "split_whole",
    "strength_from_annotators",
    "strength_of_votes",
    "strip_confidence",
    "text_of",
    "ties_as_pairs",
    "to_dataset",
    "token_step_ends",
    "unit_embeddings",
]

_LATER = {
    **dict.fromkeys(
        (
            "Given",
            "RM_BENCH_STYLES",
            "ReadData",
            "read_benchmark",
            "read_preferences",
            "read_ratings",
            "read_rows_or_pairs",
            "read_steps",
            "strength_from_annotators",
        ),
        "readers",
    ),
    **dict.fromkeys(("DataCard", "Spread", "data_card"), "card"),
    **dict.fromkeys(("NearDuplicate", "near_duplicates"), "duplicates"),
    **dict.fromkeys(("Relabeled", "relabel", "relabel_rows"), "relabeling"),
    **dict.fromkeys(
        ("Fit", "PreferenceStrength", "Score", "cross_fit_masks", "preference_strength", "strength_of_votes"),
        "strength",
    ),
}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
