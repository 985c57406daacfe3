"""Small worlds with an exact gold reward and a proxy of known flaw, each used by several pages or examples."""

from rewardsmith._torch import torch  # noqa: F401 - the rooms that work on tensors say so first
from rewardsmith.worlds.arithmetic_lm import (
    ArithmeticLM,
    Sums,
    arithmetic_gold,
    committed_number_reward,
    substring_reward,
)
from rewardsmith.worlds.arithmetic_tasks import LongSums, MixedPrompts, SmudgedSums, TonedJudge, VerboseJudge
from rewardsmith.worlds.stepwise_tasks import (
    ChainSums,
    FlawDetector,
    LineScores,
    final_answer_reward,
    line_format_reward,
)
from rewardsmith.worlds.streams import Streams
from rewardsmith.worlds.tampering import TamperTools, TamperWorld, tamper_probe

__all__ = [
    "ArithmeticLM",
    "ChainSums",
    "FlawDetector",
    "LineScores",
    "LongSums",
    "MixedPrompts",
    "SmudgedSums",
    "Streams",
    "Sums",
    "TamperTools",
    "TamperWorld",
    "TonedJudge",
    "VerboseJudge",
    "arithmetic_gold",
    "committed_number_reward",
    "final_answer_reward",
    "line_format_reward",
    "substring_reward",
    "tamper_probe",
]
