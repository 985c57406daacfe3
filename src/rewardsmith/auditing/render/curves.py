"""Draw the gains of a reward and its gold as the reward is optimized further."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rewardsmith._pictures import HOUSE_STYLE
from rewardsmith.auditing.render.wording import number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from rewardsmith.auditing.report import Curve

COLORS = {"reward": "#2f6db3", "gold": "#b7791f"}
LEAST_GAP = 0.11  # of the width between two labels of strengths


def draw(curve: Curve) -> Figure | None:
    """Draw gains against KL with intervals as bands; None if the curve has no width, as for a constant reward.

    The height fits the lines; a band wider than twice their height is cut off. If gold falls after its peak, a dashed
    line marks the peak and a gray band its interval.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    points = curve.points
    kl = [point.kl for point in points]
    if len(points) < 2 or not max(kl) > 0:
        return None
    columns = {"reward": [(p.rewards, p.rewards_low, p.rewards_high) for p in points]}
    if all(point.gold is not None for point in points):
        columns["gold"] = [(p.gold or 0.0, p.gold_low or 0.0, p.gold_high or 0.0) for p in points]
    means = [0.0, *(mean for column in columns.values() for mean, _, _ in column)]
    ends = [*means, *(end for column in columns.values() for _, *both in column for end in both)]
    span = (max(means) - min(means)) or 1.0
    low, high = max(min(ends), min(means) - span), min(max(ends), max(means) + span)
    with rc_context(fname=HOUSE_STYLE):
        figure = Figure(figsize=(5.2, 3.4), layout="constrained")
        axes = figure.subplots()
        axes.axhline(0.0, color="#9aa3b2", linewidth=1)
        for name, column in columns.items():
            mean, lower, upper = zip(*column, strict=True)
            axes.fill_between(kl, lower, upper, color=COLORS[name], alpha=0.16, linewidth=0)
            axes.plot(kl, mean, color=COLORS[name], marker="o", markersize=5, label=name)
        if curve.turn is not None and curve.turn.declines:
            axes.axvspan(curve.turn.low, curve.turn.high, color="#64748b", alpha=0.15, linewidth=0)
            axes.axvline(curve.turn.kl, color="#1c2330", linewidth=1.5, linestyle="--", label="gold turns")
        margin = 0.05 * (high - low)
        axes.set(xlabel="KL", ylabel="gain", xlim=(0.0, 1.02 * max(kl)), ylim=(low - margin, high + margin))
        axes.locator_params(axis="x", nbins=6)
        kept = [points[-1]]  # points whose labels fit, and always the last one
        for point in reversed(points[:-1]):
            if kept[-1].kl - point.kl >= LEAST_GAP * max(kl):
                kept.append(point)
        top = axes.secondary_xaxis("top")
        top.set_xticks([point.kl for point in kept], [number(point.strength) for point in kept])
        top.set_xlabel(curve.knob)
        figure.legend(loc="outside lower center", ncols=3, fontsize=10)
    return figure
