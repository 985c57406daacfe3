"""Small worlds with an exact gold reward and a proxy of known flaw, each shared by several pages or examples."""

from rewardsmith._torch import torch  # noqa: F401 - the rooms that work on tensors say so first
from rewardsmith.worlds.arithmetic_lm import (
    ArithmeticLM,
    Sums,
    Task,
    arithmetic_gold,
    committed_number_reward,
    first_number_reward,
    last_number_reward,
    substring_reward,
)
from rewardsmith.worlds.arithmetic_tasks import LongSums, MixedPrompts, SmudgedSums, TonedJudge, VerboseJudge
from rewardsmith.worlds.heavy_tails import HeavyTails
from rewardsmith.worlds.known_posterior import KnownPosterior
from rewardsmith.worlds.preference_world import PreferenceWorld
from rewardsmith.worlds.response_pool import ResponsePool
from rewardsmith.worlds.step_chain import StepChain
from rewardsmith.worlds.stepwise_tasks import (
    ChainSums,
    FlawDetector,
    LineScores,
    final_answer_reward,
    line_format_reward,
)
from rewardsmith.worlds.streams import Streams

__all__ = [
    "ArithmeticLM",
    "ChainSums",
    "FlawDetector",
    "HeavyTails",
    "KnownPosterior",
    "LineScores",
    "LongSums",
    "MixedPrompts",
    "PreferenceWorld",
    "ResponsePool",
    "SmudgedSums",
    "StepChain",
    "Streams",
    "Sums",
    "Task",
    "TonedJudge",
    "VerboseJudge",
    "arithmetic_gold",
    "committed_number_reward",
    "final_answer_reward",
    "first_number_reward",
    "last_number_reward",
    "line_format_reward",
    "substring_reward",
]
