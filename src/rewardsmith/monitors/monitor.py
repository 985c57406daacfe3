"""A monitor asks one question of a run; its alarm gives advice and rows. One asks with content-free completions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from rewardsmith.data import MASTER_KEYS
from rewardsmith.measures.sequential import Reading
from rewardsmith.monitors.measures import Record, known

Shows = Literal["rewarded", "longest", "unscored", "canaries"]
Read = Callable[[Sequence[Record]], Reading | None]


@dataclass(frozen=True, slots=True)
class Alarm:
    """A monitor's alarm: step, figure, advice, and the rows behind it."""

    monitor: str
    step: int
    value: float
    interval: tuple[float, float]
    threshold: float
    message: str
    advice: str
    stops: bool
    rows: tuple[dict[str, Any], ...] = ()

    def __str__(self) -> str:
        return f"{self.monitor} at step {self.step}: {self.message} {self.advice}"

    def as_text(self) -> str:
        """Return the alarm and its rows for a tracker, with values in indented lines cut to 500 characters."""
        lines = [str(self)]
        for number, row in enumerate(self.rows, 1):
            lines += ["", f"Row {number}:", ""]
            for name, value in row.items():
                text = value if isinstance(value, str) else repr(value)
                if len(text) > 500:
                    text = f"{text[:500]}… ({len(text)} characters)"
                lines.append(f"    {name}: {text}".replace("\n", "\n        "))
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """Return the alarm as a JSON object; an unbounded side of the interval is None."""
        low, high = (bound if math.isfinite(bound) else None for bound in self.interval)
        return {**asdict(self), "interval": [low, high]}


@dataclass(frozen=True, slots=True)
class Monitor:
    """A question, the threshold of its alarm, and the advice.

    read: the run's records, newest last → a reading, or None if there is nothing new to judge.
    threshold: alarm once the *lower bound* of the reading exceeds this, so that noise alone does not.
    message: formatted with value, low, high, n, threshold and the reading's other figures.
    stops: whether `on_alarm="stop"` ends the run; false if the alarm may also mean that training is done.
    shows: which rows of the newest batch the alarm shows, as `evidence` picks them.
    """

    name: str
    read: Read
    threshold: float
    message: str
    advice: str
    stops: bool = False
    shows: Shows = "rewarded"

    def judge(self, history: Sequence[Record]) -> Alarm | None:
        """Return the alarm that this history calls for, or None."""
        reading = self.read(history)
        if reading is None or not reading.low > self.threshold:
            return None
        value, low, high, n, also = reading
        message = self.message.format(value=value, low=low, high=high, n=n, threshold=self.threshold, **also)
        step = int(history[-1]["step"])
        return Alarm(self.name, step, value, (low, high), self.threshold, message, self.advice, self.stops)


def canary_rows(
    columns: Mapping[str, Sequence[Any]], *, n_prompts: int, keys: Sequence[str] | None = None
) -> dict[str, list[Any]]:
    """Return every key as the whole answer to the first `n_prompts` different prompts, as keywords of a reward.

    Args:
        columns: B values each; `prompt` and all that the reward reads (`completion` is left out).
        keys: completions to send; all of `data.MASTER_KEYS` if None.

    Returns:
        `prompts`, `completions` and the other columns, n_prompts · keys rows.

    >>> rows = canary_rows({"prompt": ["a", "a", "b"], "answer": ["1", "1", "2"]}, n_prompts=2, keys=[".", "so"])
    >>> rows["completions"], rows["answer"]
    (['.', 'so', '.', 'so'], ['1', '1', '2', '2'])
    """
    sent = [key for family in MASTER_KEYS.values() for key in family] if keys is None else list(keys)
    first: dict[str, int] = {}
    for index, prompt in enumerate(columns["prompt"]):
        first.setdefault(repr(prompt), index)
    chosen = list(first.values())[:n_prompts]
    others = [name for name in columns if name not in ("prompt", "completion")]
    return {
        "prompts": [columns["prompt"][i] for i in chosen for _ in sent],
        "completions": [
            key if isinstance(columns["prompt"][i], str) else [{"role": "assistant", "content": key}]
            for i in chosen
            for key in sent
        ],
        **{name: [columns[name][i] for i in chosen for _ in sent] for name in others},
    }


def count_rewarded(scores: Sequence[float | None], *, above: float = 0.5) -> tuple[int, int]:
    """Return how many scored rows are rewarded, and how many are scored; an unscored one does not count.

    >>> count_rewarded([1.0, 0.0, None])
    (1, 2)
    """
    scored = [score for score in scores if score is not None and not math.isnan(score)]
    return sum(score > above for score in scored), len(scored)


def evidence(rows: Sequence[Mapping[str, Any]], shows: Shows, *, n: int = 5) -> tuple[dict[str, Any], ...]:
    """Return the `n` rows that best show an alarm, worst first, with plain values.

        rewarded  the highest reward; among equals the lowest gold
        longest   the most tokens; among equals the highest reward
        unscored  those without a reward; none if all have one
        canaries  content-free completions that are rewarded, the highest reward first

    Args:
        rows: mappings with `prompt`, `completion`, `reward` and `gold` (None or NaN where unknown), `length`, and
            `canary`, True for a row that no policy wrote.

    >>> rows = [{"completion": c, "reward": r, "gold": g} for c, r, g in (("a", 1.0, 1.0), ("b", 1.0, 0.0))]
    >>> [row["completion"] for row in evidence(rows, "rewarded")]
    ['b', 'a']
    """
    plain: list[dict[str, Any]] = [
        {name: known(v) if isinstance(v, float) else v for name, v in row.items()} for row in rows
    ]
    own = [row for row in plain if bool(row.pop("canary", False)) == (shows == "canaries")]
    if shows == "unscored":
        return tuple(row for row in own if row["reward"] is None)[:n]
    scored = [row for row in own if row["reward"] is not None]
    scored.sort(key=lambda row: (-row["reward"], math.inf if row.get("gold") is None else row["gold"]))
    if shows == "longest":
        scored.sort(key=lambda row: -(row.get("length") or 0))  # stable: the highest reward stays first among equals
    return tuple(scored[:n])
