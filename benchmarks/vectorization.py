"""What the components of steps and tokens cost, in units of one read and write of their inputs.

One pass copies every input tensor once; where the result is larger than each of them, it also writes a tensor of the
result's size. Both arms run on one thread, take turns, and are timed in CPU time, which leaves out what other processes
do. Freed memory is kept, so that neither arm pays the operating system for fresh pages.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks.ratios import Ratio, ratio
from rewardsmith.advantages import (
    broadcast_to_tokens,
    min_form_weights,
    scatter_steps,
    spread_steps,
    step_credit,
    step_returns,
    token_leave_one_out,
)
from rewardsmith.transforms import clip_steps, combine_process_outcome, delta_steps, gated_step_sum, renorm

N_ROWS, N_TOKENS, GROUP, REPEATS, PASSES = 4096, 1024, 8, 9, 4
FEW_STEPS = 64
"""Steps per row where tokens and steps are told apart; elsewhere every token is a step."""


class Batch(NamedTuple):
    """Rows of at least half the full width, left-aligned, step rewards NaN behind the last step."""

    rewards: Tensor
    step_rewards: Tensor
    step_mask: Tensor
    step_ends: Tensor
    step_lengths: Tensor
    completion_mask: Tensor


class Component(NamedTuple):
    """`function(*inputs)` is timed over one pass over `inputs`."""

    what: str
    function: Callable[..., Tensor]
    inputs: tuple[Tensor, ...]
    shape: str


def measure(*, n_rows: int = N_ROWS, n_tokens: int = N_TOKENS, repeats: int = REPEATS) -> list[Ratio]:
    """CPU time of each component over that of one pass over its inputs."""
    _keep_freed_memory()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return [_compared(component, repeats) for component in _components(n_rows, n_tokens)]
    finally:
        torch.set_num_threads(threads)


def _components(n_rows: int, n_tokens: int) -> list[Component]:
    wide = make_batch(n_rows, n_tokens, n_tokens)
    few = make_batch(n_rows, min(FEW_STEPS, n_tokens), n_tokens)
    scores, both = wide.step_rewards, (wide.step_rewards, wide.step_mask)
    shape = f"(B, N) = {tuple(scores.shape)}"
    with_outcome = (scores, wide.rewards, wide.step_mask)
    found = [
        Component("clip_steps", partial(clip_steps, threshold=0.5), both, shape),
        Component("delta_steps", delta_steps, both, shape),
        Component("delta_steps, terminal drop", partial(delta_steps, terminal="drop"), both, shape),
        Component("renorm", renorm, with_outcome, shape),
        *(
            Component(
                f"combine_process_outcome, {mode}", partial(combine_process_outcome, mode=mode), with_outcome, shape
            )
            for mode in ("sum", "broadcast", "renorm", "gate")
        ),
        Component("gated_step_sum", _gated, with_outcome, shape),
        *(
            Component(f"step_returns, {mode}", partial(step_returns, mode=mode), both, shape)
            for mode in ("sum", "min", "softmin", "mean", "max")
        ),
        Component("step_returns, sum with gamma 0.9", partial(step_returns, gamma=0.9), both, shape),
        Component("min_form_weights", min_form_weights, both, shape),
        Component(
            "token_leave_one_out",
            partial(token_leave_one_out, group_size=GROUP),
            (*both, wide.step_lengths),
            shape,
        ),
    ]
    for batch in (wide, few):
        shape = f"(B, N, T) = {(*batch.step_rewards.shape, n_tokens)}"
        placed = (batch.step_rewards, batch.step_ends, batch.step_mask)
        found += [
            Component("scatter_steps", partial(scatter_steps, n_tokens=n_tokens), placed, shape),
            Component("spread_steps", spread_steps, (*placed, batch.completion_mask), shape),
            *(
                Component(
                    f"step_credit, {mode}, baseline {baseline}",
                    partial(_credit, mode=mode, baseline=baseline),
                    (batch.rewards, *placed, batch.completion_mask),
                    shape,
                )
                for mode in ("sum", "softmin")
                for baseline in ("token", "group")
            ),
        ]
    tokens = f"(B, T) = {tuple(wide.completion_mask.shape)}"
    return [*found, Component("broadcast_to_tokens", broadcast_to_tokens, (wide.rewards, wide.completion_mask), tokens)]


def make_batch(n_rows: int, n_steps: int, n_tokens: int) -> Batch:
    """Random step rewards; N steps of equally many tokens, the last rows' steps cut off at random."""
    generator = torch.Generator().manual_seed(0)
    counts = torch.randint(n_steps // 2, n_steps + 1, (n_rows, 1), generator=generator)
    step_mask = torch.arange(n_steps) < counts
    length = n_tokens // n_steps
    return Batch(
        rewards=torch.randint(2, (n_rows,), generator=generator).float(),
        step_rewards=torch.rand(n_rows, n_steps, generator=generator).masked_fill(~step_mask, math.nan),
        step_mask=step_mask,
        step_ends=(torch.arange(1, n_steps + 1) * length - 1) * step_mask,
        step_lengths=length * step_mask.long(),
        completion_mask=torch.arange(n_tokens) < counts * length,
    )


def _gated(scores: Tensor, rewards: Tensor, step_mask: Tensor) -> Tensor:
    return gated_step_sum([scores, rewards], step_mask, thresholds=[0.0, 0.0]).step_rewards


def _credit(
    rewards: Tensor, step_rewards: Tensor, step_ends: Tensor, step_mask: Tensor, completion_mask: Tensor, **options: Any
) -> Tensor:
    return step_credit(
        rewards,
        step_rewards=step_rewards,
        step_mask=step_mask,
        step_ends=step_ends,
        completion_mask=completion_mask,
        group_size=GROUP,
        outcome_weight=1.0,
        **options,
    )


def _compared(component: Component, repeats: int) -> Ratio:
    result = component.function(*component.inputs)
    extra = () if any(x.nbytes >= result.nbytes for x in component.inputs) else (result,)
    arms: list[Callable[[], object]] = [
        lambda: [_pass(component.inputs, extra) for _ in range(PASSES)],
        lambda: component.function(*component.inputs),
    ]
    seconds: list[list[float]] = [[], []]
    for repeat in range(-1, repeats):  # the first round warms up
        for arm in (0, 1) if repeat % 2 else (1, 0):
            start = time.thread_time()
            arms[arm]()
            seconds[arm].append(time.thread_time() - start)
    ratios = [PASSES * mine / copied for copied, mine in zip(seconds[0][1:], seconds[1][1:], strict=True)]
    return ratio(component.what, "one pass over its inputs", ratios, note=component.shape)


def _pass(inputs: tuple[Tensor, ...], written: tuple[Tensor, ...]) -> list[Tensor]:
    return [*(x.clone() for x in inputs), *(torch.zeros_like(x) for x in written)]


def _keep_freed_memory() -> None:
    """Let glibc reuse freed memory in place of returning it; elsewhere do nothing."""
    mallopt = getattr(ctypes.CDLL(ctypes.util.find_library("c")), "mallopt", None)
    if mallopt is not None:
        m_trim_threshold, m_mmap_threshold = -1, -3
        mallopt(m_mmap_threshold, 2**30)
        mallopt(m_trim_threshold, 2**31 - 1)
