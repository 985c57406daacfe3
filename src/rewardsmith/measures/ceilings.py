"""Estimate the most gold that optimizing a reward can reach, against the most that its completions allow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rewardsmith._check import check_choice
from rewardsmith.measures.best_of_n import OptimizationCurve, best_of_n_curve, tilted_curve
from rewardsmith.measures.intervals import Estimate, mean_estimate


class Ceiling(NamedTuple):
    """The highest gold over strengths, and what is missing to the oracle; intervals are Student's over prompts.

    strength: of that highest gold. ceiling: gold there, a little too high where several strengths are as good.
    oracle: gold of optimizing gold itself on the same completions, at its best strength. slack: oracle − ceiling.
    turn: the first strength after which gold falls while the reward rises; None if there is none. `onset(curve)` tells
        whether the fall is more than chance.
    curve: of the reward, with bands.
    """

    strength: float
    ceiling: Estimate
    oracle: Estimate
    slack: Estimate
    turn: float | None
    curve: OptimizationCurve


def ceiling_curve(
    rewards: ArrayLike,
    gold: ArrayLike,
    strengths: Sequence[float],
    *,
    kind: Literal["best_of_n", "tilted"] = "tilted",
    alpha: float = 0.05,
) -> Ceiling:
    """Measure how far optimizing a reward can raise gold, without a training run.

        ceiling = max_λ gold(λ),   slack = max_λ gold*(λ) − ceiling        gold*: the reward is gold itself

    Lambert and Calandra 2023, arXiv:2311.00168, argue that there is a ceiling; this estimate is ours. Gold of a finite
    pool of completions cannot rise above the best of them, so the oracle is taken on the same pool.

    Args:
        rewards, gold: (P, M) as in `best_of_n_curve`.
        strengths: numbers of candidates (`kind="best_of_n"`) or mean KLs in nats ("tilted"), upward. The tilted policy
            leaves out those that M completions cannot represent (`curve.stopped`).

    >>> rewards, gold = [[0.0, 1.0, 2.0, 3.0]], [[0.0, 1.0, 3.0, 2.0]]
    >>> found = ceiling_curve(rewards, gold, [1, 2, 4], kind="best_of_n")
    >>> found.strength, round(found.ceiling.value, 3), found.oracle.value, found.turn  # 13/6 of the best of 2
    (2.0, 2.167, 3.0, 2.0)
    """
    check_choice("ceiling_curve", "kind", kind, ("best_of_n", "tilted"))
    scores = np.where(np.isfinite(np.array(gold, dtype=np.float64)), np.array(rewards, dtype=np.float64), np.nan)
    truth = np.where(np.isfinite(scores), np.array(gold, dtype=np.float64), np.nan)

    def curve_of(by: ArrayLike) -> OptimizationCurve:
        if kind == "tilted":
            return tilted_curve(by, truth, kl=strengths, alpha=alpha, least_effective=1.0)
        return best_of_n_curve(by, truth, n=[int(n) for n in strengths], alpha=alpha)

    curve, best = curve_of(scores), curve_of(truth)
    reached, possible = curve.gold_by_prompt, best.gold_by_prompt
    assert reached is not None
    assert possible is not None
    means = reached.mean(axis=0)
    top, highest = int(means.argmax()), int(possible.mean(axis=0).argmax())
    falls = np.flatnonzero((np.diff(means) < -1e-12) & (np.diff(curve.rewards.mean) > 0))
    return Ceiling(
        strength=float(strengths[top]),
        ceiling=mean_estimate(reached[:, top], alpha=alpha),
        oracle=mean_estimate(possible[:, highest], alpha=alpha),
        slack=mean_estimate(possible[:, highest] - reached[:, top], alpha=alpha),
        turn=float(strengths[falls[0]]) if len(falls) else None,
        curve=curve,
    )
