"""Measure how far several views of the same answers agree, and the signs of a collapse where they train each other."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rewardsmith._check import check_choice, check_range, check_same_shape
from rewardsmith.measures.intervals import Estimate, jackknife_estimate, read_column, read_columns

Array = NDArray[np.float64]
Method = Literal["kendall", "spearman", "top"]


def rank_consistency(
    scores_a: ArrayLike, scores_b: ArrayLike, *, method: Method = "kendall", mask: ArrayLike | None = None
) -> Array:
    """Return how far two scorers rank a prompt's responses alike, from 0 for reversed to 1 for equal.

        "kendall"   C = (τ_b + 1)/2,  τ_b = Σ_{i<j} sign(a_i − a_j) sign(b_i − b_j) / √(n_a n_b)
        "spearman"  C = (ρ + 1)/2
        "top"       C = 1 if both have the same best and the same worst response, else 0

    Wang et al. 2024, arXiv:2410.12735 (CREAM): a soft label for `objectives.soft_label_dpo_loss`. Below ½ it would
    train the pair the other way around, so clamp it to [½, 1]. Differs from the official code: ties do not count as
    agreement by position (n_a, n_b are the pairs that do not tie), and "top" compares the best and worst responses,
    not the first and last.

    Args:
        scores_a, scores_b: (..., N) of the same responses, such as implicit rewards of two checkpoints.
        mask: (..., N) True where a response counts; one without both scores never does.

    Returns:
        (...) C; NaN with fewer than 3 distinct responses (equal in both scores is one), or if all of them tie.

    >>> rank_consistency([[1.0, 2.0, 3.0]] * 3, [[1.0, 2.0, 3.0], [3.0, 2.0, 1.0], [1.0, 1.0, 2.0]]).round(3).tolist()
    [1.0, 0.0, 0.908]
    """
    check_choice("rank_consistency", "method", method, get_args(Method))
    a, b = np.array(scores_a, dtype=np.float64), np.array(scores_b, dtype=np.float64)
    counts = np.ones(a.shape, dtype=np.bool_) if mask is None else np.array(mask, dtype=np.bool_)
    check_same_shape("rank_consistency", a, b, counts)
    counts = counts & np.isfinite(a) & np.isfinite(b)
    a, b = np.where(counts, a, 0.0), np.where(counts, b, 0.0)
    pairs = counts[..., :, None] & counts[..., None, :]
    order = [np.where(pairs, np.sign(x[..., :, None] - x[..., None, :]), 0.0) for x in (a, b)]  # (..., N, N)
    same = pairs & (order[0] == 0) & (order[1] == 0)
    distinct = (counts & ~np.tril(same, -1).any(axis=-1)).sum(axis=-1)
    if method == "top":
        ends = [[np.where(counts, sign * x, -np.inf).argmax(axis=-1) for sign in (1, -1)] for x in (a, b)]
        found = ((ends[0][0] == ends[1][0]) & (ends[0][1] == ends[1][1])).astype(np.float64)
    else:
        if method == "spearman":  # rank − (n + 1)/2 is half the sum of signs, ties at their mean rank
            order = [x.sum(axis=-1)[..., None] for x in order]
        products = [(x * y).sum(axis=(-2, -1)) for x, y in (order, order[:1] * 2, order[1:] * 2)]
        size = np.sqrt(products[1] * products[2])
        found = (products[0] / np.where(size > 0, size, np.nan) + 1) / 2
    return np.where(distinct >= 3, found, np.nan)


def consistency_to_strength(consistency: ArrayLike) -> Array:
    """Return the strength of the pull to indifference that a soft label C amounts to.

        λ = 2(1 − C) / (2C − 1)        (1 + λ) [C ℓ(h) + (1 − C) ℓ(−h)] = ℓ(h) + λ/2 [ℓ(h) + ℓ(−h)]

    Wang et al. 2024, arXiv:2410.12735: 0 at C = 1, ∞ at ½, and NaN below, where no λ ≥ 0 gives the label.

    >>> consistency_to_strength([1.0, 0.75, 0.5, 0.2]).tolist()
    [0.0, 1.0, inf, nan]
    """
    c = np.array(consistency, dtype=np.float64)
    half = c == 0.5
    strength = np.where(half, np.inf, 2 * (1 - c) / np.where(half, 1.0, 2 * c - 1))
    return np.where(c < 0.5, np.nan, strength)


class Agreement(NamedTuple):
    """mask: (B,) pairs on which all views agree; label: (B,) 1.0 or 0.0 there, else NaN."""

    mask: NDArray[np.bool_]
    label: Array


def agreement(probabilities: ArrayLike, *, threshold: float = 0.5, least_confidence: float = 0.0) -> Agreement:
    """Keep the pairs on which all views agree, with their verdict.

    Zhou et al. 2025, arXiv:2502.08922 (SCIR). Agreement is no accuracy: views trained on the same data share errors.
    Compute it before a round of training: views that follow the training agree with it.

    Args:
        probabilities: (K, B) of each view that answer 1 is better; a pair with NaN in a view is not kept.
        threshold: of the verdict; a view exactly there has none.
        least_confidence: of every view, |2P − 1|.

    >>> agreement([[0.9, 0.9, 0.2], [0.6, 0.4, 0.1]]).label.tolist()
    [1.0, nan, 0.0]
    """
    p = np.array(probabilities, dtype=np.float64)
    check_range("agreement", "threshold", threshold, 0.0, 1.0)
    if p.ndim != 2 or not len(p) or ((p < 0) | (p > 1)).any():
        raise ValueError(
            f"agreement: probabilities of shape {p.shape} must be (K, B) in [0, 1]. Pass one row per view."
        )
    yes, no = (p > threshold).all(axis=0), (p < threshold).all(axis=0)
    mask = np.asarray((yes | no) & (np.abs(2 * p - 1) >= least_confidence).all(axis=0))
    return Agreement(mask, np.where(mask, yes.astype(np.float64), np.nan))


def label_length_correlation(
    first_lengths: ArrayLike, second_lengths: ArrayLike, labels: ArrayLike | None = None, *, alpha: float = 0.05
) -> Estimate:
    """Correlate labels of pairs with the difference of their lengths, whichever answer stands first.

        Σ (2y − 1)(|y₁| − |y₂|) / √( Σ (2y − 1)² Σ (|y₁| − |y₂|)² )

    Pearson's correlation over both orders of every pair. It rises where a loop of self-training takes longer for
    better.

    Args:
        first_lengths, second_lengths: (n,) tokens; a pair with NaN is left out.
        labels: (n,) P(answer 1 is better); 1 if None, for a chosen and a rejected answer.

    Returns:
        in [−1, 1] with its interval over pairs; NaN where no label or no length differs.

    >>> label_length_correlation([9, 9, 9], [5, 5, 13]).value  # (4 + 4 − 4) / √(3 · 48)
    0.3333333333333333
    """
    first, second = read_columns("label_length_correlation", "lengths", first_lengths, second_lengths)
    right = 1.0 if labels is None else read_column("label_length_correlation", "labels", labels, high=1)
    sides = read_columns("label_length_correlation", "labels", first - second, 2 * right - 1 + 0 * first)
    sides = sides[:, ~np.isnan(sides).any(axis=0)]

    def correlation(kept: NDArray[np.bool_]) -> float:
        cross = sides[:, kept] @ sides[:, kept].T
        size = math.sqrt(cross[0, 0] * cross[1, 1])
        return float(cross[0, 1] / size) if size > 0 else math.nan

    return jackknife_estimate(correlation, sides.shape[1], alpha=alpha, least=-1.0)


def answer_entropy(answers: Sequence[Hashable | None]) -> float:
    """Return the entropy in nats of the final answers to different questions, −Σ_a p_a log p_a.

    It falls to 0 where a policy that rewards itself by majority gives one answer to every question (Zhang et al. 2025,
    arXiv:2508.00410). Compare with that of the reference answers, or of the first round.

    Args:
        answers: one per question, in a canonical form; None is left out. Without any the entropy is NaN.

    >>> round(answer_entropy(["4", "7", None]), 4), answer_entropy(["0", "0"])
    (0.6931, 0.0)
    """
    counts = Counter(answer for answer in answers if answer is not None)
    n = counts.total()
    return math.fsum(k / n * math.log(n / k) for k in counts.values()) if n else math.nan
