"""Rewards of our own: verifiers, judges, reward models, and wrappers of other rewards.

Importing this package loads neither torch nor a verifier's libraries, because every worker process imports it.
"""

from typing import TYPE_CHECKING, Any

from rewardsmith.rewards.anchored import AnchorStore, anchored_reward
from rewardsmith.rewards.code.fusion import SandboxFusion
from rewardsmith.rewards.code.reward import code_reward
from rewardsmith.rewards.followup import FollowUpLikelihood
from rewardsmith.rewards.fusion import RewardFusion
from rewardsmith.rewards.guards import RequireAnswer
from rewardsmith.rewards.judges.asking import Reply
from rewardsmith.rewards.judges.branching import BranchRethinkJudge
from rewardsmith.rewards.judges.chat import AnthropicBackend, ChatBackend
from rewardsmith.rewards.judges.comparing import PairwiseJudge
from rewardsmith.rewards.judges.conditioned import PrincipleConditioned
from rewardsmith.rewards.judges.consistency import TraceConsistency
from rewardsmith.rewards.judges.entailment import EntailmentJudge
from rewardsmith.rewards.judges.first_error import FirstErrorJudge, localization_reward
from rewardsmith.rewards.judges.lists import ListJudge
from rewardsmith.rewards.judges.local import LocalBackend
from rewardsmith.rewards.judges.principles import PrincipleJudge
from rewardsmith.rewards.judges.reference import ReferenceJudge
from rewardsmith.rewards.judges.traces import distill_traces
from rewardsmith.rewards.models.base import Batching
from rewardsmith.rewards.models.contextual import ContextualReward
from rewardsmith.rewards.models.critique import AskedCritiques, CritiqueReward, GeneratedCritiques
from rewardsmith.rewards.models.ensemble import RewardEnsemble
from rewardsmith.rewards.models.gaussian import GaussianReward
from rewardsmith.rewards.models.implicit import ImplicitPRM, ImplicitReward
from rewardsmith.rewards.models.loading import load_reward_model
from rewardsmith.rewards.models.pairwise import PairwiseReward
from rewardsmith.rewards.models.reference import ReferenceReward
from rewardsmith.rewards.models.sequence import SequenceReward
from rewardsmith.rewards.models.steps import StepReward
from rewardsmith.rewards.relevance import EmbeddingRelevance, hashed_words, length_incentive, ngram_uniqueness
from rewardsmith.rewards.routing import RoutedReward
from rewardsmith.rewards.rubrics.feedback import (
    consensus,
    drop_partial,
    extract_principles,
    quote_supported,
    rubric_from_feedback,
)
from rewardsmith.rewards.rubrics.rubric import Criterion, Rubric
from rewardsmith.rewards.segments import AspectReward
from rewardsmith.rewards.similarity import EmbeddingSimilarity
from rewardsmith.rewards.stated import WithoutConfidence, stated_confidence, weighted_vote
from rewardsmith.rewards.tools.calls import ToolCall, read_tool_calls
from rewardsmith.rewards.tools.comparing import compare_calls
from rewardsmith.rewards.tools.reward import ToolCallReward, tool_format
from rewardsmith.rewards.trained_judges import (
    list_format_reward,
    list_order_reward,
    staged_verdict_reward,
    verdict_reward,
    weighted_pair_order_reward,
)
from rewardsmith.rewards.verifiers.answers import exact_number, exact_text, multiple_choice
from rewardsmith.rewards.verifiers.formats import matches_format, think_format
from rewardsmith.rewards.verifiers.mathematics import math_equal
from rewardsmith.rewards.verifiers.schema import json_schema
from rewardsmith.rewards.weight_space import average, extrapolate

if TYPE_CHECKING:
    from rewardsmith.rewards.models.heads import GaussianHeads

__all__ = [
    "AnchorStore",
    "AnthropicBackend",
    "AskedCritiques",
    "AspectReward",
    "Batching",
    "BranchRethinkJudge",
    "ChatBackend",
    "ContextualReward",
    "Criterion",
    "CritiqueReward",
    "EmbeddingRelevance",
    "EmbeddingSimilarity",
    "EntailmentJudge",
    "FirstErrorJudge",
    "FollowUpLikelihood",
    "GaussianHeads",
    "GaussianReward",
    "GeneratedCritiques",
    "ImplicitPRM",
    "ImplicitReward",
    "ListJudge",
    "LocalBackend",
    "PairwiseJudge",
    "PairwiseReward",
    "PrincipleConditioned",
    "PrincipleJudge",
    "ReferenceJudge",
    "ReferenceReward",
    "Reply",
    "RequireAnswer",
    "RewardEnsemble",
    "RewardFusion",
    "RoutedReward",
    "Rubric",
    "SandboxFusion",
    "SequenceReward",
    "StepReward",
    "ToolCall",
    "ToolCallReward",
    "TraceConsistency",
    "WithoutConfidence",
    "anchored_reward",
    "average",
    "code_reward",
    "compare_calls",
    "consensus",
    "distill_traces",
    "drop_partial",
    "exact_number",
    "exact_text",
    "extract_principles",
    "extrapolate",
    "hashed_words",
    "json_schema",
    "length_incentive",
    "list_format_reward",
    "list_order_reward",
    "load_reward_model",
    "localization_reward",
    "matches_format",
    "math_equal",
    "multiple_choice",
    "ngram_uniqueness",
    "quote_supported",
    "read_tool_calls",
    "rubric_from_feedback",
    "staged_verdict_reward",
    "stated_confidence",
    "think_format",
    "tool_format",
    "verdict_reward",
    "weighted_pair_order_reward",
    "weighted_vote",
]


def __getattr__(name: str) -> Any:
    if name == "GaussianHeads":  # a module of torch, which this room must not load
        from rewardsmith._torch import torch  # noqa: F401 - its error says how to install it
        from rewardsmith.rewards.models.heads import GaussianHeads

        return GaussianHeads
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
