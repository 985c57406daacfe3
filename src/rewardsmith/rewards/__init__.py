"""Scores a completion or a transition: the one scoring path, the contracts rewards come in, and rewards of our own.

Importing this room loads neither torch nor a verifier's libraries, because every worker process does it.
"""

from typing import TYPE_CHECKING, Any

from rewardsmith.rewards.agreement import Vote, weighted_vote
from rewardsmith.rewards.blocks import Block, BlockScorer, BlockScoring, Engine, LocalEngine, is_heavy
from rewardsmith.rewards.calling import pseudo_ids
from rewardsmith.rewards.contracts import (
    Contract,
    contract_of,
    from_openrlhf,
    from_plain,
    from_verl,
    is_async,
    signature_of,
)
from rewardsmith.rewards.exports import to_openrlhf, to_trl, to_verl
from rewardsmith.rewards.files import ScoreSummary, score_file
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
from rewardsmith.rewards.process import StepScore, process_target, steps_of, takes_steps, with_steps
from rewardsmith.rewards.routing import AsyncRoutedReward, RoutedReward
from rewardsmith.rewards.score_rows import rewards_of, score
from rewardsmith.rewards.scoring import Scorer
from rewardsmith.rewards.segments import AspectReward, AsyncAspectReward
from rewardsmith.rewards.similarity import EmbeddingSimilarity, paraphrase_ceiling
from rewardsmith.rewards.stated import (
    AsyncWithoutConfidence,
    WithoutConfidence,
    stated_confidence,
    without_confidence,
)
from rewardsmith.rewards.targets import (
    Formed,
    SourceSet,
    Target,
    as_sources,
    as_target,
    load_reward,
    load_target,
    resolve_form,
    target_rows,
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
from rewardsmith.rewards.work import Scored

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
    "Block",
    "BlockScorer",
    "BlockScoring",
    "ChatBackend",
    "ContextualReward",
    "Contract",
    "CritiqueReward",
    "Differentiable",
    "EmbeddingSimilarity",
    "Engine",
    "FirstErrorJudge",
    "Formed",
    "GaussianHeads",
    "GaussianReward",
    "Gaussians",
    "GeneratedCritiques",
    "HeadScores",
    "ImplicitReward",
    "JudgeError",
    "Judgement",
    "LocalEngine",
    "MemberScale",
    "PairwiseReward",
    "PrincipleJudge",
    "ReferenceJudge",
    "RequireAnswer",
    "RewardEnsemble",
    "RewardFusion",
    "RewardModel",
    "RoutedReward",
    "ScoreSummary",
    "Scored",
    "Scorer",
    "SequenceReward",
    "SourceSet",
    "StepReward",
    "StepScore",
    "Target",
    "Vote",
    "WithoutConfidence",
    "as_sources",
    "as_target",
    "average",
    "contract_of",
    "critique_messages",
    "exact_number",
    "exact_text",
    "extrapolate",
    "final_answer",
    "first_error_index",
    "first_error_messages",
    "from_openrlhf",
    "from_plain",
    "from_verl",
    "in_pair",
    "is_async",
    "is_heavy",
    "json_schema",
    "load_reward",
    "load_reward_model",
    "load_target",
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
    "process_target",
    "pseudo_ids",
    "reference_messages",
    "require_answer",
    "resolve_form",
    "rewards_of",
    "score",
    "score_file",
    "signature_of",
    "stated_confidence",
    "steps_of",
    "takes_steps",
    "target_rows",
    "think_format",
    "to_openrlhf",
    "to_trl",
    "to_verl",
    "verdict",
    "weighted_vote",
    "with_steps",
    "without_confidence",
]


def __getattr__(name: str) -> Any:
    if name in ("GaussianHeads", "Gaussians"):  # modules of torch, which this room must not load
        from rewardsmith.rewards import models

        return getattr(models, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
