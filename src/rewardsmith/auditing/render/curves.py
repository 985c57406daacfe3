"""The picture of a curve, in percent of its width and height, for the page to draw."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from rewardsmith.auditing.render.wording import number
from rewardsmith.auditing.report import Curve, CurvePoint

Place = tuple[float, float]
Entry = tuple[float, float, float]  # a mean and the ends of its interval
Placing = Callable[[float, float], Place]
LEAST_GAP = 11.0  # percent between two labels of an axis


class Line(NamedTuple):
    """One quantity: its points and the outline of its band, ready for `points` of an SVG element."""

    name: str
    points: tuple[Place, ...]
    band: str
    path: str
    titles: tuple[str, ...]


class Label(NamedTuple):
    """A number on an axis and where it stands."""

    at: float
    text: str


class Plot(NamedTuple):
    """Gains against KL; `turn` is the peak of gold and its interval, or None where gold does not surely fall."""

    lines: tuple[Line, ...]
    gains: tuple[Label, ...]
    nats: tuple[Label, ...]
    pressures: tuple[Label, ...]
    turn: tuple[float, float, float] | None


def plot(curve: Curve) -> Plot | None:
    """Lay a curve out; None where it has no width, as of a reward that tells nothing apart.

    The height fits the lines; a band that is more than twice as wide as they are high is cut off.
    """
    points = curve.points
    width = max((point.kl for point in points), default=0.0)
    if len(points) < 2 or not width > 0:
        return None
    has_gold = all(point.gold is not None for point in points)
    columns = [("reward", [(p.rewards, p.rewards_low, p.rewards_high) for p in points])]
    if has_gold:
        columns.append(("gold", [(p.gold or 0.0, p.gold_low or 0.0, p.gold_high or 0.0) for p in points]))
    entries = [entry for _, column in columns for entry in column]
    means = [0.0, *(mean for mean, _, _ in entries)]
    span = (max(means) - min(means)) or 1.0
    low = max(min([*means, *(low for _, low, _ in entries)]), min(means) - span)
    high = min(max([*means, *(high for _, _, high in entries)]), max(means) + span)
    low, high = low - 0.05 * (high - low), high + 0.05 * (high - low)

    def place(kl: float, gain: float) -> Place:
        return 100 * kl / width, 100 * (high - gain) / (high - low)

    lines = tuple(_line(name, points, column, curve.knob, place) for name, column in columns)
    turn = curve.turn if curve.turn is not None and curve.turn.declines else None
    labels = [Label(100 * p.kl / width, number(p.pressure)) for p in points]
    kept = [labels[-1]]  # those that fit beside each other, the last one always
    for label in reversed(labels[:-1]):
        if kept[-1].at - label.at >= LEAST_GAP:
            kept.append(label)
    return Plot(
        lines=lines,
        gains=tuple(Label(place(0, tick)[1], f"{tick:+.4g}" if tick else "0") for tick in _ticks(low, high)),
        nats=tuple(Label(100 * tick / width, number(tick)) for tick in _ticks(0.0, width)),
        pressures=tuple(reversed(kept)),
        turn=None if turn is None else (100 * turn.kl / width, 100 * turn.low / width, 100 * turn.high / width),
    )


def _line(name: str, points: Sequence[CurvePoint], column: Sequence[Entry], knob: str, place: Placing) -> Line:
    middle = [place(p.kl, mean) for p, (mean, _, _) in zip(points, column, strict=True)]
    upper = [place(p.kl, high) for p, (_, _, high) in zip(points, column, strict=True)]
    lower = [place(p.kl, low) for p, (_, low, _) in zip(points, column, strict=True)]
    titles = tuple(
        f"{name} {mean:+.2f} [{low:+.2f}, {high:+.2f}] at {knob} = {number(p.pressure)}, KL {number(p.kl)}"
        for p, (mean, low, high) in zip(points, column, strict=True)
    )
    return Line(name, tuple(middle), _joined([*upper, *lower[::-1]]), _joined(middle), titles)


def _joined(places: Sequence[Place]) -> str:
    return " ".join(f"{x:.2f},{min(max(y, -500.0), 500.0):.2f}" for x, y in places)


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers, three to seven of them, within the range."""
    raw = (high - low) / 6
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw)
    return [round(k * step, 12) for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]
