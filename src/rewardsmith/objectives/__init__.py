"""Scores or log-probabilities in, unreduced loss out. Losses that TRL has are TRL's; here are those it lacks."""

from rewardsmith.objectives.reward_model import (
    combined_confidence_loss,
    confidence_calibration_loss,
    crossed_confidence_loss,
    ranked_confidence_loss,
)

__all__ = [
    "combined_confidence_loss",
    "confidence_calibration_loss",
    "crossed_confidence_loss",
    "ranked_confidence_loss",
]
