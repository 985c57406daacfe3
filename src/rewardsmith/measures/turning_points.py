"""Find where further optimization of a reward lowers gold, with an interval and advice."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rewardsmith._check import check_range
from rewardsmith.measures.best_of_n import OptimizationCurve
from rewardsmith.measures.members import BestOfN

Array = NDArray[np.float64]


class Onset(NamedTuple):
    """The peak of gold on a curve, and the drop after it.

    strength, kl: of the peak; None if it is at the largest strength, where gold still rises.
    interval, kl_interval: from the first to the last strength that no other significantly beats.
    drop: gold at the peak less gold at the largest strength; its interval allows for the search of the peak.
    declines: whether the drop's interval lies above 0.
    final_gain, final_interval: gold at the largest strength less gold of one draw from π₀, as in the curve's band.
    """

    strength: float | None
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
    """Find the optimization strength with the highest gold, and whether gold falls after it.

        δ_jk = E[gold at j − gold at k],   δ̂_jk ± c ŝ_jk,   c the 1 − α quantile of max_j |T_j|

    T is multivariate t of P − 1 degrees of freedom, with the correlations of the δ̂_jk of one k over prompts: a
    parametric bootstrap of the largest comparison, as in Dunnett's test. The interval keeps every k with no δ_jk
    significantly above 0, so it holds the true peak with probability 1 − α or more. Gold declines if the largest
    strength is not kept. For a curve that rises or stays flat this happens in about α/2 of all pools at most. No ŝ_jk
    is below its value for rewards unrelated to gold (the curve's `luck`), as for gold of 0 or 1 a few prompts may agree
    by chance.

    Args:
        curve: with gold, and at least two prompts: intervals are unbounded with fewer.
        n_draws: of T; at least 40/α are drawn.
        generator: of the draws; seeded with 0 if None.
    """
    check_range("onset", "alpha", alpha, 1e-9, 1)
    gold = curve.gold_by_prompt
    if gold is None or curve.gold_gain is None:
        raise ValueError("onset: the curve has no gold, so its peak is unknown. Pass gold to it.")
    draws = max(n_draws, math.ceil(40 / alpha))
    rng = np.random.default_rng(0) if generator is None else generator
    luck = np.zeros((gold.shape[1],) * 2) if curve.luck is None else curve.luck
    alone = np.diag(luck)
    floors = np.sqrt(np.maximum(alone[:, None] + alone - 2 * luck, 0.0))  # (K, K) errors if rewards said nothing
    floors = np.maximum(floors, 1e-12 * np.abs(gold).max())  # below it lies rounding
    means, bounds = gold.mean(axis=0), []
    for k, floor in enumerate(floors):  # (K − 1,) simultaneous bounds of how much higher gold is elsewhere than at k
        differences = np.delete(gold, k, axis=1) - gold[:, [k]]
        half = np.full(differences.shape[1], math.inf)
        if len(gold) > 1 and differences.shape[1]:
            errors = np.maximum(differences.std(axis=0, ddof=1) / math.sqrt(len(gold)), np.delete(floor, k))
            half = _critical(differences, alpha=alpha, n_draws=draws, rng=rng) * errors
        bounds.append((differences.mean(axis=0) - half, differences.mean(axis=0) + half))
    kept = [k for k, (low, _) in enumerate(bounds) if (low <= 0).all()]
    peak, last = int(means.argmax()), gold.shape[1] - 1
    low, high = (float(ends.max(initial=0.0)) for ends in bounds[last])
    return Onset(
        strength=float(curve.strength[peak]) if peak < last else None,
        kl=float(curve.kl[peak]) if peak < last else None,
        interval=(float(curve.strength[kept[0]]), float(curve.strength[kept[-1]])),
        kl_interval=(float(curve.kl[kept[0]]), float(curve.kl[kept[-1]])),
        drop=float(means[peak] - means[last]),
        drop_interval=(low, high),
        declines=last not in kept,
        final_gain=float(curve.gold_gain.mean[last]),
        final_interval=(float(curve.gold_gain.low[last]), float(curve.gold_gain.high[last])),
    )


def advice(found: Onset, curve: OptimizationCurve, *, members: BestOfN | None = None) -> str:
    """Advise on a curve; the lower end of the onset's interval is the safe strength.

    Args:
        members: of an ensemble, the last entry of `underspecification`, at the largest strength.
    """
    last = len(curve.strength) - 1
    if not found.declines:
        still = "is still rising" if found.strength is None else "is not clearly past its peak"
        return (
            f"Nothing to do up to {named(curve, last)}, where gold {still}. To look further, sample more completions."
        )
    safe = int(np.searchsorted(curve.strength, found.interval[0]))
    ensemble = "train an ensemble and score with its minimum (`rewardsmith.transforms.member_quantile`)"
    if members is not None and members.interval[0] > 0:
        ensemble = "score with the minimum over members, which disagree there (`transforms.member_quantile`)"
    if safe == 0:
        return f"No optimization by this reward is known to be safe. Fix the reward, or {ensemble}."
    held = "" if curve.kind == "tilted" else ", hold a policy at that KL by its coefficient (`beta` in trainers)"
    return f"Stop at {named(curve, safe)}{held}, or {ensemble}."


def named(curve: OptimizationCurve, place: int) -> str:
    """Name a point of a curve, such as "best of 8 (KL 1.20)"."""
    strength, kl = float(curve.strength[place]), float(curve.kl[place])
    if curve.kind == "best_of_n":
        return f"best of {strength:.0f} (KL {kl:.2f})"
    return f"KL {kl:.2f} (β = {f'{1 / strength:.3g}' if strength > 0 else '∞'})"


def _critical(differences: Array, *, alpha: float, n_draws: int, rng: np.random.Generator) -> float:
    """Return the 1 − α quantile of the largest |T| over the columns; constant columns count as independent."""
    n, size = differences.shape
    spread = differences.std(axis=0)
    units = (differences - differences.mean(axis=0)) / np.where(spread > 0, spread, np.inf)
    correlation = units.T @ units / n
    np.fill_diagonal(correlation, 1.0)
    normal = rng.multivariate_normal(np.zeros(size), correlation, size=n_draws, method="eigh", check_valid="ignore")
    scale = np.sqrt(rng.chisquare(n - 1, size=n_draws) / (n - 1))
    return float(np.quantile(np.abs(normal).max(axis=1) / scale, 1 - alpha))
