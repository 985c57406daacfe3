"""Measures on labels of completions: first wrong steps, flawed right answers, verifier error rates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rewardsmith.measures.intervals import Share, mean_or_nan, read_column, share_right, wilson_interval


class FirstErrorF1(NamedTuple):
    """Accuracy in finding the first wrong step.

    f1: harmonic mean of both accuracies, NaN if a kind of chain is missing; low, high: its interval.
    on_erroneous: share of chains with a wrong step whose first one was found exactly; on_correct: share of sound chains
        for which no step was named.
    """

    f1: float
    low: float
    high: float
    on_erroneous: float
    on_correct: float
    n_erroneous: int
    n_correct: int


def label_of(gold: Any) -> bool | None:
    """Read a gold label as right or wrong; None if there is none or it is no number.

    >>> label_of("1"), label_of(0.2), label_of(None), label_of(float("nan"))
    (True, False, None, None)
    """
    try:
        return None if gold is None or gold == "" or math.isnan(value := float(gold)) else value > 0.5
    except (TypeError, ValueError):
        return None


def first_wrong(labels: Sequence[Any]) -> int | None:
    """Return the index of the first step labeled wrong, −1 if all are right, None if unknown.

    >>> first_wrong([True, False, False]), first_wrong([1, 1]), first_wrong([1, None]), first_wrong([0, None])
    (1, -1, None, 0)
    """
    for index, label in enumerate(map(label_of, labels)):
        if label is not True:
            return index if label is False else None
    return -1 if len(labels) else None


def first_below(scores: Sequence[float | None], threshold: float) -> int | None:
    """Return the index of the first score below `threshold`, −1 if none, None if an unscored step hides it.

    >>> first_below([0.9, 0.2, None], 0.5), first_below([0.9, 0.8], 0.5), first_below([0.9, None], 0.5)
    (1, -1, None)
    """
    for index, score in enumerate(scores):
        if score is None or math.isnan(score):
            return None
        if score < threshold:
            return index
    return -1 if len(scores) else None


def first_error_f1(predicted: Sequence[int | None], true: Sequence[int | None], *, alpha: float = 0.05) -> FirstErrorF1:
    """Measure how well a judge or a process reward finds the first wrong step, as in ProcessBench.

        F1 = 2 a_e a_c / (a_e + a_c)    a_e: exact index on chains with a wrong step,  a_c: "none" on chains without

    Zheng et al. 2024, arXiv:2412.06559; used for detectors of flawed positives by Ding et al. 2025, arXiv:2510.22543.
    A detector that always or never names a step gets 0, unlike in plain accuracy. The interval uses Wilson's for both
    accuracies at alpha / 2, between which F1 is monotone.

    Args:
        predicted: the index named for each chain, −1 for none; None if unreadable, which is left out.
        true: the same by label; None if unknown, which is left out.

    >>> first_error_f1([1, -1, 2, -1], [1, -1, 0, -1]).f1  # a_e = 1/2, a_c = 1
    0.6666666666666666
    """
    hits: dict[bool, list[bool]] = {True: [], False: []}
    for guess, label in zip(predicted, true, strict=True):
        if guess is not None and label is not None:
            hits[label >= 0].append(guess == label)
    wrong, right = hits[True], hits[False]
    a_e, a_c = (mean_or_nan(kind) for kind in (wrong, right))
    bounds = [wilson_interval(sum(kind), len(kind), alpha=alpha / 2) for kind in (wrong, right)]
    low, high = (_harmonic(bounds[0][side], bounds[1][side]) for side in (0, 1))
    return FirstErrorF1(_harmonic(a_e, a_c), low, high, a_e, a_c, len(wrong), len(right))


def _harmonic(a: float, b: float) -> float:
    return 2 * a * b / (a + b) if a + b != 0 else 0.0  # NaN stays NaN


def flawed_positive_rate(correct: Sequence[Any], flawed: Sequence[Any], *, alpha: float = 0.05) -> Share:
    """Return the share of completions with a right answer whose reasoning is wrong.

        P(f = 1 | z = 1)

    Ding et al. 2025, arXiv:2510.22543. An outcome reward scores these like sound solutions.

    Args:
        correct: z, right answers; flawed: f, a wrong step by label or detector. None and NaN are left out.

    >>> flawed_positive_rate([1, 1, 1, 0, None], [1, 0, None, 1, 1])[0]
    0.5
    """
    return share_right([label_of(f) for z, f in zip(correct, flawed, strict=True) if label_of(z)], alpha=alpha)


class NoiseRates(NamedTuple):
    """A verifier's error rates on labeled rows; NaN with interval (0, 1) without rows.

    false_positive_rate: ρ₀ = P(verdict=1 | gold=0), over n_wrong rows.
    false_negative_rate: ρ₁ = P(verdict=0 | gold=1), over n_right rows.
    The intervals are Wilson's.
    """

    false_positive_rate: float
    false_positive_interval: tuple[float, float]
    false_negative_rate: float
    false_negative_interval: tuple[float, float]
    n_wrong: int
    n_right: int


def estimate_noise(
    verdicts: ArrayLike, gold: ArrayLike, keys: Sequence[str] | None = None, *, alpha: float = 0.05
) -> dict[str, NoiseRates]:
    """Measure a verifier's error rates on rows with known truth, by key.

        ρ̂₀ = #(r̃=1, r=0) / #(r=0),  ρ̂₁ = #(r̃=0, r=1) / #(r=1),  each with its Wilson interval

    Args:
        verdicts: (B,) r̃ ∈ {0, 1}, NaN where unscored; such rows are skipped.
        gold: (B,) r ∈ {0, 1}, NaN where unlabeled; such rows are skipped.
        keys: B keys, such as the response's format; None puts all rows under "all".

    Returns:
        The rates of each key, in the order in which keys appear.

    >>> rates = estimate_noise([1.0, 0.0, 0.0, 1.0], [1.0, 1.0, 0.0, 0.0])["all"]
    >>> rates.false_positive_rate, rates.false_negative_rate, rates.n_right
    (0.5, 0.5, 2)
    """
    said, true = (read_column("estimate_noise", *given) for given in (("verdicts", verdicts), ("gold", gold)))
    if len(said) != len(true):
        raise ValueError(f"estimate_noise: got {len(said)} verdicts and {len(true)} gold. Pass one of each per row.")
    for name, column in (("verdicts", said), ("gold", true)):
        odd = column[~(np.isnan(column) | (column == 0) | (column == 1))]
        if len(odd):
            raise ValueError(
                f"estimate_noise: {name} holds {odd[0]}, but a verdict is 0, 1, or NaN where unscored. "
                "Threshold graded rewards first."
            )
    names = ["all"] * len(said) if keys is None else list(keys)
    if len(names) != len(said):
        raise ValueError(f"estimate_noise: {len(names)} keys for {len(said)} rows. Pass one key per row.")
    missed: dict[str, tuple[list[bool], list[bool]]] = {name: ([], []) for name in names}  # on wrong, right rows
    for name, verdict, truth in zip(names, said.tolist(), true.tolist(), strict=True):
        if not np.isnan(verdict + truth):
            missed[name][int(truth)].append(verdict != truth)
    found = {name: [share_right(side, alpha=alpha) for side in sides] for name, sides in missed.items()}
    return {
        name: NoiseRates(wrong.value, wrong[1:3], right.value, right[1:3], wrong.n, right.n)
        for name, (wrong, right) in found.items()
    }
