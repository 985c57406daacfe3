"""Judges: a language model reads the completion, or each of its steps, and says what it thinks of it."""

from rewardsmith.rewards.judges.chat import ChatBackend
from rewardsmith.rewards.judges.first_error import (
    NO_ERROR,
    FirstErrorJudge,
    first_error_index,
    first_error_messages,
    localization_reward,
)
from rewardsmith.rewards.judges.principles import (
    PRINCIPLES,
    Judgement,
    PrincipleJudge,
    parse_judgements,
    principle_format,
    principle_messages,
    principle_score,
)
from rewardsmith.rewards.judges.reference import ReferenceJudge, reference_messages
from rewardsmith.rewards.judges.verdict import verdict
from rewardsmith.rewards.judges.wire import JudgeError

__all__ = [
    "NO_ERROR",
    "PRINCIPLES",
    "ChatBackend",
    "FirstErrorJudge",
    "JudgeError",
    "Judgement",
    "PrincipleJudge",
    "ReferenceJudge",
    "first_error_index",
    "first_error_messages",
    "localization_reward",
    "parse_judgements",
    "principle_format",
    "principle_messages",
    "principle_score",
    "reference_messages",
    "verdict",
]
