"""Monitors as a trainer callback: they measure every gathered batch, log beside TRL's metrics, and can stop the run."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from accelerate.utils import broadcast_object_list
from torch import Tensor
from transformers import TrainerCallback

from rewardsmith._check import check_choice
from rewardsmith.engines.trl.gathering import ScoredBatch
from rewardsmith.monitors import Monitor, Watch, measure_batch
from rewardsmith.monitors.measures import Record
from rewardsmith.monitors.monitor import Alarm, canary_rows, count_rewarded
from rewardsmith.scoring.arguments import ignore
from rewardsmith.scoring.contracts import signature_of
from rewardsmith.scoring.sync_async import finished

OnAlarm = Literal["log", "warn", "stop"]
Rows = Mapping[str, Any]
logger = logging.getLogger(__name__)


class HackingMonitor(TrainerCallback):
    """Monitor of reward hacking for a trainer of this room, or for one of TRL's that `watch` was given.

    Each training batch becomes a record in `history`: proxy, gold, length, length_correlation, dead_groups, unscored,
    infinite, source/NAME for every source, kl (where beta ≠ 0), canary_rewarded of canary_n. After each step monitors
    judge the history. An alarm goes to the run's trackers and to `path` as text, with the rows behind it.

    Args:
        gold: scores the batch's completions by the true objective; a `types.Reward` that is never optimized. A row on
            which it raises has no gold score; `monitor/gold_unscored` counts those rows.
        reward: the reward to test with content-free completions (canaries); usually the one being optimized.
        gold_every: steps between gold scorings, for a gold that is slow or costs money.
        canary_every, canary_prompts: steps between canary rounds, and how many of the batch's prompts each one uses.
        rewarded_above: a canary counts as rewarded where its score is above this.
        monitors: the monitors to run; `monitors.default_monitors()` if None.
        on_alarm: "log" keeps alarms in `alarms` and the log, "warn" also warns, "stop" also ends training where the
            monitor says that it should.
        path: a JSONL file for records and alarms, written as the run goes.

    Raises:
        RuntimeError: training begins with a trainer that would never call it.
    """

    def __init__(
        self,
        *,
        gold: Callable[..., Any] | None = None,
        reward: Callable[..., Any] | None = None,
        gold_every: int = 1,
        canary_every: int = 25,
        canary_prompts: int = 8,
        rewarded_above: float = 0.5,
        monitors: Sequence[Monitor] | None = None,
        on_alarm: OnAlarm = "warn",
        path: str | Path | None = None,
    ) -> None:
        check_choice("HackingMonitor", "on_alarm", on_alarm, get_args(OnAlarm))
        for name, function in (("gold", gold), ("reward", reward)):
            if function is not None and not callable(function):
                raise TypeError(
                    f"HackingMonitor: {name} is {function!r}, which cannot be called. "
                    "Pass a reward function, such as rewards.exact_number, or scoring.load_reward(name)."
                )
        for name, count in (
            ("gold_every", gold_every), ("canary_every", canary_every), ("canary_prompts", canary_prompts),
        ):  # fmt: skip
            if count < 1:
                raise ValueError(f"HackingMonitor: {name} is {count}. Pass at least 1, or leave out gold or reward.")
        self.gold, self.reward = gold, reward
        self.gold_every, self.canary_every, self.canary_prompts = gold_every, canary_every, canary_prompts
        self.rewarded_above, self.on_alarm = rewarded_above, on_alarm
        self._watch: Watch | None = None
        self._monitors, self._path = monitors, path
        self._pending: list[tuple[Record, ScoredBatch, list[dict[str, Any]]]] = []
        self._watched = self._gold_works = False

    @property
    def history(self) -> list[Record]:
        """One record per scored batch so far, oldest first; empty except on the main process."""
        return [] if self._watch is None else self._watch.history

    @property
    def alarms(self) -> list[Alarm]:
        """Alarms so far; each monitor alarms once."""
        return [] if self._watch is None else self._watch.alarms

    def on_watched(self) -> None:
        """Note that the trainer will pass on every batch; called by our trainers and by `watch`."""
        self._watched = True

    def on_train_begin(self, args: Any, state: Any, control: Any, **keywords: Any) -> None:
        """Raise RuntimeError where the trainer has not announced its batches."""
        if not self._watched:
            raise RuntimeError(
                "HackingMonitor: this trainer does not pass on its batches, so nothing would be watched. Train with "
                "rewardsmith.engines.trl.GRPOTrainer or RLOOTrainer, or call rewardsmith.engines.trl.watch(trainer) "
                "before trainer.train()."
            )
        self._watched = False

    def on_rewards(self, args: Any, state: Any, control: Any, *, scored: ScoredBatch) -> None:
        """Measure a gathered batch, on the main process; called by our trainers."""
        if not (scored.training and scored.is_main_process):
            return
        step, batch = state.global_step, scored.batch
        lengths = None if batch.completion_mask is None else batch.completion_mask.sum(dim=1)
        gold: list[float | None] | None = None
        if self.gold is not None and step % self.gold_every == 0:
            columns = dict(batch.columns)
            given = {"prompts": columns.pop("prompt"), "completions": columns.pop("completion"), **columns}
            gold, error = _scores(self.gold, given, state)
            if error is not None:
                if not self._gold_works and all(score is None for score in gold):
                    raise error  # it never worked, so the function itself is wrong
                logger.warning("HackingMonitor: gold raised on some rows, which have no gold score: %r", error)
            self._gold_works = self._gold_works or any(score is not None for score in gold)
            unscored = sum(score is None or not math.isfinite(score) for score in gold)
            scored.metrics["monitor/gold_unscored"].append(unscored / len(gold))
        record = measure_batch(
            scored.rewards,
            group_size=batch.group_size,
            lengths=lengths,
            gold=gold,
            infinite=scored.infinite,
            source_rewards=batch.source_rewards,
            source_names=batch.source_names,
        )
        record = {"step": step, **record, "canary_rewarded": None, "canary_n": None, "kl": None}
        texts = {name: batch.columns[name] for name in ("prompt", "completion")}
        rows = _as_rows(
            {
                **texts,
                "reward": scored.rewards.tolist(),
                "gold": gold or [None] * len(scored.rewards),
                "length": [None] * len(scored.rewards) if lengths is None else lengths.tolist(),
            }
        )
        if self.reward is not None and step % self.canary_every == 0:
            sent = canary_rows(batch.columns, n_prompts=self.canary_prompts)
            scores, _ = _scores(self.reward, sent, state)
            record["canary_rewarded"], record["canary_n"] = count_rewarded(scores, above=self.rewarded_above)
            above = [score if score is not None and score > self.rewarded_above else None for score in scores]
            rows += _as_rows(
                {"prompt": sent["prompts"], "completion": sent["completions"], "reward": above}, canary=True
            )
        self._pending.append((record, scored, rows))

    def on_step_end(self, args: Any, state: Any, control: Any, **keywords: Any) -> None:
        """Add what the loss logged to the records, judge them, and take the same action on every process."""
        pending, self._pending = self._pending, []
        alarms: list[Alarm] = []
        for record, scored, rows in pending:
            kl = scored.metrics.get("kl")
            record["kl"] = kl[-1] if kl else None
            if self._watch is None:
                self._watch = Watch(self._monitors, path=self._path)
            raised = self._watch.observe(record, rows)
            figures = {  # shares rather than counts, and the reward gained per nat
                "gold": record["gold"],
                "length_correlation": record["length_correlation"],
                "dead_group_rate": record["dead_groups"] / record["n_groups"],
                "canary_rate": record["canary_rewarded"] / record["canary_n"] if record["canary_n"] else None,
            }
            first = self.history[0]["proxy"]
            if record["kl"] and record["proxy"] is not None and first is not None:
                figures["reward_per_kl"] = (record["proxy"] - first) / record["kl"]
            for name, value in figures.items():
                if value is not None:
                    scored.metrics[f"monitor/{name}"].append(value)
            scored.metrics["monitor/alarms"].append(float(len(self.alarms)))
            for alarm in raised:
                logger.warning("%s", alarm)
                scored.report(f"monitor/alarm/{alarm.monitor}", alarm.as_text())
                if self.on_alarm != "log":
                    warnings.warn(f"HackingMonitor: {alarm}", UserWarning, stacklevel=2)
            alarms += raised
        stop = [self.on_alarm == "stop" and any(alarm.stops for alarm in alarms)]
        if self.on_alarm == "stop":
            broadcast_object_list(stop)  # only the main process judges; all must leave the loop together
        if stop[0]:
            control.should_training_stop = True


def _as_rows(columns: Mapping[str, Sequence[Any]], **constants: Any) -> list[dict[str, Any]]:
    values = zip(*columns.values(), strict=True)
    return [{**dict(zip(columns, row, strict=True)), **constants} for row in values]


def _scores(reward: Callable[..., Any], rows: Rows, state: Any) -> tuple[list[float | None], Exception | None]:
    """Return a score per row and the reward's error; after an error rows are scored one by one, None on failure."""
    n, raised = len(rows["completions"]), None
    try:
        scores = _call(reward, rows, state)
    except Exception as error:
        scores, raised = [], error
        for i in range(n):
            try:
                (score,) = _call(reward, {name: [values[i]] for name, values in rows.items()}, state)
            except Exception:
                score = None
            scores.append(score)
    if len(scores) != n:
        raise ValueError(
            f"HackingMonitor: {reward!r} gave {len(scores)} scores for {n} rows. Return one number or None per row."
        )
    return scores, raised


def _call(reward: Callable[..., Any], rows: Rows, state: Any) -> list[float | None]:
    """Call the reward as TRL does, with the trainer's own arguments that it names and without those it cannot take."""
    given = {"trainer_state": state, "log_extra": ignore, "log_metric": ignore}  # these calls must not enter TRL's log
    positional, keywords = signature_of(reward).bind({**given, **rows})
    scores = finished({"scores": reward(*positional, **keywords)})["scores"]
    scores = scores.tolist() if isinstance(scores, Tensor) else list(scores)
    return [float(score) if score is not None else None for score in scores]
