"""Recipes called row by row: the columns that the sources need, and their scores."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from rewardsmith.data.rows import number_columns
from rewardsmith.scoring.sync_async import finished

_GIVEN = frozenset(("prompts", "completions", "completion_ids", "trainer_state", "log_extra", "log_metric", "steps"))
"""Arguments of a trainer that are no columns of the rows."""


def signature_for(rewards: Iterable[Any], columns: Iterable[str]) -> inspect.Signature:
    """Return the signature of a recipe, with the columns that its sources need, as any reward has one."""
    kinds = inspect.Parameter
    asked: dict[str, inspect.Parameter] = {}
    for reward in rewards:
        try:
            parameters = inspect.signature(reward).parameters
        except (TypeError, ValueError):  # a model id or a built-in
            continue
        for name, parameter in parameters.items():
            if name not in _GIVEN and parameter.kind in (kinds.POSITIONAL_OR_KEYWORD, kinds.KEYWORD_ONLY):
                asked.setdefault(name, parameter.replace(kind=kinds.KEYWORD_ONLY))
    for name in columns:
        asked.setdefault(name, kinds(name, kinds.KEYWORD_ONLY))
    first = [kinds(name, kinds.KEYWORD_ONLY) for name in ("prompts", "completions")]
    return inspect.Signature([*first, *asked.values(), kinds("columns", kinds.VAR_KEYWORD)])


def progress_of(trainer_state: Any, device: torch.device | None = None) -> dict[str, Tensor]:
    """Return `global_step` and its share of `max_steps`, `progress`, as scalars; both 0 before training.

    >>> from types import SimpleNamespace
    >>> progress_of(SimpleNamespace(global_step=5, max_steps=20))
    {'global_step': tensor(5.), 'progress': tensor(0.2500)}
    """
    step = float(trainer_state.global_step)
    share = step / max(trainer_state.max_steps, 1)
    return {name: torch.tensor(n, device=device) for name, n in (("global_step", step), ("progress", share))}


def row_context(sources: Mapping[str, Any], rows: Mapping[str, Any]) -> dict[str, Any]:
    """Return by name every source's scores, every numeric column, and what the trainer knows of the rows and the run.

    `lengths` in tokens come with the trainer's ids, `global_step` and `progress` with its state.
    Scores are (B,) float64, NaN where a source gave None; async sources run at the same time.
    """
    uncallable = [name for name, reward in sources.items() if not callable(reward) or hasattr(reward, "forward")]
    if uncallable:
        raise TypeError(
            f"recipe: source {uncallable[0]!r} is a model, which only a trainer can score. Train the recipe with "
            "rewardsmith.engines.trl.GRPOTrainer, or wrap the model in a reward function."
        )
    n_rows = len(rows["completions"])
    columns = {
        name: values
        for name, values in rows.items()
        if name not in _GIVEN and isinstance(values, list) and len(values) == n_rows
    }
    context: dict[str, Tensor] = {}
    if (ids := rows.get("completion_ids")) is not None:
        context["lengths"] = torch.tensor([float(len(row)) for row in ids], dtype=torch.float64)
    if (state := rows.get("trainer_state")) is not None:
        context |= progress_of(state)
    context |= number_columns(columns)
    for name, scores in finished({name: reward(**rows) for name, reward in sources.items()}).items():
        if len(scores) != n_rows:
            raise ValueError(
                f"recipe: source {name!r} returned {len(scores)} scores for {n_rows} completions. Return one per row."
            )
        known = [math.nan if score is None else float(score) for score in scores]
        context[name] = torch.tensor(known, dtype=torch.float64)
    return context
