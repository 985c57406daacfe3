"""Calibration of stated confidences: expected calibration error, Brier score, AUROC, reliability curve.

Every measure takes array-likes (lists, arrays, tensors), one entry per answer:

    confidence: (n,) stated confidence in [0, 1].
    correct: (n,) 0 or 1, or the probability of being right if known; the measure is then its expectation.
    weights: (n,) mass of each entry, at least 0; all equal if None.

An entry with a NaN or None in any of them is skipped, as an answer without a confidence does not have confidence 0.
With no mass left, a measure is NaN.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rewardsmith.measures.intervals import read_column

Floats = NDArray[np.float64]


class ReliabilityCurve(NamedTuple):
    """Per bin, (bins,) each: mean confidence and accuracy (NaN if empty), share of the mass; edges (bins + 1,)."""

    confidence: Floats
    accuracy: Floats
    mass: Floats
    edges: Floats


def reliability_curve(confidence: Any, correct: Any, *, bins: int = 10, weights: Any = None) -> ReliabilityCurve:
    """Return accuracy by stated confidence, in bins of equal width.

    Bin k holds confidences in [k/bins, (k+1)/bins); the last one includes 1. Edges are rounded to the precision of the
    confidences, so that 0.7 in float16 falls in the eighth of ten bins as in float64.

    >>> curve = reliability_curve([0.95, 1.0, 0.2], [1, 0, 0])
    >>> float(curve.accuracy[9]), curve.confidence[9].round(3).item(), curve.mass[9].round(3).item()
    (0.5, 0.975, 0.667)
    """
    return _curve("reliability_curve", confidence, correct, bins, weights)


def expected_calibration_error(confidence: Any, correct: Any, *, bins: int = 10, weights: Any = None) -> float:
    """Return the mean distance of stated confidence from accuracy, over bins of equal width.

        ECE = Σ_b m_b |conf_b − acc_b|        m_b the share of the mass in bin b

    Naeini et al. 2015 (AAAI); ten bins, 0 and 1 in the end ones, as Damani et al. 2025, arXiv:2507.16806, compute it.
    For few answers it is biased upward, so that calibrated answers too have a value above 0.

    >>> expected_calibration_error([1.0, 1.0, 0.0, 0.0], [1, 0, 0, 0])
    0.25
    """
    curve = _curve("expected_calibration_error", confidence, correct, bins, weights)
    held = curve.mass > 0
    distances = np.abs(curve.confidence[held] - curve.accuracy[held])
    return float(curve.mass[held] @ distances) if held.any() else math.nan


def brier_score(confidence: Any, correct: Any, *, weights: Any = None) -> float:
    """Return the mean squared distance of the confidence from the outcome, E[(c − z)²]; Brier 1950.

    If `correct` is a probability y, z is drawn from it: E[(c − z)²] = (c − y)² + y(1 − y).

    >>> brier_score([1.0, 0.5], [1, 0]), brier_score([0.5], [0.5])
    (0.125, 0.25)
    """
    c, y, w = _entries("brier_score", confidence, correct, weights)
    total = float(w.sum())
    return float(((c - y) ** 2 + y * (1 - y)) @ w) / total if total > 0 else math.nan


def auroc(confidence: Any, correct: Any, *, weights: Any = None) -> float:
    """Return P(c₊ > c₋) + ½ P(c₊ = c₋), for the confidences of a right and of a wrong answer.

    0.5 is chance, 1 is a perfect ranking; the level does not matter. NaN if all are right or all are wrong. If
    `correct` is a probability y, an entry counts y among the right and 1 − y among the wrong.

    >>> auroc([0.9, 0.4, 0.4, 0.1], [1, 1, 0, 0])
    0.875
    """
    c, y, w = _entries("auroc", confidence, correct, weights)
    _, level = np.unique(c, return_inverse=True)
    right, wrong = np.bincount(level, weights=w * y), np.bincount(level, weights=w * (1 - y))
    pairs = float(right.sum() * wrong.sum())
    below = np.cumsum(wrong) - wrong
    return float(right @ (below + wrong / 2)) / pairs if pairs > 0 else math.nan


def _curve(caller: str, confidence: Any, correct: Any, bins: int, weights: Any) -> ReliabilityCurve:
    if bins < 1:
        raise ValueError(f"{caller}: bins is {bins}, which leaves no bin. Pass at least 1.")
    c, y, w = _entries(caller, confidence, correct, weights)
    edges = np.arange(1, bins) / bins  # inner edges, in the precision of the given confidences
    if getattr(getattr(confidence, "dtype", None), "is_floating_point", False):  # a torch tensor
        edges = np.asarray(confidence.new_tensor(edges.tolist()).double().cpu().numpy())
    elif np.issubdtype(dtype := np.asarray(confidence).dtype, np.floating):
        edges = edges.astype(dtype).astype(np.float64)
    index = np.searchsorted(edges, c, side="right")
    mass, stated, right = (np.bincount(index, weights=values, minlength=bins) for values in (w, w * c, w * y))
    with np.errstate(invalid="ignore", divide="ignore"):
        return ReliabilityCurve(stated / mass, right / mass, mass / mass.sum(), np.arange(bins + 1) / bins)


def _entries(caller: str, confidence: Any, correct: Any, weights: Any) -> tuple[Floats, Floats, Floats]:
    """Return the entries without a NaN in any of the three."""
    c, y = (read_column(caller, *given, high=1.0) for given in (("confidence", confidence), ("correct", correct)))
    w = np.ones_like(c) if weights is None else read_column(caller, "weights", weights, high=math.inf)
    if not len(c) == len(y) == len(w):
        raise ValueError(
            f"{caller}: confidence, correct and weights have {len(c)}, {len(y)} and {len(w)} entries. "
            "Give one of each per answer."
        )
    counts = ~(np.isnan(c) | np.isnan(y) | np.isnan(w))
    return c[counts], y[counts], w[counts]
