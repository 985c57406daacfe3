"""Small worlds with an exact gold reward and a proxy of known flaw."""

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
from rewardsmith.worlds.batched_gpt import BatchedGPT
from rewardsmith.worlds.batched_mlp import BatchedMLP, batched_linear
from rewardsmith.worlds.chain_training import Credit, Training, policy_gradient, train_chains
from rewardsmith.worlds.concept_language import ConceptLanguage, Encoder, WordModels, WordPairs, WordReward, words_of
from rewardsmith.worlds.heavy_tails import HeavyTails, member_scores, score_pool
from rewardsmith.worlds.judged_answers import (
    Exploited,
    JudgedAnswers,
    Judges,
    exploit_keys,
    judge_reward,
    train_judges,
)
from rewardsmith.worlds.known_posterior import KnownPosterior, StatedPolicy, StatedRollouts, train_stated
from rewardsmith.worlds.preference_world import Pairs, PreferenceWorld, margins, pair_accuracy, train_pairs
from rewardsmith.worlds.response_pool import (
    PolicyAtKL,
    ResponsePool,
    best_of_n,
    expected,
    kl,
    policy_at_kl,
    tilted_policy,
)
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

__all__ = [
    "ArithmeticLM",
    "BatchedGPT",
    "BatchedMLP",
    "ChainGold",
    "ChainSums",
    "ConceptLanguage",
    "Credit",
    "Encoder",
    "Exploited",
    "FlawDetector",
    "HeavyTails",
    "JudgedAnswers",
    "Judges",
    "KnownPosterior",
    "LineScores",
    "LongSums",
    "MixedPrompts",
    "Pairs",
    "PolicyAtKL",
    "PreferenceWorld",
    "ResponsePool",
    "Rollouts",
    "SmudgedSums",
    "StatedPolicy",
    "StatedRollouts",
    "StepChain",
    "Streams",
    "Sums",
    "Task",
    "TonedJudge",
    "Training",
    "Truth",
    "VerboseJudge",
    "WordModels",
    "WordPairs",
    "WordReward",
    "arithmetic_gold",
    "batched_linear",
    "best_of_n",
    "committed_number_reward",
    "expected",
    "exploit_keys",
    "final_answer_reward",
    "first_number_reward",
    "judge_reward",
    "kl",
    "last_number_reward",
    "line_format_reward",
    "margins",
    "member_scores",
    "pair_accuracy",
    "policy_at_kl",
    "policy_gradient",
    "sample_index",
    "score_pool",
    "substring_reward",
    "tilted_policy",
    "train_chains",
    "train_judges",
    "train_pairs",
    "train_stated",
    "words_of",
]
