"""Estimate how many labels of a preference data set are wrong, and which."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rewardsmith._check import check_range
from rewardsmith.measures.intervals import Share, mean_or_nan, rank_correlations, read_column, share_right


class StrengthBin(NamedTuple):
    """Pairs of similar strength.

    low, high: least and greatest strength; n: number of pairs; strength: mean.
    estimated_error: mean share of voters that contradict the label, an estimate of the share of wrong labels; NaN
        without such shares.
    right: share of right labels among those known to be right or wrong, with its interval and number.
    examples: indices of up to k pairs to look at, weakest first.
    """

    low: float
    high: float
    n: int
    strength: float
    estimated_error: float
    right: Share
    examples: tuple[int, ...]


class LabelQuality(NamedTuple):
    """Label quality by bins of strength.

    bins: upward by strength. share_negative: share of the pairs whose label the voters contradict on average.
    estimated_error: over all pairs.
    rank_correlation: Spearman's, of the bins' order with their shares of right labels; NaN without known labels.
    n: judged pairs.
    """

    bins: tuple[StrengthBin, ...]
    share_negative: float
    estimated_error: float
    rank_correlation: float
    n: int


def label_quality(
    strength: ArrayLike,
    *,
    share_negative: ArrayLike | None = None,
    right: ArrayLike | None = None,
    bins: int = 10,
    examples: int = 3,
    alpha: float = 0.05,
) -> LabelQuality:
    """Sort the pairs into bins of strength and estimate the share of wrong labels in each.

    Wang, Zheng et al. 2024, arXiv:2401.06080: in their data the mean vote contradicts a quarter of the labels, and
    agreement with a stronger judge rises from .16 in the weakest group to .96 in the strongest. Read it before choosing
    `flip` of `data.relabel`: flipping the weakest bins gains their error.

    Votes of models trained on the pairs they judge are of little use; see `data.preference_strength`.

    Args:
        strength: (n,) μ, `PreferenceStrength.mean`; unjudged pairs (NaN) are left out.
        share_negative: (n,) `PreferenceStrength.share_negative`.
        right: (n,) 1 if a label is known to be right (by a stronger judge or a second annotator), 0 if wrong, else NaN.
        bins: number of bins of about equal size; fewer if there are fewer pairs.
        examples: k, pairs to name per bin.
        alpha: 1 − coverage of the intervals.

    >>> label_quality([-1.0, -0.5, 0.5, 1.0], right=[0, 1, 1, 1], bins=2).bins[0].right.value
    0.5
    """
    check_range("label_quality", "bins", bins, 1, math.inf)
    mean = read_column("label_quality", "strength", strength)
    wrong, known = (
        np.full(len(mean), np.nan) if values is None else read_column("label_quality", name, values, high=1.0)
        for name, values in (("share_negative", share_negative), ("right", right))
    )
    if not len(mean) == len(wrong) == len(known):
        raise ValueError(
            f"label_quality: strength, share_negative and right have {len(mean)}, {len(wrong)} and {len(known)} "
            "entries. Give one number per pair."
        )
    order = np.argsort(mean, kind="stable")
    order = order[~np.isnan(mean[order])]
    parts = [part for part in np.array_split(order, min(bins, max(len(order), 1))) if len(part)]
    made = []
    for part in parts:
        labels = known[part][~np.isnan(known[part])].tolist()
        made.append(
            StrengthBin(
                low=float(mean[part[0]]),
                high=float(mean[part[-1]]),
                n=len(part),
                strength=mean_or_nan(mean[part]),
                estimated_error=mean_or_nan(wrong[part][~np.isnan(wrong[part])]),
                right=share_right(labels, alpha=alpha),
                examples=tuple(part[:examples].tolist()),
            )
        )
    shares = [(place, one.right.value) for place, one in enumerate(made)]
    return LabelQuality(
        tuple(made),
        share_negative=mean_or_nan(mean[order] < 0),
        estimated_error=mean_or_nan(wrong[order][~np.isnan(wrong[order])]),
        rank_correlation=float(rank_correlations(shares)[0, 1]) if shares else math.nan,
        n=len(order),
    )
