"""Training loops shared by worlds and pages: Adam over many models at once, and the gradient of a policy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor


def adam_steps(
    parameters: Iterable[Tensor] | Iterable[dict[str, Any]],
    n: int,
    *,
    learning_rate: float,
    weight_decay: float = 0.0,
    betas: tuple[float, float] = (0.9, 0.999),
    warm_up: int | None = None,
    maximize: bool = False,
    fused: bool = True,
) -> Iterator[int]:
    """Yield the numbers of n steps; the body leaves gradients in `parameters`, and AdamW then follows them.

    Seeds and arms are dimensions of one tensor. The body sums their losses, so that each model gets the gradient that
    it would get alone; Adam's update is elementwise. Without weight decay AdamW is Adam. Do not `break`: the step of
    that pass would be missing.

    Args:
        parameters: tensors, or groups with a learning rate of their own, as `torch.optim` takes them.
        learning_rate, weight_decay, betas: of AdamW.
        warm_up: the rate is multiplied by min((step + 1)/warm_up, 1 − step/n): it rises, then falls. Constant if None.
        maximize: ascend, as policies do along their gradient.
        fused: one call for all parameters. It is faster, and its last digit differs.

    >>> x = torch.zeros(1)
    >>> for _ in adam_steps([x], 50, learning_rate=0.1):
    ...     x.grad = x - 1.0
    >>> x.round(decimals=1)
    tensor([1.])
    """
    optimizer = torch.optim.AdamW(
        parameters, lr=learning_rate, weight_decay=weight_decay, betas=betas, maximize=maximize, fused=fused
    )
    rates = [group["lr"] for group in optimizer.param_groups]
    for step in range(n):
        if warm_up is not None:
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * min((step + 1) / max(warm_up, 1), 1 - step / n)
        optimizer.zero_grad()
        yield step
        optimizer.step()


def logit_gradient(policy: Tensor, drawn: Tensor, credit: Tensor) -> Tensor:
    """Return the gradient of Σ credit · log π(drawn) by the logits of a softmax policy.

        ∂/∂θ_k Σ_g A_g log π(a_g) = Σ_g A_g 1[a_g = k] − π_k Σ_g A_g

    Args:
        policy: (..., K) probabilities π.
        drawn: (..., G) int64, what was drawn from each row.
        credit: (..., G) advantages A, already divided by any number that they are averaged over.

    Returns:
        (..., K).
    """
    return torch.zeros_like(policy).scatter_add(-1, drawn, credit) - policy * credit.sum(dim=-1, keepdim=True)


def table_gradient(policy: Tensor, row: Tensor, drawn: Tensor, credit: Tensor) -> Tensor:
    """Return the gradient of `logit_gradient` where each draw has its own row of the policy's table.

    Args:
        policy: (S, A, R, K) probabilities.
        row, drawn: (S, A or 1, ...) int64 row of the table, and what was drawn from it.
        credit: (S, A, ...) advantages.

    Returns:
        (S, A, R, K).
    """
    cell = (row * policy.shape[-1] + drawn).flatten(2)
    pull = torch.zeros_like(policy).flatten(2).scatter_add(-1, cell, credit.flatten(2)).view_as(policy)
    return pull - policy * pull.sum(dim=-1, keepdim=True)
