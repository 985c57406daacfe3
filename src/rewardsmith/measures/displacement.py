"""Measure what preference training does to the probabilities of responses, good ones among them."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rewardsmith._check import check_range, check_same_shape, check_shape
from rewardsmith.measures.intervals import (
    Estimate,
    Share,
    jackknife_estimate,
    mean_estimate,
    rank_correlations,
    read_column,
    read_columns,
    share_right,
)

Array = NDArray[np.float64]


class Displacement(NamedTuple):
    """shift: mean change of the log-probability, in nats; down: share of responses that became less likely."""

    shift: Estimate
    down: Share


def chosen_displacement(
    logps: ArrayLike, start_logps: ArrayLike, *, lengths: ArrayLike | None = None, alpha: float = 0.05
) -> Displacement:
    """Measure how far training moved the log-probability of the preferred responses.

        log π(y⁺|x) − log π_start(y⁺|x)        with `lengths`: per token

    Liu et al. 2024, arXiv:2405.16436; Rafailov et al. 2024, arXiv:2406.02900. DPO needs the difference to the rejected
    response alone, so both may fall, and their mass goes to responses that nobody judged (`off_support_mass`).

    Args:
        logps, start_logps: (n,) after and before; a NaN in either leaves the response out.
        lengths: (n,) tokens, for a shift per token.

    >>> found = chosen_displacement([-9.0, -4.0], [-5.0, -6.0])
    >>> found.shift.value, found.down.value
    (-1.0, 0.5)
    """
    change = np.diff(read_columns("chosen_displacement", "logps", start_logps, logps), axis=0)[0]
    if lengths is not None:
        change = change / read_column("chosen_displacement", "lengths", lengths)
    down = share_right([None if math.isnan(value) else value < 0 for value in change.tolist()], alpha=alpha)
    return Displacement(mean_estimate(change, alpha=alpha), down)


def high_quality_unlearning(
    rejected_logps: ArrayLike, start_logps: ArrayLike, scores: ArrayLike, *, least_score: float, alpha: float = 0.05
) -> Displacement:
    """Measure how far training moved the rejected responses that are good, which preferences alone cannot spare.

    Zhang et al. 2024, arXiv:2410.08067. A response rejected for a slightly better one loses probability as a bad one
    does. Compare with `chosen_displacement` and between losses.

    Args:
        rejected_logps, start_logps: (n,) after and before training, under one goal text.
        scores: (n,) of the rejected responses by a judge or gold.
        least_score: from which a response is good.

    >>> high_quality_unlearning([-9.0, -8.0], [-5.0, -7.0], [2.0, 9.0], least_score=8).shift.value
    -1.0
    """
    after, before, score = read_columns("high_quality_unlearning", "logps", rejected_logps, start_logps, scores)
    return chosen_displacement(after[score >= least_score], before[score >= least_score], alpha=alpha)


def off_support_mass(
    logps: ArrayLike,
    ref_logps: ArrayLike,
    *,
    top_p: float = 0.99,
    support: ArrayLike | None = None,
    alpha: float = 0.05,
) -> Estimate:
    """Measure the probability that the policy gives to responses beyond the reference's top p.

        Σ_{y ∉ S} π(y|x),    S the fewest responses with π_ref(S|x) ≥ p,  the likeliest first

    Liu et al. 2024, arXiv:2405.16436. The reference's own is at most 1 − p.

    Args:
        logps, ref_logps: (P, N) of all responses to P prompts; on real vocabularies, of the next token at P places.
        support: (P, N) True on S, such as the responses of the data, in place of the top p.

    >>> off_support_mass(np.log([[0.1, 0.9]]), np.log([[0.995, 0.005]])).value
    0.9
    """
    check_range("off_support_mass", "top_p", top_p, 0.0, 1.0)
    policy, ref = np.exp(np.array(logps, dtype=np.float64)), np.exp(np.array(ref_logps, dtype=np.float64))
    inside = np.zeros(ref.shape, dtype=np.bool_) if support is None else np.array(support, dtype=np.bool_)
    check_shape("off_support_mass", "logps", policy, None, None)
    check_same_shape("off_support_mass", policy, ref, inside)
    if support is None:
        order = (-ref).argsort(axis=1, kind="stable")
        ranked = np.take_along_axis(ref, order, axis=1)
        np.put_along_axis(inside, order, ranked.cumsum(axis=1) - ranked < top_p, axis=1)
    return mean_estimate(np.where(inside, 0.0, policy).sum(axis=1), alpha=alpha)


def goal_controllability(requested: ArrayLike, obtained: ArrayLike, *, alpha: float = 0.05) -> Estimate:
    """Correlate the requested with the obtained quality, by rank.

    Zhang et al. 2024, arXiv:2410.08067, for policies that read a goal; 0 for a policy that ignores it.

    Args:
        requested, obtained: (P, K) goals and scores of K responses to each of P prompts, the units of the interval;
            a response with NaN in either is left out.

    >>> goal_controllability([[2, 8], [5, 10]], [[1.0, 4.5], [4.0, 9.0]]).value
    1.0
    """
    goals, scores = np.array(requested, dtype=np.float64), np.array(obtained, dtype=np.float64)
    check_shape("goal_controllability", "requested", goals, None, None)
    check_same_shape("goal_controllability", goals, scores)
    pairs = np.stack([goals, scores], axis=-1)  # (P, K, 2)
    known = np.asarray(~np.isnan(pairs).any(axis=-1))

    def correlation(kept: NDArray[np.bool_]) -> float:
        return float(rank_correlations(pairs[kept][known[kept]])[0, 1])

    return jackknife_estimate(correlation, len(pairs), alpha=alpha, least=-1.0)
