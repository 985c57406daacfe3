"""Process rewards: completions cut into steps, scored on their own process, gathered as (B, N) of all processes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from accelerate.utils import gather, pad_across_processes
from torch import Tensor

from rewardsmith.engines.process import Segment, cut, flat_scores
from rewardsmith.scoring import to_trl
from rewardsmith.scoring.sync_async import finished
from rewardsmith.types import ProcessReward


class GatheredSteps(NamedTuple):
    """Steps of the completions of all processes.

    rewards: name of each process reward → (B, N) scores, NaN where unscored and where there is no step.
    mask: (B, N) True where a completion has a complete step.
    ends: (B, N) index of a step's last token; 0 where masked.
    infinite: how many raw scores were ±inf, which `rewards` holds as NaN.
    """

    rewards: dict[str, Tensor]
    mask: Tensor
    ends: Tensor
    infinite: int


class StepScorer:
    """Scorer of the steps of this process's completions; gathers the scores of all processes."""

    def __init__(
        self, caller: str, process_rewards: Mapping[str, ProcessReward] | ProcessReward, *, segment: Segment
    ) -> None:
        if callable(process_rewards):
            process_rewards = {to_trl(process_rewards).__name__: process_rewards}
        if not process_rewards or not isinstance(process_rewards, Mapping):
            raise TypeError(
                f"{caller}: process_rewards is {process_rewards!r}. Pass a function, or a mapping of name to function."
            )
        self.process_rewards = dict(process_rewards)
        self.segment = segment
        self._loop: asyncio.AbstractEventLoop | None = None

    def __call__(
        self,
        arguments: Mapping[str, Any],
        *,
        complete: Sequence[bool],
        decode: Callable[[list[int]], str],
        device: torch.device,
    ) -> GatheredSteps:
        """Score the steps.

        Args:
            arguments: this process's rows, as TRL passes them to a reward; `completion_ids` among them.
            complete: per row, False where the completion was cut off.
            decode: token ids to text.
        """
        ids = arguments["completion_ids"]
        table = cut(self.segment, ids, decode, complete=complete)
        mask = torch.tensor(table.step_mask, dtype=torch.bool)
        given = {**arguments, "steps": [list(row) for row in table.steps]}
        results = finished({name: reward(**given) for name, reward in self.process_rewards.items()}, self._run)
        scores = torch.full((*mask.shape, len(results)), torch.nan)
        for source, (name, result) in enumerate(results.items()):
            scores[..., source][mask] = torch.tensor(flat_scores(name, result, table.steps))
        scores = _gathered(scores.to(device), pad_index=torch.nan)
        places = torch.stack([torch.tensor(table.step_ends, dtype=torch.long), mask.long()], dim=2).to(device)
        ends, counts = _gathered(places, pad_index=0).unbind(dim=2)
        infinite = scores.isinf()
        by_name = scores.masked_fill(infinite, torch.nan).unbind(dim=2)
        return GatheredSteps(dict(zip(results, by_name, strict=True)), counts.bool(), ends, int(infinite.sum()))

    def _run(self, coroutine: Any) -> Any:
        """Return the coroutine's result from one persistent loop, to which an async client's connections belong."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            threading.Thread(target=self._loop.run_forever, name="rewardsmith-steps", daemon=True).start()
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()


def _gathered(local: Tensor, *, pad_index: float) -> Tensor:
    """Gather (B, N, ...) over all processes, with N the largest of theirs."""
    every: Tensor = gather(pad_across_processes(local, dim=1, pad_index=pad_index))
    return every
