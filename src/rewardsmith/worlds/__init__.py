"""Small worlds with an exact gold reward and a proxy of known flaw."""

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
from rewardsmith.worlds.chain_training import Credit, Training, policy_gradient, train_chains
from rewardsmith.worlds.hetero_rm import HeteroRM
from rewardsmith.worlds.judged_answers import (
    Exploited,
    JudgedAnswers,
    Judges,
    exploit_keys,
    judge_reward,
    train_judges,
)
from rewardsmith.worlds.known_posterior import KnownPosterior, StatedPolicy, StatedRollouts, train_stated
from rewardsmith.worlds.length_bandit import LengthBandit, LengthDraws
from rewardsmith.worlds.mixed_pool import MixedPool
from rewardsmith.worlds.property_pool import PropertyPool
from rewardsmith.worlds.response_pool import (
    PolicyAtKL,
    ResponsePool,
    best_of_n_curve,
    expected,
    kl,
    policy_at_kl,
    tilted_policy,
)
from rewardsmith.worlds.shortcut_chain import ChainDraws, ShortcutChain
from rewardsmith.worlds.step_chain import Rollouts, StepChain, Truth
from rewardsmith.worlds.stepwise_tasks import (
    ChainGold,
    ChainSums,
    FlawDetector,
    LineScores,
    final_answer_reward,
    line_format_reward,
)
from rewardsmith.worlds.streams import Streams, sample_index
from rewardsmith.worlds.tone_models import (
    NEUTRAL,
    Preferences,
    TonedScores,
    ToneModels,
    ToneWorld,
    preference_loss,
    prefers_confidence,
    toned_scores,
    train_tone_models,
)

__all__ = [
    "NEUTRAL",
    "ArithmeticLM",
    "ChainDraws",
    "ChainGold",
    "ChainSums",
    "Credit",
    "Exploited",
    "FlawDetector",
    "HeteroRM",
    "JudgedAnswers",
    "Judges",
    "KnownPosterior",
    "LengthBandit",
    "LengthDraws",
    "LineScores",
    "LongSums",
    "MixedPool",
    "MixedPrompts",
    "PolicyAtKL",
    "Preferences",
    "PropertyPool",
    "ResponsePool",
    "Rollouts",
    "ShortcutChain",
    "SmudgedSums",
    "StatedPolicy",
    "StatedRollouts",
    "StepChain",
    "Streams",
    "Sums",
    "Task",
    "ToneModels",
    "ToneWorld",
    "TonedJudge",
    "TonedScores",
    "Training",
    "Truth",
    "VerboseJudge",
    "arithmetic_gold",
    "best_of_n_curve",
    "committed_number_reward",
    "expected",
    "exploit_keys",
    "final_answer_reward",
    "first_number_reward",
    "judge_reward",
    "kl",
    "last_number_reward",
    "line_format_reward",
    "policy_at_kl",
    "policy_gradient",
    "preference_loss",
    "prefers_confidence",
    "sample_index",
    "substring_reward",
    "tilted_policy",
    "toned_scores",
    "train_chains",
    "train_judges",
    "train_stated",
    "train_tone_models",
]
