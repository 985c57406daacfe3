"""Correct labels of known strength: flip them, soften them, add a margin, or leave them out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rewardsmith._check import check_range
from rewardsmith.data.preferences import PreferenceRow

Floats = NDArray[np.float64]


class Relabeled(NamedTuple):
    """One entry per pair: the columns that `engines.trl.RewardTrainer` reads after flipped pairs are swapped.

    label_flipped: (n,) True if chosen and rejected must be swapped.
    soft_label: (n,) the probability that the label, after swapping, is wrong.
    margin: (n,) wanted difference of the scores, after swapping; ≥ 0.
    weight: (n,) 0 if the pair is left out, else 1.
    """

    label_flipped: NDArray[np.bool_]
    soft_label: Floats
    margin: Floats
    weight: Floats


def relabel(
    strength: ArrayLike,
    *,
    flip: float | Literal["sign"] = 0.2,
    smooth: tuple[float, float] | None = (0.2, 0.4),
    soft: float = 0.2,
    smooth_top: float = 0.0,
    margin_scale: float = 0.0,
    drop: float = 0.0,
) -> Relabeled:
    """Correct labels by their strength: treat the weakest as wrong and the next as uncertain.

        q_i = #{j : μ_j ≤ μ_i} / n        flipped: q ≤ flip      softened: low < q ≤ high, or q > 1 − smooth_top
                                          margin: margin_scale · max(±μ, 0), − where flipped
                                          left out: the share `drop` next above the flipped

    Wang, Zheng et al. 2024, arXiv:2401.06080. `flip` is a guess of the share of wrong labels: look at
    `measures.label_quality` first. To leave out the weakest instead, pass flip=0 and drop. Pairs with equal strengths
    on both sides of a bound are treated as above it, so that equal strengths change nothing.

    Args:
        strength: (n,) μ, from `preference_strength`; a pair with NaN keeps its label and weight and gets no margin.
        flip: share of the pairs, or "sign": all with μ < 0, which needs voters that did not see the pair.
        smooth: the range (low, high) of shares in which labels are softened; None for none.
        soft: p of softened pairs.
        smooth_top: share of the strongest labels to soften too, against overfitting.
        margin_scale: margin per unit of strength. Keep it small: large margins spread all scores.
        drop: share of the pairs to leave out.

    >>> fixed = relabel([-2.0, -0.1, 0.5, 1.0, 3.0], flip=0.2, smooth=(0.2, 0.4), soft=0.3)
    >>> fixed.label_flipped.tolist(), fixed.soft_label.tolist()
    ([True, False, False, False, False], [0.0, 0.3, 0.0, 0.0, 0.0])
    """
    mean = np.asarray(strength, dtype=np.float64)
    if mean.ndim != 1:
        raise ValueError(f"relabel: strength must have shape (any), got {mean.shape}. Pass PreferenceStrength.mean.")
    for name, value in (("soft", soft), ("smooth_top", smooth_top), ("drop", drop)):
        check_range("relabel", name, value, 0.0, 1.0)
    check_range("relabel", "margin_scale", margin_scale, 0.0, np.inf)
    judged = np.sort(mean[~np.isnan(mean)])
    share_below = np.searchsorted(judged, mean, side="right") / max(len(judged), 1)  # below or equal: in (0, 1]
    rank = np.where(np.isnan(mean), np.nan, share_below)
    if isinstance(flip, str):
        if flip != "sign":
            raise ValueError(f"relabel: flip is {flip!r}. Pass a share of the pairs, or 'sign'.")
        flipped = mean < 0
    else:
        check_range("relabel", "flip", flip, 0.0, 1.0)
        flipped = rank <= flip
    turned = float(flipped.mean()) if len(mean) else 0.0
    dropped = (rank > turned) & (rank <= turned + drop) & ~flipped
    doubtful = rank > 1 - smooth_top
    if smooth is not None:
        low, high = smooth
        check_range("relabel", "smooth[0]", low, 0.0, 1.0)
        check_range("relabel", "smooth[1]", high, low, 1.0)
        doubtful |= (rank > low) & (rank <= high)
    signed = np.where(np.isnan(mean), 0.0, np.where(flipped, -mean, mean))
    margin = margin_scale * np.maximum(signed, 0.0) if margin_scale else np.zeros_like(mean)
    return Relabeled(flipped, np.where(doubtful, soft, 0.0), margin, np.where(dropped, 0.0, 1.0))


def relabel_rows(rows: Sequence[PreferenceRow], relabeled: Relabeled) -> list[PreferenceRow]:
    """Write corrected labels into the rows: swap flipped pairs, and add the columns of the loss.

    A row's own weight is multiplied by the new one, and its ratings are swapped with its answers. `columns` holds
    `label_flipped`. Ties have no order, so they keep their sides and get a weight only.
    """
    if len(rows) != len(relabeled.weight):
        raise ValueError(f"relabel_rows: {len(relabeled.weight)} labels for {len(rows)} rows. Give one per row.")
    changed = []
    for row, flipped, soft_label, margin, weight in zip(rows, *map(np.ndarray.tolist, relabeled), strict=True):
        turn = flipped and not row.is_tie
        new = replace(
            row.swapped() if turn else row,
            weight=weight * (1.0 if row.weight is None else row.weight),
            columns={**row.columns, "label_flipped": turn},
        )
        changed.append(new if row.is_tie else replace(new, soft_label=soft_label, margin=margin))
    return changed
