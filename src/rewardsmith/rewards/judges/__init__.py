"""Judges: a language model reads the completion and says YES or NO."""

from rewardsmith.rewards.judges.chat import ChatBackend, JudgeError
from rewardsmith.rewards.judges.reference import ReferenceJudge, reference_messages
from rewardsmith.rewards.judges.verdict import verdict

__all__ = ["ChatBackend", "JudgeError", "ReferenceJudge", "reference_messages", "verdict"]
