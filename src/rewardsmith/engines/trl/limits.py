"""Time limits for a trainer's rewards: those that pickle run in worker processes, the others are named."""

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
"""The reasons for which a call as a whole gives nothing, so that its rows are asked one by one."""
OF_THE_TRAINER = ("trainer_state", "log_extra", "log_metric", "environments")
"""What only the trainer's own process can give a reward."""
logger = logging.getLogger(__name__)


class TimedReward:
    """A reward in a worker process, called as TRL calls it: all rows at once, and under a limit.

    If the call takes too long, crashes or raises, its rows are asked again one by one, each with that limit, and a row
    that fails again is unscored. A reward that fails on every row before it has ever scored one raises here. An async
    reward (`aside`) is asked one by one from the start, several calls under way, each with the limit of its own.

    failed: reason → rows that failed since `Limits.log` read it.
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
        """Score in a thread of its own, so that the async rewards of a batch run side by side."""
        return await asyncio.to_thread(self, **columns)

    def close(self) -> None:
        """End the worker; another call starts a new one."""
        self._scorer.close()


class Limits(TrainerCallback):
    """Puts a trainer's rewards under a time limit, says at the start which have none, and ends the workers.

    It stands in front of the other callbacks, and tells those that have `on_watched`, before training begins, that they
    will get every batch.

    Args:
        seconds: what a call may take; None limits nothing.
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
        """Tell who is listening, and say what runs without a limit."""
        for callback in self.trainer.callback_handler.callbacks:
            if hasattr(callback, "on_watched"):
                callback.on_watched()
        if not self.in_place or not state.is_world_process_zero:
            return
        names = ", ".join(f"{name} ({why})" if why else name for name, why in self.in_place.items())
        remedy = "" if self.seconds else " reward_timeout=60 runs those that pickle in worker processes."
        logger.warning(
            "%s: %s: no time limit, as it runs in the trainer's process, where nothing ends a call that hangs.%s",
            type(self.trainer).__name__, names, remedy,
        )  # fmt: skip

    def on_train_end(self, args: Any, state: Any, control: Any, **keywords: Any) -> None:
        """End the workers."""
        for reward in self.timed:
            reward.close()

    def log(self, metrics: Any) -> None:
        """Append how many rows of the batch of all processes failed, by reason: `rewardsmith/timeout` and so on."""
        if self.seconds is None:
            return
        counts = [sum(reward.failed[reason] for reward in self.timed) for reason in FAILURES]
        for reward in self.timed:
            reward.failed.clear()
        every = gather(torch.tensor([counts], device=self.trainer.accelerator.device)).sum(dim=0)
        for reason, count in zip(FAILURES, every.tolist(), strict=True):
            metrics[f"rewardsmith/{reason}"].append(float(count))


def _holds_model(reward: Any) -> bool:
    """Whether a module would travel with the reward; what does not pickle at all is not told here."""
    import cloudpickle

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
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
