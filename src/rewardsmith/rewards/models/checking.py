"""A loaded model is tried on two rows: what it scores in a batch is what its own plain forward gives."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from rewardsmith.errors import TargetError
from rewardsmith.rewards.calling import Unscored
from rewardsmith.rewards.models.behavior import evaluating
from rewardsmith.rewards.models.pairwise import PairwiseReward
from rewardsmith.rewards.models.sequence import Pooled, SequenceReward

if TYPE_CHECKING:
    from rewardsmith.rewards.models.encoding import Encoded

logger = logging.getLogger(__name__)

PROBE = (["1 + 2 = ", "Tell me what two and two make, and say why. "], ["3", "Two and two make 4, as one can count."])
"""Prompts and completions, of unequal length so that one of them is padded."""


def check_scores(where: str, reward: Any) -> None:
    """Compare the scores of two rows, read together, with the logits that the model gives each of them alone.

    Raises:
        TargetError: they differ by more than rounding.
    """
    reward = reward.reading if isinstance(reward, PairwiseReward) else reward
    if not isinstance(reward, SequenceReward):
        return
    try:
        rows = [row for row in reward.reader.encode(*PROBE) if not isinstance(row, Unscored)]
    except ValueError:  # without a template, only strings can be read, and the rows to come may be strings
        return
    found = reward.reader.scanner.run(rows, reward.reader.read)
    far = 0.2 if reward.model.dtype.itemsize < 4 else 1e-3  # half precision depends on the shape of the batch
    for row, values in zip(rows, found, strict=True):
        own = _plain(reward, row)
        difference = max((abs(a - b) for a, b in zip(values, own, strict=True)), default=0.0)
        if difference > far * max(1.0, *map(abs, own)):
            raise TargetError(
                f"load_reward_model: {where} scores a row of {len(row.ids)} tokens {values} here, and its own forward "
                f"gives {own}: they differ by {difference:.2g}. Please report the model's class, "
                f"{type(reward.model).__name__}, and your version of transformers; its scores cannot be trusted."
            )


def _plain(reward: SequenceReward, row: Encoded) -> list[float]:
    """The logits of one row without padding, mask or cache."""
    import torch

    ids = torch.tensor([row.ids.tolist()], device=reward.model.device)
    types = {} if row.types is None else {"token_type_ids": torch.tensor([row.types.tolist()], device=ids.device)}
    with torch.inference_mode(), evaluating(reward.model):
        logits: list[float] = Pooled(reward.model)(input_ids=ids, **types)[0, 0].double().tolist()
    return logits
