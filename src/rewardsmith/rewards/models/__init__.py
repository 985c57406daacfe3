"""Reward models: any classifier or language model of transformers as a reward, alone or several together.

Importing this loads neither torch nor transformers; using a model does.
"""

from typing import TYPE_CHECKING, Any

from rewardsmith.rewards.models.base import Batching, RewardModel
from rewardsmith.rewards.models.contextual import ContextualReward
from rewardsmith.rewards.models.critique import (
    CRITIQUE_TEMPLATE,
    AskedCritiques,
    AsyncCritiqueReward,
    CritiqueReward,
    GeneratedCritiques,
    critique_messages,
)
from rewardsmith.rewards.models.ensemble import MemberScale, RewardEnsemble
from rewardsmith.rewards.models.gaussian import GaussianReward, HeadScores
from rewardsmith.rewards.models.implicit import ImplicitReward
from rewardsmith.rewards.models.loading import load_reward_model, member_folders
from rewardsmith.rewards.models.pairwise import PAIR_TEMPLATE, PairwiseReward, in_pair
from rewardsmith.rewards.models.sequence import SequenceReward
from rewardsmith.rewards.models.steps import StepReward
from rewardsmith.rewards.models.triggers import Differentiable

if TYPE_CHECKING:
    from rewardsmith.rewards.models.heads import GaussianHeads, Gaussians

__all__ = [
    "CRITIQUE_TEMPLATE",
    "PAIR_TEMPLATE",
    "AskedCritiques",
    "AsyncCritiqueReward",
    "Batching",
    "ContextualReward",
    "CritiqueReward",
    "Differentiable",
    "GaussianHeads",
    "GaussianReward",
    "Gaussians",
    "GeneratedCritiques",
    "HeadScores",
    "ImplicitReward",
    "MemberScale",
    "PairwiseReward",
    "RewardEnsemble",
    "RewardModel",
    "SequenceReward",
    "StepReward",
    "critique_messages",
    "in_pair",
    "load_reward_model",
    "member_folders",
]


def __getattr__(name: str) -> Any:
    if name in ("GaussianHeads", "Gaussians"):  # modules of torch, which this room must not load
        from rewardsmith._torch import torch  # noqa: F401 - its error says how to install it
        from rewardsmith.rewards.models import heads

        return getattr(heads, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
