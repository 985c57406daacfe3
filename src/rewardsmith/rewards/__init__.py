"""Scores a completion or a transition: the one scoring path, the contracts rewards come in, and rewards of our own.

Importing this room loads neither torch nor a verifier's libraries, because every worker process does it.
"""

from typing import TYPE_CHECKING, Any

from rewardsmith.rewards.agreement import Vote, weighted_vote
from rewardsmith.rewards.guards import AsyncRequireAnswer, RequireAnswer, require_answer
from rewardsmith.rewards.judges import (
    NO_ERROR,
    PRINCIPLES,
    ChatBackend,
    FirstErrorJudge,
    JudgeError,
    Judgement,
    PrincipleJudge,
    ReferenceJudge,
    first_error_index,
    first_error_messages,
    localization_reward,
    parse_judgements,
    principle_format,
    principle_messages,
    principle_score,
    reference_messages,
    verdict,
)
from rewardsmith.rewards.models import (
    CRITIQUE_TEMPLATE,
    PAIR_TEMPLATE,
    AskedCritiques,
    AsyncCritiqueReward,
    Batching,
    ContextualReward,
    CritiqueReward,
    Differentiable,
    GaussianReward,
    GeneratedCritiques,
    HeadScores,
    ImplicitReward,
    MemberScale,
    PairwiseReward,
    RewardEnsemble,
    RewardModel,
    SequenceReward,
    StepReward,
    critique_messages,
    in_pair,
    load_reward_model,
)
from rewardsmith.rewards.routing import AsyncRoutedReward, RoutedReward
from rewardsmith.rewards.segments import AspectReward, AsyncAspectReward
from rewardsmith.rewards.similarity import EmbeddingSimilarity, paraphrase_ceiling
from rewardsmith.rewards.stated import (
    AsyncWithoutConfidence,
    WithoutConfidence,
    stated_confidence,
    without_confidence,
)
from rewardsmith.rewards.verifiers import (
    exact_number,
    exact_text,
    final_answer,
    json_schema,
    matches_format,
    math_equal,
    multiple_choice,
    plain_text,
    think_format,
)
from rewardsmith.rewards.weight_space import average, extrapolate

if TYPE_CHECKING:
    from rewardsmith.rewards.models import GaussianHeads, Gaussians
from rewardsmith.rewards.fusion import RewardFusion

__all__ = [
    "CRITIQUE_TEMPLATE",
    "NO_ERROR",
    "PAIR_TEMPLATE",
    "PRINCIPLES",
    "AskedCritiques",
    "AspectReward",
    "AsyncAspectReward",
    "AsyncCritiqueReward",
    "AsyncRequireAnswer",
    "AsyncRoutedReward",
    "AsyncWithoutConfidence",
    "Batching",
    "ChatBackend",
    "ContextualReward",
    "CritiqueReward",
    "Differentiable",
    "EmbeddingSimilarity",
    "FirstErrorJudge",
    "GaussianHeads",
    "GaussianReward",
    "Gaussians",
    "GeneratedCritiques",
    "HeadScores",
    "ImplicitReward",
    "JudgeError",
    "Judgement",
    "MemberScale",
    "PairwiseReward",
    "PrincipleJudge",
    "ReferenceJudge",
    "RequireAnswer",
    "RewardEnsemble",
    "RewardFusion",
    "RewardModel",
    "RoutedReward",
    "SequenceReward",
    "StepReward",
    "Vote",
    "WithoutConfidence",
    "average",
    "critique_messages",
    "exact_number",
    "exact_text",
    "extrapolate",
    "final_answer",
    "first_error_index",
    "first_error_messages",
    "in_pair",
    "json_schema",
    "load_reward_model",
    "localization_reward",
    "matches_format",
    "math_equal",
    "multiple_choice",
    "paraphrase_ceiling",
    "parse_judgements",
    "plain_text",
    "principle_format",
    "principle_messages",
    "principle_score",
    "reference_messages",
    "require_answer",
    "stated_confidence",
    "think_format",
    "verdict",
    "weighted_vote",
    "without_confidence",
]


def __getattr__(name: str) -> Any:
    if name in ("GaussianHeads", "Gaussians"):  # modules of torch, which this room must not load
        from rewardsmith.rewards import models

        return getattr(models, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
