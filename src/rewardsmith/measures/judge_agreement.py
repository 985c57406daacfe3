"""Measure how far a judge's verdicts agree with human labels: accuracy, κ, ties, and what wrong labels hide."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rewardsmith._check import check_range
from rewardsmith.measures.intervals import Estimate, Share, jackknife_estimate, read_columns, share_right

Array = NDArray[np.float64]


class JudgeAgreement(NamedTuple):
    """Agreement of verdicts with labels, with intervals.

    accuracy: share that agrees; a tie of the judge alone, or of the label alone, counts half.
    kappa: Cohen's κ, with a tie as a category of its own; 0 is chance, 1 is equality.
    ties: share of verdicts that are ties.
    decided: accuracy where both have a winner.
    true_accuracy: `accuracy` with the truth, if labels with a winner are wrong at the given rate.
    """

    accuracy: Share
    kappa: Estimate
    ties: Share
    decided: Share
    true_accuracy: Estimate


def judge_agreement(
    verdicts: ArrayLike,
    labels: ArrayLike,
    *,
    symmetric: bool = True,
    label_noise: float = 0.0,
    clusters: Sequence[Hashable] | None = None,
    alpha: float = 0.05,
) -> JudgeAgreement:
    """Measure the agreement of a judge with human labels.

        κ = (p_o − p_e) / (1 − p_e),    p_e = Σ_c P(verdict = c) P(label = c)        Cohen 1960
        a = t a_t + (1 − t) (a_w − η) / (1 − 2η)      η = `label_noise`, t the share of labels that are ties, whose
                                                      accuracy is a_t; a_w is that of the labels with a winner

    κ has a jackknife interval over clusters, the shares Wilson's.

    Args:
        verdicts, labels: (n,) 1 for the first answer (or "yes"), 0 for the second ("no"), ½ for a tie; a probability
            counts by its side of ½, and a row with NaN does not count.
        symmetric: of pairs; which answer stands first is arbitrary, so p_e is that of both orders of every pair.
            Without it, labels that are all 1 have no κ above 0.
        label_noise: η, the rate of wrong labels among those with a winner, up to 0.49.
        clusters: (n,) what rows share, such as the prompt; rows are independent if None.
        alpha: 1 − coverage of the intervals.

    >>> found = judge_agreement([1, 1, 0, 0.5], [1, 1, 1, 1])
    >>> found.accuracy.value, round(found.kappa.value, 3), found.ties.value
    (0.625, 0.2, 0.25)
    """
    check_range("judge_agreement", "label_noise", label_noise, 0.0, 0.49)
    said, true = read_columns("judge_agreement", "verdicts and labels", verdicts, labels)
    names = range(len(said)) if clusters is None else clusters
    if len(names) != len(said):
        raise ValueError(f"judge_agreement: {len(names)} clusters for {len(said)} rows. Name one for each row.")
    known = np.isfinite(said) & np.isfinite(true)
    for column in (said[known], true[known]):
        if ((column < 0) | (column > 1)).any():
            bad = column[(column < 0) | (column > 1)][0]
            raise ValueError(f"judge_agreement: {bad} is not in [0, 1]. Give 1, 0, ½ for a tie, or a probability.")
    groups = [name for name, held in zip(names, known, strict=True) if held]
    a, b = (np.sign(column[known] - 0.5) for column in (said, true))
    hits = 1 - np.abs(a - b) / 2
    both = (a != 0) & (b != 0)
    accuracy = share_right(hits.tolist(), groups, alpha=alpha)
    unit = list(dict.fromkeys(groups))
    place = np.array([unit.index(name) for name in groups] if len(unit) < len(groups) else range(len(groups)), int)
    kappa = jackknife_estimate(
        lambda kept: _kappa(a, b, kept[place], symmetric=symmetric), len(unit), alpha=alpha, least=-1.0
    )
    # Labels that are ties are not wrong, so their rows keep their part. It is linear in the accuracy, given them.
    tied = float((b == 0).mean()) if len(b) else 0.0
    kept_part = label_noise * (1 - tied) + 2 * label_noise * float(hits[b == 0].sum()) / max(len(b), 1)
    value, low, high = ((share - kept_part) / (1 - 2 * label_noise) for share in accuracy[:3])
    return JudgeAgreement(
        accuracy,
        kappa,
        share_right((a == 0).tolist(), groups, alpha=alpha),
        share_right(
            [hit if held else None for hit, held in zip(hits.tolist(), both, strict=True)], groups, alpha=alpha
        ),
        Estimate(value, low, high, accuracy.n),
    )


def _kappa(a: Array, b: Array, kept: NDArray[np.bool_], *, symmetric: bool) -> float:
    """Return κ of the kept rows; NaN without rows, or where chance alone would agree on all."""
    if not kept.any():
        return math.nan
    a, b = a[kept], b[kept]
    if symmetric:
        a, b = np.concatenate([a, -a]), np.concatenate([b, -b])
    chance = sum(float((a == c).mean() * (b == c).mean()) for c in (-1.0, 0.0, 1.0))
    return math.nan if chance == 1 else (float((a == b).mean()) - chance) / (1 - chance)
