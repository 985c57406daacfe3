"""Measure how sure a reward is: disagreement of members, conformal sets, and risk by coverage."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rewardsmith._check import check_range, check_same_shape
from rewardsmith.measures.intervals import Estimate, Share, jackknife_estimate, read_column, share_right

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]


class MemberUncertainty(NamedTuple):
    """(B,) mean preference of the members, its standard deviation, and the mutual information in nats.

    mutual_information: uncertainty of the mean less the mean uncertainty of the members: 0 where all members agree.
    """

    mean: Array
    std: Array
    mutual_information: Array


def member_uncertainty(margins: ArrayLike) -> MemberUncertainty:
    """Measure how far the members of an ensemble disagree about each pair.

        p_k = σ(Δr_k),   p̄ = mean_k p_k,   u = std_k p_k,   I = H(p̄) − mean_k H(p_k)

    Lu et al. 2025, arXiv:2507.19672 (survey); the information is that of Houlsby et al. 2011, arXiv:1112.5745. Members
    that share their data may agree on unfamiliar pairs too, so test this before using it to find them. For a reward
    that is lower where members disagree see `transforms.mean_minus_std`.

    Args:
        margins: (B, K) r(chosen) − r(rejected) by each of K members; a pair that a member cannot score is NaN.

    >>> found = member_uncertainty([[0.0, 0.0], [20.0, -20.0]])
    >>> found.mean.round(4).tolist(), found.mutual_information.round(4).tolist()
    ([0.5, 0.5], [0.0, 0.6931])
    """
    from scipy.special import expit

    table = np.array(margins, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] < 2:
        raise ValueError(
            f"member_uncertainty: margins have shape {table.shape}. Pass (pairs, members) with two members or more."
        )
    p = expit(table)
    inside = _entropy(p).mean(axis=1)
    return MemberUncertainty(p.mean(axis=1), p.std(axis=1), np.maximum(_entropy(p.mean(axis=1)) - inside, 0.0))


def _entropy(p: Array) -> Array:
    """Return −p log p − (1 − p) log(1 − p) in nats, 0 at 0 and 1."""
    from scipy.special import entr

    nats: Array = entr(p) + entr(1 - p)
    return nats


class ConformalSets(NamedTuple):
    """(B,) whether each label is in a pair's set; the threshold, and the number of calibration pairs behind it."""

    first: Flags
    second: Flags
    threshold: float
    n_calibration: int

    @property
    def decides(self) -> Flags:
        """(B,) whether the set has a single label; else abstain, or ask a person."""
        found: Flags = self.first ^ self.second
        return found

    def coverage(self, first_won: ArrayLike, *, alpha: float = 0.05) -> Share:
        """Return the share of pairs whose label is in the set, for labels (B,) of True, False or None."""
        labels = _labels("coverage", first_won)
        check_same_shape("coverage", labels, self.first)
        held = np.where(labels == 1, self.first, self.second)
        return share_right(
            [None if math.isnan(y) else float(h) for y, h in zip(labels, held, strict=True)], alpha=alpha
        )


def conformal_sets(
    p: ArrayLike, *, calibration_p: ArrayLike, calibration_first_won: ArrayLike, alpha: float = 0.1
) -> ConformalSets:
    """Return the set of labels that each pair may have, which holds the true one with probability 1 − α or more.

        s_i = 1 − p_i(y_i),   q = the ⌈(n + 1)(1 − α)⌉-th smallest s, ∞ beyond n,   set = { y : 1 − p(y) ≤ q }

    Vovk et al. 2005; for preferences Lu et al. 2025, arXiv:2507.19672. The guarantee is on average over pairs, and
    holds only if new pairs are like those of the calibration. The answers of a policy under training are not: calibrate
    again every so often, and look at `coverage`. With two labels a set of one label is a threshold on p.

    Args:
        p: (B,) P(first is better); where it is NaN the set has both labels.
        calibration_p, calibration_first_won: (n,) the same with the label, True if the first is better. A pair with
            NaN or None in either is left out.
        alpha: the share of sets that may miss the label.

    >>> sets = conformal_sets([0.9, 0.5], calibration_p=[0.8, 0.7, 0.9], calibration_first_won=[1, 1, 0], alpha=0.5)
    >>> round(sets.threshold, 3), sets.first.tolist(), sets.second.tolist()  # s: 0.2, 0.3, 0.9
    (0.3, [True, False], [False, False])
    """
    check_range("conformal_sets", "alpha", alpha, 0, 1)
    known, labels = (
        read_column("conformal_sets", "calibration_p", calibration_p, high=1.0),
        _labels("conformal_sets", calibration_first_won),
    )
    check_same_shape("conformal_sets", known, labels)
    asked = read_column("conformal_sets", "p", p, high=1.0)
    misfit = np.where(labels == 1, 1 - known, known)
    misfit = np.sort(misfit[~np.isnan(misfit) & ~np.isnan(labels)])
    place = math.ceil((len(misfit) + 1) * (1 - alpha) - 1e-9)  # 10 · (1 − .9) is a little more than 1
    threshold = math.inf if place > len(misfit) else float(misfit[place - 1]) if place > 0 else -math.inf
    unknown = np.isnan(asked)
    first, second = ((1 - asked <= threshold) | unknown, (asked <= threshold) | unknown)
    return ConformalSets(first, second, threshold, len(misfit))


class RiskCoverage(NamedTuple):
    """(n,) share of answers kept, most confident first, and the error among them; the area under that curve.

    aurc: mean error over all shares kept; at random it is the error of all, `risk[-1]`. Jackknife interval over rows.
    """

    coverage: Array
    risk: Array
    aurc: Estimate


def risk_coverage(confidence: ArrayLike, correct: ArrayLike, *, alpha: float = 0.05) -> RiskCoverage:
    """Measure the error among the k most confident answers, for every k, and the mean over k (AURC).

        risk(k) = 1/k Σ_{i ≤ k} (1 − correct₍ᵢ₎),   AURC = 1/n Σ_k risk(k)        (i) by falling confidence

    Geifman et al. 2018, arXiv:1805.08206. Equal confidences count as in a random order. Rows with NaN are left out.

    Args:
        confidence: (n,) any number that is higher where the answer is surer, such as max(p, 1 − p).
        correct: (n,) 0 or 1.

    >>> risk_coverage([0.9, 0.8, 0.7], [1, 1, 0]).risk.round(3).tolist()
    [0.0, 0.0, 0.333]
    """
    sure, right = read_column("risk_coverage", "confidence", confidence), _labels("risk_coverage", correct)
    check_same_shape("risk_coverage", sure, right)
    kept = ~np.isnan(sure) & ~np.isnan(right)
    sure, wrong = sure[kept], 1 - right[kept]
    counts = np.arange(1, len(sure) + 1)

    def risk(rows: Flags) -> Array:
        value, place, size = np.unique(-sure[rows], return_inverse=True, return_counts=True)
        errors = np.bincount(place, weights=wrong[rows], minlength=len(value)) / size  # mean of each tied block
        found: Array = np.repeat(errors, size).cumsum() / counts[: rows.sum()]
        return found

    curve = risk(np.ones(len(sure), dtype=np.bool_))
    area = jackknife_estimate(lambda rows: float(risk(rows).mean()), len(sure), alpha=alpha)
    return RiskCoverage(counts / max(len(sure), 1), curve, area)


def _labels(caller: str, values: ArrayLike) -> Array:
    """Return (n,) 0, 1, or NaN where unknown."""
    labels = read_column(caller, "the labels", values, high=1.0)
    if not np.isin(labels[~np.isnan(labels)], (0, 1)).all():
        raise ValueError(f"{caller}: a label is neither 0 nor 1. Pass True or False, and None where it is not known.")
    return labels
