"""A loaded model is tried on two rows: what it scores in a batch is what its own plain forward gives."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from rewardsmith.errors import TargetError
from rewardsmith.rewards.calling import Unscored
from rewardsmith.rewards.models.behavior import evaluating
from rewardsmith.rewards.models.encoding import BEYOND, Encoded
from rewardsmith.rewards.models.implicit import ImplicitReward
from rewardsmith.rewards.models.pairwise import PairwiseReward
from rewardsmith.rewards.models.scanning import Read, Scanner, read_at
from rewardsmith.rewards.models.sequence import Pooled, SequenceReward, numbers
from rewardsmith.rewards.models.steps import StepReward

if TYPE_CHECKING:
    from torch import Tensor

logger = logging.getLogger(__name__)

PROMPTS = ["1 + 2 = ", "Tell me what two and two make, and say why. "]
COMPLETIONS = ["3", "Two and two make 4, as one can count."]
"""Of unequal length, so that one row is padded."""


class _Trial(NamedTuple):
    """scanner, read: how the reward gets a row's numbers. body, own: how the model's plain forward gives the same."""

    scanner: Scanner
    read: Read
    body: Callable[..., Tensor]
    own: Read


def check_scores(where: str, reward: Any) -> None:
    """Compare the numbers of two rows, read together, with those of the model's own forward of each of them alone.

    Raises:
        TargetError: they differ by more than rounding.
        ValueError: the rows have a token that the model does not know.
    """
    reward = reward.reading if isinstance(reward, PairwiseReward) else reward
    try:
        encoded = _encoded(reward)
    except ValueError:
        if getattr(reward, "chat", None):  # there is no template, and the caller may set one
            return
        raise
    if unknown := [row.why for row in encoded if isinstance(row, Unscored) and BEYOND in row.why]:
        raise ValueError(unknown[0])
    rows = [row for row in encoded if not isinstance(row, Unscored)]
    for trial in _trials(reward):
        model = trial.scanner.model
        far = 0.2 if model.dtype.itemsize < 4 else 1e-3  # half precision depends on the shape of the batch
        for row, values in zip(rows, trial.scanner.run(rows, trial.read), strict=True):
            own = _plain(trial, row)
            difference = max((abs(a - b) for a, b in zip(values, own, strict=True)), default=0.0)
            if difference > far * max(1.0, *map(abs, own)):
                raise TargetError(
                    f"load_reward_model: {where} scores a row of {len(row.ids)} tokens {values} here, and its own "
                    f"forward gives {own}: they differ by {difference:.2g}. Please report the model's class, "
                    f"{type(model).__name__}, and your version of transformers; its scores cannot be trusted."
                )


def _encoded(reward: Any) -> Sequence[Encoded | Unscored]:
    if isinstance(reward, StepReward):
        return reward.encode(PROMPTS, [[text, PROMPTS[0]] for text in COMPLETIONS])
    found: Sequence[Encoded | Unscored] = reward.reader.encode(PROMPTS, COMPLETIONS)
    return found


def _trials(reward: Any) -> list[_Trial]:
    if isinstance(reward, StepReward):
        return [_Trial(reward.scanner, reward.read, reward.scanner.body, reward.read)]
    scanner, read = reward.reader.scanner, reward.reader.read
    if isinstance(reward, SequenceReward):
        return [_Trial(scanner, read, Pooled(reward.model), numbers)]
    scanners = [scanner, reward.reference_scanner] if isinstance(reward, ImplicitReward) else [scanner]
    return [_Trial(each, read, each.body, read) for each in scanners]


def _plain(trial: _Trial, row: Encoded) -> list[float]:
    """The numbers of one row without padding, mask or cache."""
    import torch

    model = trial.scanner.model
    ids = torch.tensor([row.ids.tolist()], device=model.device)
    types = {} if row.types is None else {"token_type_ids": torch.tensor([row.types.tolist()], device=ids.device)}
    with torch.inference_mode(), evaluating(model):
        [values] = trial.own(read_at(trial.body(input_ids=ids, **types), [row], [0]), [row])
    return values
