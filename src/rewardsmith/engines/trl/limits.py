"""Time limits for the rewards of a trainer: rewards that pickle run in worker processes, the others are named."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import math
import pickle
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from accelerate.utils import gather
from transformers import TrainerCallback

from rewardsmith.data import Row
from rewardsmith.errors import RewardsmithError
from rewardsmith.scoring import Scorer, Target
from rewardsmith.scoring.calling import is_model
from rewardsmith.scoring.contracts import is_async, signature_of

FAILURES = ("timeout", "crash", "exception")
"""Failures of a whole call, after which its rows are scored one by one."""
OF_THE_TRAINER = ("trainer_state", "log_extra", "log_metric", "environments")
"""Arguments that only the trainer's own process can pass to a reward."""
logger = logging.getLogger(__name__)


class TimedReward:
    """A reward in a worker process with a time limit, called as TRL calls it: all rows at once.

    If the call takes too long, crashes or raises, its rows are scored one by one, each with that limit. A row that
    fails again is unscored. A reward that fails on every row before it has ever scored one raises here. An async reward
    (`aside`) is called row by row from the start, several calls at a time, each with its own limit.

    failed: reason → number of rows that failed since `Limits.log` read it.
    """

    def __init__(self, reward: Callable[..., Any], name: str, seconds: float) -> None:
        self.__name__ = name
        self.at_once = not is_async(reward)
        self.failed = Counter[str]()
        self._scorer = Scorer(Target(name, "trl", reward), workers=1, timeout=seconds)
        self._has_scored = False

    def __call__(self, *, prompts: list[Any], completions: list[Any], **columns: Any) -> list[float | None]:
        kept = {name: values for name, values in columns.items() if name not in OF_THE_TRAINER}
        rows = [
            Row(prompt, completion, {name: values[i] for name, values in kept.items()})
            for i, (prompt, completion) in enumerate(zip(prompts, completions, strict=True))
        ]
        results = self._scorer.score(rows, whole=True, batch_size=len(rows)) if self.at_once else []
        if all(result.reason in FAILURES for result in results):
            results = self._scorer.score(rows, batch_size=1)
        self._scorer.forget()
        lengths = [result for result in results if result.reason == "length"]
        failed = [result for result in results if result.reason in FAILURES]
        self._has_scored |= any(result.reward is not None for result in results)
        if lengths or (len(failed) == len(results) and not self._has_scored):
            raise ValueError(f"{self.__name__}: {(lengths or failed)[0].detail}. Repair the reward; it scored no row.")
        self.failed.update(str(result.reason) for result in failed)
        return [math.inf if result.reason == "inf" else result.reward for result in results]

    async def aside(self, **columns: Any) -> list[float | None]:
        """Score in a separate thread, so that the async rewards of a batch run at the same time."""
        return await asyncio.to_thread(self, **columns)

    def close(self) -> None:
        """End the worker; the next call starts a new one."""
        self._scorer.close()


class Limits(TrainerCallback):
    """Callback that puts a trainer's rewards under a time limit, logs which have none, and ends the workers.

    It is the first callback. Before training begins, it announces to those with `on_watched` that they will get every
    batch.

    Args:
        seconds: limit of a call; None for no limit.
    """

    def __init__(self, trainer: Any, seconds: float | None) -> None:
        if seconds is not None and (isinstance(seconds, bool | str) or not seconds > 0):
            raise ValueError(
                f"{type(trainer).__name__}: reward_timeout is {seconds!r}. Pass seconds above 0, or None for no limit."
            )
        self.trainer, self.seconds = trainer, seconds
        self.timed: list[TimedReward] = []
        self.in_place: dict[str, str] = {}
        for i, (reward, name) in enumerate(zip(trainer.reward_funcs, trainer.reward_func_names, strict=True)):
            why = ""
            if seconds is not None and (is_model(reward) or _holds_model(reward)):
                why = "a model"
            elif seconds is not None and (asked := {*signature_of(reward).keywords} & {*OF_THE_TRAINER}):
                why = f"it asks for {', '.join(sorted(asked))}"
            if seconds is not None and not why:
                try:
                    timed = TimedReward(reward, name, seconds)
                    trainer.reward_funcs[i] = timed if timed.at_once else timed.aside
                    self.timed.append(timed)
                    continue
                except RewardsmithError:
                    why = "it does not pickle"
            if not isinstance(reward, torch.nn.Module):
                self.in_place[name] = why
        trainer.callback_handler.callbacks.insert(0, self)

    def on_train_begin(self, args: Any, state: Any, control: Any, **keywords: Any) -> None:
        """Announce the batches to the callbacks, and log which rewards run without a limit."""
        for callback in self.trainer.callback_handler.callbacks:
            if hasattr(callback, "on_watched"):
                callback.on_watched()
        if not self.in_place or not state.is_world_process_zero:
            return
        names = ", ".join(f"{name} ({why})" if why else name for name, why in self.in_place.items())
        remedy = "" if self.seconds else " reward_timeout=60 runs those that pickle in worker processes."
        logger.warning(
            "%s: no time limit for %s, as the trainer's process cannot end a call that hangs.%s",
            type(self.trainer).__name__, names, remedy,
        )  # fmt: skip

    def on_train_end(self, args: Any, state: Any, control: Any, **keywords: Any) -> None:
        """End the workers."""
        for reward in self.timed:
            reward.close()

    def log(self, metrics: Any) -> None:
        """Append the number of failed rows in the batch of all processes, by reason, such as `rewardsmith/timeout`."""
        if self.seconds is None:
            return
        counts = [sum(reward.failed[reason] for reward in self.timed) for reason in FAILURES]
        for reward in self.timed:
            reward.failed.clear()
        every = gather(torch.tensor([counts], device=self.trainer.accelerator.device)).sum(dim=0)
        for reason, count in zip(FAILURES, every.tolist(), strict=True):
            metrics[f"rewardsmith/{reason}"].append(float(count))


def _holds_model(reward: Any) -> bool:
    """Return whether pickling the reward would copy a module; an error of pickling does not count."""
    import cloudpickle

    class Pickler(cloudpickle.Pickler):
        found = False

        def reducer_override(self, obj: Any) -> Any:
            if isinstance(obj, torch.nn.Module):
                self.found = True
                raise pickle.PicklingError("a model")
            return super().reducer_override(obj)

    pickler = Pickler(io.BytesIO())
    with contextlib.suppress(Exception):
        pickler.dump(reward)
    return pickler.found
