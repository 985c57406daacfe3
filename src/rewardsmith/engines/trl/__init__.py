"""TRL's GRPO, RLOO and DPO trainers with what they lack, trainers of reward models, a monitor of reward hacking."""

from rewardsmith.errors import missing_extra

try:
    import trl  # noqa: F401
except ImportError as error:
    raise missing_extra("rewardsmith.engines.trl", "trl", error) from error

from rewardsmith.engines.trl.fit import RewardFit, fit_reward_model
from rewardsmith.engines.trl.gaussian_heads import HeadsFit, fit_gaussian_heads
from rewardsmith.engines.trl.members import Member, fit_members
from rewardsmith.engines.trl.monitor import HackingMonitor
from rewardsmith.engines.trl.outcome_trainer import OutcomeTrainer
from rewardsmith.engines.trl.preference_trainer import Anchor, PreferenceTrainer, TokenRegularizer
from rewardsmith.engines.trl.rating_trainer import RatingTrainer
from rewardsmith.engines.trl.reference_trainer import OnlineRewardUpdater, ReferenceTrainer
from rewardsmith.engines.trl.reward_trainer import RewardTrainer
from rewardsmith.engines.trl.step_reward_trainer import StepRewardTrainer
from rewardsmith.engines.trl.token_contrast import with_contrast_rewards
from rewardsmith.engines.trl.trainers import GRPOTrainer, RLOOTrainer
from rewardsmith.engines.trl.two_stages import fit_two_stages
from rewardsmith.engines.trl.watching import watch

__all__ = [
    "Anchor",
    "GRPOTrainer",
    "HackingMonitor",
    "HeadsFit",
    "Member",
    "OnlineRewardUpdater",
    "OutcomeTrainer",
    "PreferenceTrainer",
    "RLOOTrainer",
    "RatingTrainer",
    "ReferenceTrainer",
    "RewardFit",
    "RewardTrainer",
    "StepRewardTrainer",
    "TokenRegularizer",
    "fit_gaussian_heads",
    "fit_members",
    "fit_reward_model",
    "fit_two_stages",
    "watch",
    "with_contrast_rewards",
]
