"""A trial of a recipe on a few made-up rows when it is built, so that its errors do not wait for training."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rewardsmith.describe import function_of, keywords_of, name_of
from rewardsmith.recipes.terms import Applied, Column, StepSource, Term, apply
from rewardsmith.types import named_by

_N_STEPS = 3


def check_runs(terms: Sequence[Term], *, roots: Sequence[Term | None]) -> None:
    """Raise TypeError for the first transform that fails on all made-up values, or has the wrong shape at a root.

    A transform is called on a copy of itself, with scores of several kinds: 0 and 1, between them, below 0, all equal.
    It fails if each kind fails. A transform of a column of the rows, whose shape is not known, is not tried.
    """
    sizes = [keywords_of(term.function).get("group_size") for term in terms if isinstance(term, Applied)]
    group = math.lcm(2, *(size for size in sizes if isinstance(size, int) and 0 < size < 1000))
    faults = [_faults(terms, kind, group, {id(root) for root in roots}) for kind in _KINDS]
    for term in terms:
        if isinstance(term, Applied) and all(id(term) in found for found in faults):
            shape = "(B, N) step rewards" if term.kind == "steps" else "(B,) rewards"
            raise TypeError(
                f"Recipe: {name_of(term.function)} cannot make {shape} of {', '.join(map(str, term.parts))}: "
                f"{faults[0][id(term)]} Check its arguments, or choose a transform for this shape."
            )


_KINDS: tuple[Callable[[Tensor], Tensor], ...] = (
    lambda noise: (noise > 0.5).to(noise),
    lambda noise: noise,
    lambda noise: -noise,
    lambda noise: 2.0 * (noise > 0.5) - 1.0,
    torch.zeros_like,
)


def _faults(terms: Sequence[Term], kind: Callable[[Tensor], Tensor], group: int, roots: set[int]) -> dict[int, str]:
    """Return by identity the fault of each transform on values of one kind; terms behind a fault are not tried."""
    n_rows = 2 * group
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        return kind(torch.rand(shape, generator=generator))

    mask = torch.ones(n_rows, _N_STEPS, dtype=torch.bool)
    offered: dict[str, Any] = {
        "group_size": group,
        "lengths": torch.full((n_rows,), float(_N_STEPS)),
        "truncated": torch.zeros(n_rows, dtype=torch.bool),
        "completion_mask": mask,
        "step_mask": mask,
        "step_ends": torch.arange(_N_STEPS).expand(n_rows, _N_STEPS),
        "global_step": torch.zeros(()),
        "progress": torch.zeros(()),
    }
    values: dict[int, Tensor] = {}
    faults: dict[int, str] = {}
    for term in terms:
        if isinstance(term, Applied):
            if all(id(part) in values for part in term.inputs) and not _fitted(term.function):
                found = _tried(term, offered, values)
                shape = (n_rows, _N_STEPS) if term.kind == "steps" else (n_rows,)
                if isinstance(found, Tensor) and id(term) in roots and found.shape != shape:
                    found = f"it returns shape {tuple(found.shape)} for {shape}."
                if isinstance(found, Tensor):
                    values[id(term)] = found
                elif found:
                    faults[id(term)] = found
        elif not isinstance(term, Column):
            values[id(term)] = drawn(n_rows, _N_STEPS) if isinstance(term, StepSource) else drawn(n_rows)
    return faults


def _tried(term: Applied, offered: Mapping[str, Any], values: Mapping[int, Tensor]) -> Tensor | str | None:
    """Return the value, or its fault as text, or None where neither is known."""
    given = {name: values[id(part)] for name, part in term.given.items()}
    if named_by(term.function, {**offered, **given}).lacking:
        return None
    try:
        function = copy.deepcopy(term.function)  # a running mean must not count made-up rows
    except Exception:
        return None
    parts = [values[id(part)] for part in term.parts]
    try:
        found: Any = apply(function, parts, {**offered, **given})
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return found if isinstance(found, Tensor) else f"it returns {type(found).__name__}, which is no tensor."


def _fitted(function: Any) -> bool:
    """Return whether it holds tensors for particular rows, or on another device than made-up rows are."""
    bound = [value for value in keywords_of(function).values() if isinstance(value, Tensor)]
    function = function_of(function)
    held = [*function.parameters(), *function.buffers()] if isinstance(function, nn.Module) else []
    return any(tensor.ndim for tensor in bound) or any(tensor.device.type != "cpu" for tensor in [*bound, *held])
