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
from rewardsmith.worlds.causal_style import AnswerBank, CausalStyle, StyledPairs
from rewardsmith.worlds.chain_training import Credit, Training, policy_gradient, train_chains
from rewardsmith.worlds.concept_language import ConceptLanguage, Encoder, WordModels, WordPairs, WordReward, words_of
from rewardsmith.worlds.contextual_tastes import ContextualTastes, TastePairs, told
from rewardsmith.worlds.critic_gpt import (
    BAD,
    GOOD,
    READ,
    CriticGPT,
    DigitPairs,
    DigitTask,
    critic_scores,
    train_critics,
    written_critiques,
)
from rewardsmith.worlds.gaussian_heads import GaussianHeads, GaussianScores, fit_heads, head_scores
from rewardsmith.worlds.heavy_tails import HeavyTails, member_scores, score_pool
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
from rewardsmith.worlds.preference_world import Pairs, PreferenceWorld, margins, pair_accuracy, train_pairs
from rewardsmith.worlds.pretrained_bodies import finetune_heads, pretrain_bodies
from rewardsmith.worlds.property_pool import PropertyPool
from rewardsmith.worlds.response_pool import (
    PolicyAtKL,
    ResponsePool,
    best_of_n,
    expected,
    kl,
    policy_at_kl,
    tilted_policy,
)
from rewardsmith.worlds.segment_task import Aspects, Outputs, SegmentTask, Worth, train_segments
from rewardsmith.worlds.segmented_responses import BestOf, SegmentedResponses
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
from rewardsmith.worlds.two_forms import FormPairs, Forms, TwoForms, pretrain

__all__ = [
    "BAD",
    "GOOD",
    "NEUTRAL",
    "READ",
    "AnswerBank",
    "ArithmeticLM",
    "Aspects",
    "BatchedGPT",
    "BatchedMLP",
    "BestOf",
    "CausalStyle",
    "ChainDraws",
    "ChainGold",
    "ChainSums",
    "ConceptLanguage",
    "ContextualTastes",
    "Credit",
    "CriticGPT",
    "DigitPairs",
    "DigitTask",
    "Encoder",
    "Exploited",
    "FlawDetector",
    "FormPairs",
    "Forms",
    "GaussianHeads",
    "GaussianScores",
    "HeavyTails",
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
    "Outputs",
    "Pairs",
    "PolicyAtKL",
    "PreferenceWorld",
    "Preferences",
    "PropertyPool",
    "ResponsePool",
    "Rollouts",
    "SegmentTask",
    "SegmentedResponses",
    "ShortcutChain",
    "SmudgedSums",
    "StatedPolicy",
    "StatedRollouts",
    "StepChain",
    "Streams",
    "StyledPairs",
    "Sums",
    "Task",
    "TastePairs",
    "ToneModels",
    "ToneWorld",
    "TonedJudge",
    "TonedScores",
    "Training",
    "Truth",
    "TwoForms",
    "VerboseJudge",
    "WordModels",
    "WordPairs",
    "WordReward",
    "Worth",
    "arithmetic_gold",
    "batched_linear",
    "best_of_n",
    "committed_number_reward",
    "critic_scores",
    "expected",
    "exploit_keys",
    "final_answer_reward",
    "finetune_heads",
    "first_number_reward",
    "fit_heads",
    "head_scores",
    "judge_reward",
    "kl",
    "last_number_reward",
    "line_format_reward",
    "margins",
    "member_scores",
    "pair_accuracy",
    "policy_at_kl",
    "policy_gradient",
    "preference_loss",
    "prefers_confidence",
    "pretrain",
    "pretrain_bodies",
    "sample_index",
    "score_pool",
    "substring_reward",
    "tilted_policy",
    "told",
    "toned_scores",
    "train_chains",
    "train_critics",
    "train_judges",
    "train_pairs",
    "train_segments",
    "train_stated",
    "train_tone_models",
    "words_of",
    "written_critiques",
]
