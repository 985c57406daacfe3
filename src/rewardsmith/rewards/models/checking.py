"""Try a loaded model on a few rows: a batch must give the same scores as the model's own plain forward."""

from __future__ import annotations

import math
from typing import Any

from rewardsmith.errors import TargetError
from rewardsmith.rewards.models.base import lists
from rewardsmith.rewards.models.behavior import evaluating
from rewardsmith.rewards.models.comparing import Spread
from rewardsmith.rewards.models.encoding import BEYOND, Encoded
from rewardsmith.rewards.models.implicit import ImplicitReward
from rewardsmith.rewards.models.pairwise import PairwiseReward
from rewardsmith.rewards.models.reference import ReferenceReward
from rewardsmith.rewards.models.scanning import Output, Scanner, read_at
from rewardsmith.rewards.models.sequence import SequenceReward
from rewardsmith.rewards.models.steps import StepReward
from rewardsmith.scoring.calling import Unscored

PROMPTS = ["1 + 2 = ", "Tell me what two and two make, and say why. ", "Hello. ", "Name one: ", "Why? ", "2 + 2 = "]
COMPLETIONS = ["3", "Two and two make 4, as one can count.", "Good day to you, and to all.", "", "Because.", "5 4 3 2"]
"""Texts of unequal length, so that all rows but one are padded."""
ROUNDINGS = 4
"""A model is refused if its scores differ by more than this many times the usual rounding."""


def check_scores(where: str, reward: Any) -> None:
    """Compare the scores of a few rows in a batch with the model's own forward on each row alone.

    Raises:
        TargetError: they differ by more than rounding, or none is finite.
        ValueError: the rows have a token that the model does not know.
    """
    import torch

    reward = reward.reading if isinstance(reward, PairwiseReward | ReferenceReward) else reward
    steps = [[text, PROMPTS[0]] for text in COMPLETIONS]
    try:
        encoded = reward.encode(PROMPTS, steps if isinstance(reward, StepReward) else COMPLETIONS)
    except ValueError:
        if getattr(reward, "chat", None):  # there is no template, and the caller may set one
            return
        raise
    if unknown := [row.why for row in encoded if isinstance(row, Unscored) and BEYOND in row.why]:
        raise ValueError(unknown[0])
    rows = [row for row in encoded if not isinstance(row, Unscored)]
    for scanner in (reward.scanner, *([reward.reference_scanner] if isinstance(reward, ImplicitReward) else [])):
        right: list[list[float]] = []  # each row's numbers without padding, mask or cache
        for row in rows:
            device = scanner.model.device
            ids = torch.tensor([row.ids.tolist()], device=device)
            types = {} if row.types is None else {"token_type_ids": torch.tensor([row.types.tolist()], device=device)}
            with torch.inference_mode(), evaluating(scanner.model):
                if isinstance(reward, SequenceReward):  # a classifier runs its whole forward
                    right += lists(Output(scanner.model, "logits")(input_ids=ids, **types)[:, 0])
                else:
                    right += reward.read(read_at(scanner.body(input_ids=ids, **types), [row], [0]), [row])
        if rows and not any(math.isfinite(value) for own in right for value in own):
            raise TargetError(
                f"load_reward_model: {where} gives {right[0][:3]} and no finite number in any of {len(rows)} rows. Its "
                "weights are broken or too large for their precision: save it anew, or pass dtype='float32'."
            )
        if wrong := _wrong(reward, scanner, rows, right):
            scanner.read_alone()  # padding may matter where the pass's own check did not show it
            wrong = _wrong(reward, scanner, rows, right)
        for row, values, own in wrong[:1]:
            difference = max(abs(a - b) for a, b in zip(values, own, strict=True))
            raise TargetError(
                f"load_reward_model: {where} scores a row of {len(row.ids)} tokens {values} here, and its own "
                f"forward gives {own}, a difference of {difference:.2g}. Do not use these scores. Please report "
                f"{type(scanner.model).__name__} and your version of transformers."
            )


def _wrong(reward: Any, scanner: Scanner, rows: list[Encoded], right: list[list[float]]) -> list[Any]:
    """Return the rows whose numbers are wrong, with the found and the right ones."""
    return [
        (row, values, own)
        for row, values, own in zip(rows, scanner.run(rows, reward.read), right, strict=True)
        if not Spread().near([values], [own], right, scanner.model.dtype, times=ROUNDINGS)
    ]
