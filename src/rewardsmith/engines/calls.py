"""Calls of plain functions: arguments filled by parameter name, results checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rewardsmith.data.rows import number_columns
from rewardsmith.types import RewardBatch, needed_by

Stage = Callable[..., Tensor]


def context_of(batch: RewardBatch, measured: Mapping[str, Tensor] | None = None) -> dict[str, Any]:
    """Collect what a function may ask for by name: the batch's fields, `batch` itself, and every column.

    A column of numbers, or of equally many numbers per row, becomes a tensor (NaN for None) under its own name. The
    values in `columns` and `batch` stay as they are in the dataset. `step_rewards` is the (B, N) scores where one
    process reward gave some, and a mapping of name to scores where several did.

    Args:
        measured: what the engine counted, such as `lengths` (B,); a column of the same name takes precedence.
    """
    device = batch.source_rewards.device
    context = {
        **(measured or {}),
        **number_columns(batch.columns, device=device),
        "source_rewards": batch.source_rewards,
        "source_names": batch.source_names,
        "group_size": batch.group_size,
        "completion_mask": batch.completion_mask,
        "columns": batch.columns,
        "batch": batch,
    }
    if batch.step_mask is not None:
        scores = dict(batch.step_rewards)
        context["step_rewards"] = next(iter(scores.values())) if len(scores) == 1 else scores
        context |= {"step_mask": batch.step_mask, "step_ends": batch.step_ends}
    return context


def call(role: str, function: Stage, rewards: Tensor, context: Mapping[str, Any]) -> Tensor:
    """Call `function(rewards, ...)` with the context keywords that it names; `**keywords` receives all of them.

    A function whose first parameter is `source_rewards` gets the (B, K) sources instead of the (B,) rewards. Arguments
    bound by `functools.partial` stay bound.

    Raises:
        TypeError: it needs something that the batch does not have, or does not return a tensor.
    """
    first, given, _ = needed_by(role, function, context)
    result = function(context["source_rewards"] if first == "source_rewards" else rewards, **given)
    if not isinstance(result, Tensor):
        raise TypeError(f"{role}: {function!r} returned {type(result).__name__}. Return a tensor, one entry per row.")
    return result


def check_rows(role: str, function: Stage, result: Tensor, shapes: list[tuple[int, ...]], *, advice: str) -> Tensor:
    """Return `result` in float32, as TRL's rewards are; raise ValueError unless it has one of the shapes."""
    if tuple(result.shape) not in shapes:
        wanted = " or ".join(map(str, shapes))
        raise ValueError(f"{role}: {function!r} returned shape {tuple(result.shape)}, wanted {wanted}. {advice}")
    return result.to(torch.float32)


def transformed(transform: Stage | None, rewards: Tensor, context: Mapping[str, Any]) -> Tensor:
    """Return the rewards after `transform`, (B,), finite or NaN."""
    if transform is None:
        return rewards
    result = call("transform", transform, rewards, context)
    advice = "A transform maps (B,) or (B, K) rewards to (B,); end it with transforms.weighted_sum if it keeps K."
    result = check_rows("transform", transform, result, [tuple(rewards.shape)], advice=advice)
    if bool(result.isinf().any()):
        raise ValueError(
            f"transform: {transform!r} returned ±inf, which leaves whole groups without a signal. "
            "Bound it, for example with transforms.clip_rewards."
        )
    return result


class Credit(NamedTuple):
    """The advantages of a batch and the weights of its rows.

    advantages: (B,), or (B, T) where the function gave one per token; 0 where it left NaN or the filter drops a row.
    weights: (B,) from the filter, mean 1 over the kept rows; None without a filter.
    """

    advantages: Tensor
    weights: Tensor | None


def credited(
    advantage: Stage | Tensor,
    sample_filter: Stage | None,
    rewards: Tensor,
    context: Mapping[str, Any],
    *,
    penalized: Tensor | None = None,
    per_token: bool = True,
) -> Credit:
    """Compute the advantages of a gathered batch of transformed rewards, then filter its rows.

    Args:
        advantage: a function, or the trainer's own advantages, to which only the filter is applied.
        penalized: (B,) rewards for `advantage`, where they differ from those for the filter.
        per_token: whether the loss takes one advantage per token.
    """
    if isinstance(advantage, Tensor):
        advantages = advantage
    else:
        n_rows, n_tokens = context["completion_mask"].shape
        advantages = call("advantage", advantage, rewards if penalized is None else penalized, context)
        shapes: list[tuple[int, ...]] = [(n_rows,)]
        advice = "Return one advantage per row."
        if per_token:
            shapes.append((n_rows, n_tokens))
            advice = "Return one advantage per row, or one per row and token of completion_mask."
        elif tuple(advantages.shape) == (n_rows, n_tokens):
            advice = "This loss weighs whole sequences: return (B,), or use GRPOTrainer for (B, T)."
        advantages = check_rows("advantage", advantage, advantages, shapes, advice=advice)
        advantages = advantages.nan_to_num(nan=0.0, posinf=torch.inf, neginf=-torch.inf)
        if not bool(advantages.isfinite().all()):
            raise ValueError(f"advantage: {advantage!r} returned ±inf. Add an eps to its divisor.")
    if sample_filter is None:
        return Credit(advantages, None)
    weights = call("sample_filter", sample_filter, rewards, context)
    shape = [tuple(rewards.shape)]
    weights = check_rows("sample_filter", sample_filter, weights, shape, advice="Return one weight per row.")
    weights = filter_weights(sample_filter, weights)
    return Credit(advantages * (weights if advantages.dim() == 1 else weights[:, None]), weights)


def filter_weights(function: Stage, weights: Tensor) -> Tensor:
    """Scale weights (B,) to mean 1 over the kept rows: w_i · n_kept / Σ w, where kept means w > 0; all 0 stays 0.

    >>> filter_weights(lambda rewards: rewards, torch.tensor([0.0, 1.0, 3.0]))
    tensor([0.0000, 0.5000, 1.5000])
    """
    if not bool(weights.isfinite().all()) or bool((weights < 0).any()):
        raise ValueError(
            f"sample_filter: {function!r} returned weights that are negative or not finite. "
            "Return 0 for a row to drop and a positive weight for one to keep."
        )
    kept = (weights > 0).sum()
    return weights * (kept / weights.sum()) if bool(kept) else weights
