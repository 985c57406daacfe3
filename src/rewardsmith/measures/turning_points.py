"""Where more optimization of a reward starts to hurt, how sure that is, and what to do about it."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rewardsmith._check import check_range
from rewardsmith.measures.best_of_n import OptimizationCurve
from rewardsmith.measures.members import Pressure

Array = NDArray[np.float64]


class Onset(NamedTuple):
    """Where on a curve gold is highest, and what comes after.

    pressure, kl: where that is; None where it is at the largest pressure, that is, where gold still rises.
    interval, kl_interval: from the first to the last pressure that no other surely beats.
    drop: gold at the peak less gold at the largest pressure; its interval allows for the peak having been looked for.
    declines: whether the drop is surely above 0.
    final_gain, final_interval: gold at the largest pressure less gold of a draw from π₀, as in the curve's own band.
    """

    pressure: float | None
    kl: float | None
    interval: tuple[float, float]
    kl_interval: tuple[float, float]
    drop: float
    drop_interval: tuple[float, float]
    declines: bool
    final_gain: float
    final_interval: tuple[float, float]


def onset(
    curve: OptimizationCurve,
    *,
    alpha: float = 0.05,
    n_draws: int = 20_000,
    generator: np.random.Generator | None = None,
) -> Onset:
    """The pressure at which gold is highest, and whether it surely falls after that.

        δ_jk = E[gold at j − gold at k],   δ̂_jk ± c ŝ_jk,   c the 1 − α quantile of max_j |T_j|

    with T multivariate t of P − 1 degrees of freedom and the correlations that the δ̂_jk of one k have over prompts: a
    parametric bootstrap of the largest comparison, as in Dunnett's test. The interval keeps every k with no δ_jk surely
    above 0, so it holds the true peak with probability 1 − α or more. Gold declines if the largest pressure is not
    kept: a curve that truly rises or stays flat is said to decline in about α/2 of all pools at most, however often its
    highest estimate lies before the end. No ŝ_jk is below what it would be if rewards said nothing of gold (the curve's
    `luck`): where gold is 0 or 1, a few prompts that happen to agree are no certainty.

    Args:
        curve: with gold, and at least two prompts: intervals are unbounded with fewer.
        n_draws: of T; at least 40/α are drawn.
        generator: of the draws; seeded with 0 if None.
    """
    check_range("onset", "alpha", alpha, 1e-9, 1)
    gold = curve.gold_by_prompt
    if gold is None or curve.gold_gain is None:
        raise ValueError("onset: the curve has no gold, without which nobody knows where it turns. Pass gold to it.")
    draws = max(n_draws, math.ceil(40 / alpha))
    rng = np.random.default_rng(0) if generator is None else generator
    luck = np.zeros((gold.shape[1],) * 2) if curve.luck is None else curve.luck
    alone = np.diag(luck)
    floors = np.sqrt(np.maximum(alone[:, None] + alone - 2 * luck, 0.0))  # (K, K) errors if rewards said nothing
    floors = np.maximum(floors, 1e-12 * np.abs(gold).max())  # below it lies rounding
    means, bounds = gold.mean(axis=0), []
    for k, floor in enumerate(floors):  # (K − 1,) simultaneous bounds of how much higher gold is elsewhere than at k
        gaps = np.delete(gold, k, axis=1) - gold[:, [k]]
        half = np.full(gaps.shape[1], math.inf)
        if len(gold) > 1 and gaps.shape[1]:
            errors = np.maximum(gaps.std(axis=0, ddof=1) / math.sqrt(len(gold)), np.delete(floor, k))
            half = _critical(gaps, alpha=alpha, n_draws=draws, rng=rng) * errors
        bounds.append((gaps.mean(axis=0) - half, gaps.mean(axis=0) + half))
    kept = [k for k, (low, _) in enumerate(bounds) if (low <= 0).all()]
    peak, last = int(means.argmax()), gold.shape[1] - 1
    low, high = (float(ends.max(initial=0.0)) for ends in bounds[last])
    return Onset(
        pressure=float(curve.pressure[peak]) if peak < last else None,
        kl=float(curve.kl[peak]) if peak < last else None,
        interval=(float(curve.pressure[kept[0]]), float(curve.pressure[kept[-1]])),
        kl_interval=(float(curve.kl[kept[0]]), float(curve.kl[kept[-1]])),
        drop=float(means[peak] - means[last]),
        drop_interval=(low, high),
        declines=last not in kept,
        final_gain=float(curve.gold_gain.mean[last]),
        final_interval=(float(curve.gold_gain.low[last]), float(curve.gold_gain.high[last])),
    )


def advice(found: Onset, curve: OptimizationCurve, *, members: Pressure | None = None) -> str:
    """What to do about a curve, in words: the lower end of the onset's interval is as far as is safe.

    Args:
        members: of an ensemble, how far its members part at the largest pressure (`underspecification`'s last entry).
    """
    last = len(curve.pressure) - 1
    if not found.declines:
        still = "is still rising" if found.pressure is None else "is not surely past its peak"
        return (
            f"Nothing to do up to {named(curve, last)}, where gold {still}; for more, sample more completions a prompt."
        )
    safe = int(np.searchsorted(curve.pressure, found.interval[0]))
    ensemble = "train an ensemble and score with its least (`rewardsmith.transforms.member_quantile`)"
    if members is not None and members.interval[0] > 0:
        ensemble = "score with the least of the members, which part there (`transforms.member_quantile`)"
    if safe == 0:
        return f"No pressure by this reward is known to be safe: mend it, or {ensemble}."
    held = "" if curve.kind == "tilted" else ", or hold a policy at that KL by its coefficient (`beta` in trainers)"
    return f"Stop at {named(curve, safe)}{held}, or {ensemble}."


def named(curve: OptimizationCurve, place: int) -> str:
    """A point of a curve in words, such as "best of 8 (KL 1.20)"."""
    pressure, kl = float(curve.pressure[place]), float(curve.kl[place])
    if curve.kind == "best_of_n":
        return f"best of {pressure:.0f} (KL {kl:.2f})"
    return f"KL {kl:.2f} (β = {f'{1 / pressure:.3g}' if pressure > 0 else '∞'})"


def _critical(gaps: Array, *, alpha: float, n_draws: int, rng: np.random.Generator) -> float:
    """The 1 − α quantile of the largest |T| over the columns; columns that do not vary count as independent."""
    n, size = gaps.shape
    spread = gaps.std(axis=0)
    units = (gaps - gaps.mean(axis=0)) / np.where(spread > 0, spread, np.inf)
    correlation = units.T @ units / n
    np.fill_diagonal(correlation, 1.0)
    normal = rng.multivariate_normal(np.zeros(size), correlation, size=n_draws, method="eigh", check_valid="ignore")
    scale = np.sqrt(rng.chisquare(n - 1, size=n_draws) / (n - 1))
    return float(np.quantile(np.abs(normal).max(axis=1) / scale, 1 - alpha))
