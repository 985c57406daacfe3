"""A loaded model is tried on a few rows: what it scores in a batch is what its own plain forward gives."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from rewardsmith.errors import TargetError
from rewardsmith.rewards.models.agreement import Spread
from rewardsmith.rewards.models.behavior import evaluating
from rewardsmith.rewards.models.encoding import BEYOND, Encoded
from rewardsmith.rewards.models.implicit import ImplicitReward
from rewardsmith.rewards.models.pairwise import PairwiseReward
from rewardsmith.rewards.models.scanning import Read, Scanner, read_at
from rewardsmith.rewards.models.sequence import Pooled, SequenceReward, numbers
from rewardsmith.rewards.models.steps import StepReward
from rewardsmith.scoring.calling import Unscored

if TYPE_CHECKING:
    from torch import Tensor

logger = logging.getLogger(__name__)

PROMPTS = ["1 + 2 = ", "Tell me what two and two make, and say why. ", "Hello. ", "Name one: ", "Why? ", "2 + 2 = "]
COMPLETIONS = ["3", "Two and two make 4, as one can count.", "Good day to you, and to all.", "", "Because.", "5 4 3 2"]
"""Of unequal length, so that all rows but one are padded."""
ROUNDINGS = 4
"""A model is refused where its scores differ by this many times what passes of one row may."""


class _Trial(NamedTuple):
    """scanner, read: how the reward gets a row's numbers. body, own: how the model's plain forward gives the same."""

    scanner: Scanner
    read: Read
    body: Callable[..., Tensor]
    own: Read


def check_scores(where: str, reward: Any) -> None:
    """Compare the numbers of a few rows, read together, with those of the model's own forward of each of them alone.

    Raises:
        TargetError: they differ by more than rounding, or none is finite.
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
        right = [_plain(trial, row) for row in rows]
        if rows and not any(math.isfinite(value) for own in right for value in own):
            raise TargetError(
                f"load_reward_model: {where} gives {right[0][:3]} and no finite number in any of {len(rows)} rows. Its "
                "weights are broken or too large for their precision: save it anew, or pass dtype='float32'."
            )
        if wrong := _wrong(trial, rows, right):
            trial.scanner.read_alone()  # padding may reach what its witness has not shown
            wrong = _wrong(trial, rows, right)
        for row, values, own in wrong[:1]:
            difference = max(abs(a - b) for a, b in zip(values, own, strict=True))
            raise TargetError(
                f"load_reward_model: {where} scores a row of {len(row.ids)} tokens {values} here, and its own "
                f"forward gives {own}: they differ by {difference:.2g}. Please report the model's class, "
                f"{type(model).__name__}, and your version of transformers; its scores cannot be trusted."
            )


def _wrong(trial: _Trial, rows: Sequence[Encoded], right: list[list[float]]) -> list[Any]:
    """The rows whose numbers are not the right ones, with both."""
    found, dtype = trial.scanner.run(rows, trial.read), trial.scanner.model.dtype
    return [
        (row, values, own)
        for row, values, own in zip(rows, found, right, strict=True)
        if not Spread().near([values], [own], right, dtype, times=ROUNDINGS)
    ]


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
