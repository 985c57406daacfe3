"""What a reward's accuracy is worth off its training data: a shifted cue, a neutral pair, another split."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rewardsmith._check import check_range
from rewardsmith.data import PreferenceRow, Row
from rewardsmith.measures import wilson_interval
from rewardsmith.measures.intervals import design_effect, mean_interval
from rewardsmith.measures.labels import Share
from rewardsmith.scoring import Target, rewards_of, score

Array = NDArray[np.float64]


class AccuracyGap(NamedTuple):
    """Two rewards on the same pairs; ties count half.

    gap: accuracy_a − accuracy_b; low, high: 95 % paired bootstrap. n: pairs that both could score.
    """

    accuracy_a: float
    accuracy_b: float
    gap: float
    low: float
    high: float
    n: int


class InvarianceGap(NamedTuple):
    """How far apart a reward puts what should be equal.

    value: the mean of |Δ| over neutral pairs, in standard deviations of their scores; low, high: its interval.
    signed: the mean of Δ likewise, chosen minus rejected: 0 for pairs in no order. n: pairs.
    """

    value: float
    low: float
    high: float
    signed: float
    n: int


def spurious_shift_accuracy(
    reward: Target | Callable[..., Any],
    pairs_at: Callable[[float], Sequence[PreferenceRow]],
    *,
    rho: Sequence[float] = (1.0, 0.0, -1.0),
    alpha: float = 0.05,
    **options: Any,
) -> dict[float, Share]:
    """Accuracy while a cue goes with the better answer (ρ = 1), with neither (0), and with the worse one (−1).

    Srivastava et al. 2025, arXiv:2506.16507. A reward that reads causes has one accuracy; the fall from 1 to −1 is what
    it owes to the cue.

    Args:
        pairs_at: ρ to pairs of the same contents in which the cue correlates with the label by ρ.
        options: for `rewards.score`.

    Returns:
        Per ρ the share of pairs ranked right, ties counting half, with an interval over prompts.
    """
    found = {}
    for value in rho:
        rows = list(pairs_at(value))
        found[value] = _share(_margins(reward, rows, options), [row.key for row in rows], alpha)
    return found


def invariance_gap(
    reward: Target | Callable[..., Any], neutral_pairs: Sequence[PreferenceRow], *, alpha: float = 0.05, **options: Any
) -> InvarianceGap:
    """How much a reward reacts to what should not matter.

        mean |R(x, y₁) − R(x, y₂)| / std R        over pairs that differ in style alone, or are equally irrelevant

    Srivastava et al. 2025, arXiv:2506.16507. In standard deviations of all the pairs' scores, so that rewards of any
    scale compare; two unrelated texts are 1.13 apart (2/√π, for Gaussian scores). NaN where all scores are equal.
    """
    scores = _scores(reward, neutral_pairs, options)
    scores = scores[np.isfinite(scores).all(axis=1)]
    spread = float(scores.std()) if len(scores) else math.nan
    if not spread > 0:
        return InvarianceGap(math.nan, math.nan, math.nan, math.nan, len(scores))
    delta = (scores[:, 0] - scores[:, 1]) / spread
    low, high = mean_interval(np.abs(delta).tolist(), alpha=alpha)
    return InvarianceGap(float(np.abs(delta).mean()), low, high, float(delta.mean()), len(delta))


def generalization_gap(
    reward_a: Target | Callable[..., Any],
    reward_b: Target | Callable[..., Any],
    splits: Mapping[str, Sequence[PreferenceRow]],
    *,
    n_resamples: int = 1000,
    generator: np.random.Generator | None = None,
    **options: Any,
) -> dict[str, AccuracyGap]:
    """Two rewards compared split by split: in distribution, and under each shift that matters to you.

    Lin et al. 2024, arXiv:2409.03650, who find an explicit head ahead of DPO's implicit reward wherever prompts or
    answers shift, at equal accuracy in distribution. A split of paraphrases (the same pairs in other words) shows how
    far a reward leans on tokens. Compare at equal accuracy on the training pairs: make those a split too.

    Args:
        reward_a, reward_b: such as an explicit reward model and an implicit one.
        splits: name → pairs; rows of one `key` are resampled together.
        options: for `rewards.score`.
    """
    found = {}
    for name, rows in splits.items():
        a, b = (_margins(reward, rows, options) for reward in (reward_a, reward_b))
        clusters = [row.key for row in rows]
        found[name] = accuracy_gap(a, b, clusters=clusters, n_resamples=n_resamples, generator=generator)
    return found


def accuracy_gap(
    margins_a: ArrayLike,
    margins_b: ArrayLike,
    *,
    clusters: Sequence[Hashable] | None = None,
    n_resamples: int = 1000,
    generator: np.random.Generator | None = None,
) -> AccuracyGap:
    """`generalization_gap` on one split, from the two rewards' margins, chosen minus rejected.

    Args:
        margins_a, margins_b: (n,); a pair that is NaN in either is left out of both.
        clusters: (n) what goes together, such as the prompt; pairs alone if None.
        generator: of the bootstrap; seeded with 0 if None, so that the same margins give the same interval.

    >>> accuracy_gap([1.0, 2.0, 3.0, 1.0], [1.0, -2.0, -3.0, 0.0])[:3]
    (1.0, 0.375, 0.625)
    """
    a, b = (np.asarray(margins, dtype=np.float64) for margins in (margins_a, margins_b))
    if a.shape != b.shape or a.ndim != 1 or (clusters is not None and len(clusters) != len(a)):
        raise ValueError(
            f"accuracy_gap: margins of shapes {a.shape} and {b.shape} with "
            f"{'no' if clusters is None else len(clusters)} clusters do not belong to one list of pairs. Align them."
        )
    check_range("accuracy_gap", "n_resamples", n_resamples, 1, math.inf)
    kept = ~(np.isnan(a) | np.isnan(b))
    if not kept.any():
        nan = math.nan
        return AccuracyGap(nan, nan, nan, nan, nan, 0)
    hits = np.stack([(np.sign(column[kept]) + 1) / 2 for column in (a, b)])  # (2, n)
    names = list(range(len(a))) if clusters is None else list(clusters)
    place = {name: index for index, name in enumerate(dict.fromkeys(n for n, k in zip(names, kept, strict=True) if k))}
    cluster = np.array([place[n] for n, k in zip(names, kept, strict=True) if k])
    low, high = _bootstrap(hits[0] - hits[1], cluster, n_resamples, generator or np.random.default_rng(0))
    accuracy_a, accuracy_b = hits.mean(axis=1).tolist()
    return AccuracyGap(accuracy_a, accuracy_b, accuracy_a - accuracy_b, low, high, int(kept.sum()))


def _bootstrap(
    gains: Array, cluster: NDArray[np.intp], n_resamples: int, generator: np.random.Generator
) -> tuple[float, float]:
    """95 % percentile interval of the mean gain, clusters drawn anew with replacement."""
    total, count = np.bincount(cluster, weights=gains), np.bincount(cluster).astype(np.float64)
    n, means = len(total), []
    for _ in range(n_resamples):
        times = np.bincount(generator.integers(n, size=n), minlength=n)
        means.append(float(times @ total / (times @ count)))
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def _scores(reward: Target | Callable[..., Any], rows: Sequence[PreferenceRow], options: Mapping[str, Any]) -> Array:
    """(n, 2) scores of chosen and rejected, NaN where unscored."""
    asked = [Row(row.prompt, answer, row.columns) for row in rows for answer in (row.chosen, row.rejected)]
    values = [math.nan if v is None else v for v in rewards_of(score(reward, asked, **options))]
    return np.array(values, dtype=np.float64).reshape(-1, 2)


def _margins(
    reward: Target | Callable[..., Any], rows: Sequence[PreferenceRow], options: Mapping[str, Any]
) -> list[float]:
    scores = _scores(reward, rows, options)
    margins: list[float] = (scores[:, 0] - scores[:, 1]).tolist()
    return margins


def _share(margins: Sequence[float], keys: Sequence[str], alpha: float) -> Share:
    """The share of margins above 0, ties counting half, with Wilson's interval for as many pairs as the keys leave."""
    known = [
        ((margin > 0) + (margin >= 0), key) for margin, key in zip(margins, keys, strict=True) if not math.isnan(margin)
    ]
    if not known:
        return Share(math.nan, 0.0, 1.0, 0)
    hits, n = [twice / 2 for twice, _ in known], len(known)
    share = sum(hits) / n
    rows = n / design_effect([hit - share for hit in hits], [key for _, key in known])
    low, high = wilson_interval(share * rows, rows, alpha=alpha)
    return Share(share, low, high, n)
