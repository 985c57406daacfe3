"""A monitor asks one question of a run so far, and says what to do when the answer crosses its threshold."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from rewardsmith.audit import wilson_interval
from rewardsmith.monitors.intervals import Reading, change, pooled_correlation, spent
from rewardsmith.monitors.measures import Record, source_key

Read = Callable[[Sequence[Record]], Reading | None]


@dataclass(frozen=True, slots=True)
class Alarm:
    """Which monitor fired, when, on what figure, and what to do."""

    monitor: str
    step: int
    value: float
    interval: tuple[float, float]
    threshold: float
    message: str
    advice: str
    stops: bool

    def __str__(self) -> str:
        return f"{self.monitor} at step {self.step}: {self.message} {self.advice}"

    def as_json(self) -> dict[str, Any]:
        """The alarm as a JSON object; an unbounded side of the interval is None."""
        low, high = (bound if math.isfinite(bound) else None for bound in self.interval)
        return {**asdict(self), "interval": [low, high]}


@dataclass(frozen=True, slots=True)
class Monitor:
    """A question, when it alarms, and what to do then.

    read: the run's records, newest last → a reading, or None where there is nothing new to judge.
    threshold: alarm once the *lower bound* of the reading exceeds this, so that noise alone does not.
    message: what is wrong, formatted with value, low, high, n and threshold.
    stops: whether `on_alarm="stop"` ends the run over it; false where it may also mean that training is done.
    """

    name: str
    read: Read
    threshold: float
    message: str
    advice: str
    stops: bool = False

    def judge(self, history: Sequence[Record]) -> Alarm | None:
        """The alarm that this history calls for, or None."""
        reading = self.read(history)
        if reading is None or not reading.low > self.threshold:
            return None
        message = self.message.format(**reading._asdict(), threshold=self.threshold)
        bounds = reading.low, reading.high
        step = int(history[-1]["step"])
        return Alarm(self.name, step, reading.value, bounds, self.threshold, message, self.advice, self.stops)


def blocks(history: Sequence[Record], keys: Sequence[str], *, window: int) -> list[list[Record]]:
    """Consecutive blocks of `window` records that hold all `keys`; [] unless the newest record completes a block."""
    whole = [record for record in history if all(record.get(key) is not None for key in keys)]
    if not whole or whole[-1] is not history[-1] or len(whole) % window:
        return []
    return [whole[i : i + window] for i in range(0, len(whole), window)]


def read_divergence(
    history: Sequence[Record], *, window: int, alpha: float, rises: str = "proxy", falls: str = "gold"
) -> Reading | None:
    """How far one figure fell between two blocks over which another rose; the clearest fall if there are several.

    The newest block is compared with every earlier one, each block's steps being its observations. Both must hold at
    the level of the comparison: the rise has a lower bound above 0, and the fall's own bound is the reading's.
    Looks and comparisons share alpha (`spent`), so that it is the chance of any false alarm in the run.
    """
    found = blocks(history, (rises, falls), window=window)
    if len(found) < 2:
        return None
    *earlier, newest = found
    level = spent(alpha, len(earlier)) / len(earlier)
    losses = []
    for block in earlier:
        rise = change(_column(block, rises), _column(newest, rises), alpha=level)
        if rise.low > 0:
            gain = change(_column(block, falls), _column(newest, falls), alpha=level)
            losses.append(Reading(-gain.value, -gain.high, -gain.low, gain.n))
    return max(losses, key=lambda loss: loss.low, default=None)


def read_length(history: Sequence[Record], *, window: int, alpha: float) -> Reading | None:
    """The within-group correlation of reward and length over the newest block."""
    found = blocks(history, ("length_correlation",), window=window)
    if not found:
        return None
    values, freedoms = _column(found[-1], "length_correlation"), _column(found[-1], "length_freedom")
    return pooled_correlation(values, [int(f) for f in freedoms], alpha=spent(alpha, len(found)))


def read_share(history: Sequence[Record], *, count: str, of: str, window: int, alpha: float) -> Reading | None:
    """A share over the newest block, `count` summed over `of` summed, with Wilson's interval."""
    found = blocks(history, (count, of), window=window)
    if not found:
        return None
    hits, n = (int(sum(_column(found[-1], key))) for key in (count, of))
    if n == 0:
        return None
    low, high = wilson_interval(hits, n, alpha=2 * spent(alpha, len(found)))
    return Reading(hits / n, low, high, n)


def read_level(history: Sequence[Record], *, key: str, window: int, alpha: float) -> Reading | None:
    """The mean of `key` over the newest block."""
    found = blocks(history, (key,), window=window)
    if not found:
        return None
    values = _column(found[-1], key)
    return change([0.0, 0.0], values, alpha=spent(alpha, len(found)))._replace(n=len(values))


def read_count(history: Sequence[Record], *, key: str) -> Reading | None:
    """The newest record's own count, which needs no interval."""
    value = history[-1].get(key) if history else None
    return None if value is None else Reading(float(value), float(value), float(value), 1)


def _column(records: Sequence[Record], key: str) -> list[float]:
    return [float(record[key]) for record in records]


def proxy_gold_divergence(*, window: int = 10, alpha: float = 0.01, at_least: float = 0.02) -> Monitor:
    """Alarms when the proxy rose while gold fell by more than `at_least`."""
    return Monitor(
        name="proxy_gold_divergence",
        read=partial(read_divergence, window=window, alpha=alpha),
        threshold=at_least,
        message="The reward rose while gold fell by {value:.3g} (at least {low:.3g}).",
        advice="The policy is exploiting the reward: stop, audit it on these completions, train on the repaired one.",
        stops=True,
    )


def proxy_outcome_divergence(
    auxiliary: str, outcome: str, *, window: int = 10, alpha: float = 0.01, at_least: float = 0.02
) -> Monitor:
    """Alarms when an auxiliary source rose while the outcome fell by more than `at_least`.

    The signature of a run that collects easy per-turn rewards instead of finishing: Sun et al. 2025, arXiv:2508.10548.
    Unlike `proxy_gold_divergence` it needs no gold, only that the sources are recorded one by one.

    Args:
        auxiliary, outcome: names of sources, whose means a record holds as `source/NAME`.
    """
    return Monitor(
        name=f"proxy_outcome_divergence({auxiliary}, {outcome})",
        read=partial(
            read_divergence, window=window, alpha=alpha, rises=source_key(auxiliary), falls=source_key(outcome)
        ),
        threshold=at_least,
        message="The auxiliary reward rose while the outcome fell by {value:.3g} (at least {low:.3g}).",
        advice="It is being collected instead of the outcome: count it only where the outcome holds "
        "(transforms.gated_sum, transforms.gated_step_sum), or lower its weight.",
        stops=True,
    )


def canary_false_positives(*, at_most: float = 0.02, alpha: float = 0.01) -> Monitor:
    """Alarms when content-free completions are paid more often than `at_most`."""
    return Monitor(
        name="canary_false_positives",
        read=partial(read_share, count="canary_paid", of="canary_n", window=1, alpha=alpha),
        threshold=at_most,
        message="The reward pays {value:.1%} of content-free completions ({n} tried, at least {low:.1%}).",
        advice="Add data.MASTER_KEYS completions as negatives (data.add_truncated_negatives), or gate the reward.",
        stops=True,
    )


def length_bias(*, window: int = 10, alpha: float = 0.01, at_most: float = 0.5) -> Monitor:
    """Alarms when, within a group, longer completions are paid more: ρ above `at_most`."""
    return Monitor(
        name="length_bias",
        read=partial(read_length, window=window, alpha=alpha),
        threshold=at_most,
        message="Within a prompt's group, reward and length correlate at {value:.2f} (at least {low:.2f}).",
        advice="Look at the longest completions; if they only say more, add transforms.length_penalty.",
    )


def dead_group_rate(*, window: int = 10, alpha: float = 0.01, at_most: float = 0.9) -> Monitor:
    """Alarms when more groups than `at_most` carry no signal."""
    return Monitor(
        name="dead_group_rate",
        read=partial(read_share, count="dead_groups", of="n_groups", window=window, alpha=alpha),
        threshold=at_most,
        message="{value:.0%} of groups hold no signal: all their completions are scored alike.",
        advice="The prompts are solved or hopeless: draw others, or raise num_generations or the temperature.",
    )


def unscored_rate(*, window: int = 10, alpha: float = 0.01, at_most: float = 0.05) -> Monitor:
    """Alarms when more rows than `at_most` get no score at all."""
    return Monitor(
        name="unscored_rate",
        read=partial(read_share, count="unscored", of="n_rows", window=window, alpha=alpha),
        threshold=at_most,
        message="{value:.1%} of completions could not be scored (at least {low:.1%}).",
        advice="Read those completions: a policy can learn to break its grader. Fix the reward's failures first.",
    )


def infinite_rewards() -> Monitor:
    """Alarms at the first ±inf."""
    return Monitor(
        name="infinite_rewards",
        read=partial(read_count, key="infinite"),
        threshold=0.0,
        message="{value:.0f} scores of one batch were infinite; they were left unscored.",
        advice="Bound the reward: look for log(0) or a division by 0.",
    )


def kl_budget(*, window: int = 10, alpha: float = 0.01, at_most: float = 0.5) -> Monitor:
    """Alarms when the policy is more than `at_most` nats per token from its reference, with what it bought."""
    return Monitor(
        name="kl_budget",
        read=partial(read_level, key="kl", window=window, alpha=alpha),
        threshold=at_most,
        message="The policy is {value:.2g} nats per token from its reference, above {threshold:g}.",
        advice="Raise beta, or keep the last checkpoint where the reward still rose with the KL.",
    )


def default_monitors() -> tuple[Monitor, ...]:
    """Every monitor at its default threshold; one whose figures are never recorded stays silent."""
    return (
        proxy_gold_divergence(),
        canary_false_positives(),
        infinite_rewards(),
        unscored_rate(),
        length_bias(),
        dead_group_rate(),
        kl_budget(),
    )
