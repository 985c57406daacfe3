"""The monitors as a callback: measured on every gathered batch, logged beside TRL's metrics, able to stop the run."""

from __future__ import annotations

import asyncio
import inspect
import logging
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from accelerate.utils import broadcast_object_list
from torch import Tensor
from transformers import TrainerCallback

from rewardsmith._check import check_choice
from rewardsmith.engines.trl.stage import ScoredBatch
from rewardsmith.monitors import Alarm, Monitor, Record, Watch, canary_rows, count_paid, measure_batch

OnAlarm = Literal["log", "warn", "stop"]
logger = logging.getLogger(__name__)


class HackingMonitor(TrainerCallback):
    """Watches a run of `rewardsmith.engines.trl`'s trainers for reward hacking.

    Each training batch becomes a record in `history`: proxy, gold, length, length_correlation, dead_groups, unscored,
    infinite, source/NAME for every source, kl (where beta ≠ 0), canary_paid of canary_n. After each step every monitor
    judges the history.

    Args:
        gold: scores the batch's completions by what is really wanted; a `types.Reward` that is never optimized.
        reward: the reward to test with content-free completions (canaries); usually the one being optimized.
        gold_every: steps between gold scorings, for a gold that is slow or costs money.
        canary_every, canary_prompts: steps between canary rounds, and how many of the batch's prompts each one uses.
        paid_above: a canary's score above this counts as paid.
        monitors: what to ask and when to alarm; `monitors.default_monitors()` if None.
        on_alarm: "log" keeps alarms in `alarms` and the log, "warn" also warns, "stop" also ends training where the
            monitor says that it should.
        path: a JSONL file for records and alarms, written as the run goes.
    """

    def __init__(
        self,
        *,
        gold: Callable[..., Any] | None = None,
        reward: Callable[..., Any] | None = None,
        gold_every: int = 1,
        canary_every: int = 25,
        canary_prompts: int = 8,
        paid_above: float = 0.5,
        monitors: Sequence[Monitor] | None = None,
        on_alarm: OnAlarm = "warn",
        path: str | Path | None = None,
    ) -> None:
        check_choice("HackingMonitor", "on_alarm", on_alarm, get_args(OnAlarm))
        self.gold, self.reward = gold, reward
        self.gold_every, self.canary_every, self.canary_prompts = gold_every, canary_every, canary_prompts
        self.paid_above, self.on_alarm = paid_above, on_alarm
        self._watch: Watch | None = None
        self._monitors, self._path = monitors, path
        self._pending: tuple[Record, ScoredBatch] | None = None

    @property
    def history(self) -> list[Record]:
        """One record per scored batch so far, oldest first; empty but on the main process."""
        return [] if self._watch is None else self._watch.history

    @property
    def alarms(self) -> list[Alarm]:
        """The alarms so far; each monitor alarms once."""
        return [] if self._watch is None else self._watch.alarms

    def on_rewards(self, args: Any, state: Any, control: Any, *, scored: ScoredBatch) -> None:
        """Measure a gathered batch, on the main process; called by our trainers."""
        if not (scored.training and scored.is_main_process):
            return
        step, batch = state.global_step, scored.batch
        lengths = None if batch.completion_mask is None else batch.completion_mask.sum(dim=1)
        gold = self._score_gold(scored) if step % self.gold_every == 0 else None
        record = measure_batch(
            scored.rewards,
            group_size=batch.group_size,
            lengths=lengths,
            gold=gold,
            infinite=scored.infinite,
            source_rewards=batch.source_rewards,
            source_names=batch.source_names,
        )
        record = {"step": step, **record, "canary_paid": None, "canary_n": None, "kl": None}
        if self.reward is not None and step % self.canary_every == 0:
            rows = canary_rows(batch.columns, n_prompts=self.canary_prompts)
            record["canary_paid"], record["canary_n"] = count_paid(
                _scores(self.reward, rows), paid_above=self.paid_above
            )
        self._pending = record, scored

    def _score_gold(self, scored: ScoredBatch) -> list[float | None] | None:
        if self.gold is None:
            return None
        columns = dict(scored.batch.columns)
        rows = {"prompts": columns.pop("prompt"), "completions": columns.pop("completion"), **columns}
        return _scores(self.gold, rows)

    def on_step_end(self, args: Any, state: Any, control: Any, **keywords: Any) -> None:
        """Complete the record with what the loss logged, judge it, and act alike on every process."""
        alarms: list[Alarm] = []
        if self._pending is not None:
            record, scored = self._pending
            self._pending = None
            alarms = self._judge(record, scored)
        stop = [self.on_alarm == "stop" and any(alarm.stops for alarm in alarms)]
        if self.on_alarm == "stop":
            broadcast_object_list(stop)  # only the main process judges; all must leave the loop together
        if stop[0]:
            control.should_training_stop = True

    def _judge(self, record: Record, scored: ScoredBatch) -> list[Alarm]:
        kl = scored.metrics.get("kl")
        record["kl"] = kl[-1] if kl else None
        if self._watch is None:
            self._watch = Watch(self._monitors, path=self._path)
        alarms = self._watch.observe(record)
        for name, value in _logged(record, self.history[0]).items():
            scored.metrics[f"monitor/{name}"].append(value)
        scored.metrics["monitor/alarms"].append(float(len(self.alarms)))
        for alarm in alarms:
            logger.warning("%s", alarm)
            if self.on_alarm != "log":
                warnings.warn(f"HackingMonitor: {alarm}", UserWarning, stacklevel=2)
        return alarms


def _logged(record: Record, first: Record) -> dict[str, float]:
    """What goes into the trainer's log: shares rather than counts, and the reward bought per nat."""
    figures = {
        "gold": record["gold"],
        "length_correlation": record["length_correlation"],
        "dead_group_rate": record["dead_groups"] / record["n_groups"],
        "canary_rate": record["canary_paid"] / record["canary_n"] if record["canary_n"] else None,
    }
    if record["kl"] and record["proxy"] is not None and first["proxy"] is not None:
        figures["reward_per_kl"] = (record["proxy"] - first["proxy"]) / record["kl"]
    return {name: value for name, value in figures.items() if value is not None}


def _scores(reward: Callable[..., Any], rows: dict[str, list[Any]]) -> list[float | None]:
    scores = reward(**rows)
    if inspect.isawaitable(scores):
        scores = asyncio.run(_finish(scores))
    return [float(score) if score is not None else None for score in _plain(scores)]


def _plain(scores: Any) -> list[float | None]:
    return scores.tolist() if isinstance(scores, Tensor) else list(scores)


async def _finish(scores: Any) -> Any:
    return await scores
