"""Small worlds with an exact gold reward and a proxy of known flaw."""

from rewardsmith.worlds.arithmetic_lm import (
    ArithmeticLM,
    arithmetic_gold,
    committed_number_reward,
    first_number_reward,
    last_number_reward,
    substring_reward,
)
from rewardsmith.worlds.judged_answers import (
    Exploited,
    JudgedAnswers,
    Judges,
    exploit_keys,
    judge_reward,
    train_judges,
)
from rewardsmith.worlds.response_pool import (
    PolicyAtKL,
    ResponsePool,
    best_of_n_curve,
    expected,
    kl,
    policy_at_kl,
    tilted_policy,
)
from rewardsmith.worlds.streams import Streams, sample_index

__all__ = [
    "ArithmeticLM",
    "Exploited",
    "JudgedAnswers",
    "Judges",
    "PolicyAtKL",
    "ResponsePool",
    "Streams",
    "arithmetic_gold",
    "best_of_n_curve",
    "committed_number_reward",
    "expected",
    "exploit_keys",
    "first_number_reward",
    "judge_reward",
    "kl",
    "last_number_reward",
    "policy_at_kl",
    "sample_index",
    "substring_reward",
    "tilted_policy",
    "train_judges",
]
