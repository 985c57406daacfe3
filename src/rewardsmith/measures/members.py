"""Measure whether the members of an ensemble disagree and which biases they share, without gold.

Both use best-of-n within the samples: a prompt's G responses are cut into ⌊G/n⌋ sets of n, and each set gives one pick.
This needs responses in random order, such as independent samples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rewardsmith._check import check_groups, check_range
from rewardsmith.measures.intervals import clustered_interval, mean_or_nan, rank_correlations

Array = NDArray[np.float64]
BEST_OF = (1, 4, 16, 64)


class BestOfN(NamedTuple):
    """Scores by all members of the picks that best-of-n by one member makes.

    n: candidates per pick.
    spearman: rank correlation of the scores, averaged over pairs of the picking member and another; NaN if no two
        members vary over at least 3 picks.
    gap: score of the picks by the picking member less that by the others, in standard deviations.
    interval: 95 %, over prompts; unbounded with fewer than two.
    """

    n: int
    spearman: float
    gap: float
    interval: tuple[float, float]


class Underspecification(NamedTuple):
    """Accuracy of members on labeled pairs, and their disagreement under optimization.

    accuracy: (K,) of each member on the pairs, ties counted half; empty without pairs.
    accuracy_mean, accuracy_spread: mean and standard deviation over members, NaN without pairs.
    by_n: one entry for each n.
    """

    accuracy: tuple[float, ...]
    accuracy_mean: float
    accuracy_spread: float
    by_n: tuple[BestOfN, ...]


class Drift(NamedTuple):
    """Slope of a feature of the picks in log n, under each of several scores.

    feature: its name.
    slopes: standard deviations of the feature per unit of log n, by score.
    intervals: 95 %, over prompts.
    shared: +1 or −1 if all intervals have that sign, else 0.
    """

    feature: str
    slopes: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    shared: int


def underspecification(
    source_rewards: ArrayLike,
    *,
    group_size: int,
    chosen: ArrayLike | None = None,
    rejected: ArrayLike | None = None,
    n: Sequence[int] = BEST_OF,
) -> Underspecification:
    """Measure whether members that agree on data also agree on the picks of optimization.

        gap(n) = E[ z_k(top by k) ] − E[ mean_{j≠k} z_j(top by k) ]        z standardized over all responses

    Eisenstein et al. 2023, arXiv:2312.09244. Members of equal accuracy on held-out pairs may still disagree. A
    difference that grows with n is overoptimization, seen without gold. A difference near 0 is no proof of the
    contrary, as members may share a bias; `shared_hack_drift` looks for that.

    Args:
        source_rewards: (B, K) scores of K ≥ 2 members on responses of the start policy, a prompt's consecutive. A row
            with an unscored member (None, NaN or ±inf) is left out.
        group_size: G, responses per prompt; the largest n must not exceed it.
        chosen, rejected: (M, K) scores of the members on labeled pairs; a pair with an unscored side does not count.
        n: candidates per pick.

    >>> alike = [[x, 2.0 * x] for x in (0.0, 3.0, 1.0, 2.0)]
    >>> [(p.n, round(p.spearman, 6), p.gap) for p in underspecification(alike, group_size=4, n=[1]).by_n]
    [(1, 1.0, 0.0)]
    """
    scores = _table("underspecification", "source_rewards", source_rewards)
    if scores.shape[1] < 2:
        raise ValueError(
            f"underspecification: source_rewards have {scores.shape[1]} member, and it takes two to disagree. "
            "Pass scores of two or more."
        )
    check_groups("underspecification", len(scores), group_size)
    _check_sizes("underspecification", n, group_size)
    if (chosen is None) != (rejected is None):
        raise ValueError("underspecification: give both chosen and rejected, or neither.")
    n_members, accuracy = scores.shape[1], ()
    if chosen is not None and rejected is not None:
        better, worse = (
            _table("underspecification", name, side) for name, side in (("chosen", chosen), ("rejected", rejected))
        )
        if better.shape != worse.shape or better.shape[1] != n_members:
            raise ValueError(
                f"underspecification: chosen and rejected have shapes {better.shape} and {worse.shape}, but there are "
                f"{n_members} members. Pass (M, {n_members}) scores of both sides of the same pairs."
            )
        margin = better - worse
        right = np.where(np.isnan(margin), np.nan, (margin > 0) + 0.5 * (margin == 0))
        counts = (~np.isnan(right)).sum(axis=0)
        accuracy = tuple((np.nansum(right, axis=0) / np.where(counts > 0, counts, np.nan)).tolist())
    scored = np.asarray(np.isfinite(scores).all(axis=1))
    standard = _standardized(np.where(scored[:, None], scores, np.nan))
    found = []
    for count in n:
        correlations, differences = [], []
        for k in range(n_members):
            picks = _picks(standard[:, k], group_size, count)
            if count > 1 or not k:  # of one candidate each, all members pick the same
                ranked = rank_correlations(standard[picks]) if len(picks) > 2 else np.full((n_members,) * 2, np.nan)
            correlations += np.delete(ranked[k], k).tolist()
            others = np.delete(standard, k, axis=1).mean(axis=1)
            differences.append(_prompt_means((standard[:, k] - others)[:, None], picks, group_size)[:, 0])
        by_prompt = np.mean(differences, axis=0)
        known = by_prompt[np.isfinite(by_prompt)].tolist()
        said = mean_or_nan([value for value in correlations if not math.isnan(value)])
        found.append(BestOfN(count, said, mean_or_nan(known), clustered_interval(known, range(len(known)))))
    spread = float(np.std(accuracy)) if accuracy else math.nan
    return Underspecification(accuracy, mean_or_nan(accuracy), spread, tuple(found))


def shared_hack_drift(
    features: Mapping[str, ArrayLike],
    rewards: Mapping[str, ArrayLike],
    *,
    group_size: int,
    n: Sequence[int] = BEST_OF,
) -> tuple[Drift, ...]:
    """Measure which surface features rise or fall under optimization of every score.

        slope of   mean feature of the picks of best-of-n   on   log n,   by least squares within each prompt

    Eisenstein et al. 2023, arXiv:2312.09244. A feature that drifts under every aggregate of an ensemble is a hack that
    all members learned, which no aggregate removes, or a part of quality. Ask a person which. Then balance the pairs in
    it or subtract it (`transforms.length_penalty`).

    Args:
        features: (B,) of each response by name, such as its length or its number of lists.
        rewards: (B,) by name, one for each way to aggregate the members, and single members for comparison.
        group_size: G, responses per prompt, consecutive and in random order.
        n: two or more numbers of candidates per pick, up to G.

    Returns:
        One `Drift` per feature, in the order given. A row that is unscored (None, NaN or ±inf) is never picked.

    >>> drift = shared_hack_drift({"length": range(8)}, {"min": range(8), "mean": range(8)}, group_size=4, n=[1, 4])
    >>> drift[0].shared
    1
    """
    if not features or not rewards:
        raise ValueError("shared_hack_drift: features or rewards are empty. Name at least one of each.")
    _check_sizes("shared_hack_drift", n, group_size)
    if len(set(n)) < 2:
        raise ValueError(f"shared_hack_drift: n is {list(n)}, and a slope needs two values. Pass [1, 4, 16] or so.")
    arrays = [np.array(column, dtype=np.float64) for column in (*features.values(), *rewards.values())]
    if len({array.shape for array in arrays}) > 1:
        raise ValueError(
            f"shared_hack_drift: features and rewards have shapes {sorted({array.shape for array in arrays})}. "
            "Pass one value per response in each."
        )
    columns = _table("shared_hack_drift", "features and rewards", np.stack(arrays, axis=-1))
    check_groups("shared_hack_drift", len(columns), group_size)
    looks, scores = np.split(np.where(np.isfinite(columns), columns, np.nan), [len(features)], axis=1)
    looks = _standardized(looks)
    log_n = np.log(np.array(n, dtype=np.float64))
    centered = (log_n - log_n.mean())[:, None, None]
    slopes: dict[str, Array] = {}  # by score, (P, F) least-squares slope of each prompt's mean feature on log n
    for name, column in zip(rewards, scores.T, strict=True):
        means = np.stack([_prompt_means(looks, _picks(column, group_size, count), group_size) for count in n])
        slopes[name] = (centered * means).sum(axis=0) / (centered**2).sum()
    found = []
    for i, feature in enumerate(features):
        known = {score: of[np.isfinite(of[:, i]), i].tolist() for score, of in slopes.items()}
        intervals = {score: clustered_interval(values, range(len(values))) for score, values in known.items()}
        up, down = all(low > 0 for low, _ in intervals.values()), all(high < 0 for _, high in intervals.values())
        by_score = {score: mean_or_nan(values) for score, values in known.items()}
        found.append(Drift(feature, by_score, intervals, int(up) - int(down)))
    return tuple(found)


def _picks(scores: Array, group_size: int, n: int) -> NDArray[np.intp]:
    """Return the rows that best-of-n picks; a set of n without scores gives none."""
    per_group = group_size // n
    rows = np.arange(len(scores)).reshape(-1, group_size)[:, : per_group * n].reshape(-1, n)
    keys = np.where(np.isnan(scores), -np.inf, scores)[rows]
    best = np.take_along_axis(rows, keys.argmax(axis=1)[:, None], axis=1)[:, 0]
    picks: NDArray[np.intp] = best[~np.isnan(scores[best])]
    return picks


def _prompt_means(values: Array, picks: NDArray[np.intp], group_size: int) -> Array:
    """Return (P, F) means of values (B, F) over each prompt's picks, NaN skipped."""
    n_prompts, prompt = len(values) // group_size, picks // group_size
    picked = values[picks]
    known = ~np.isnan(picked)
    sums, counts = np.zeros((2, n_prompts, values.shape[1]))
    np.add.at(sums, prompt, np.where(known, picked, 0.0))
    np.add.at(counts, prompt, known)
    means: Array = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return means


def _standardized(columns: Array) -> Array:
    """Standardize to mean 0 and standard deviation 1 over scored rows; a constant column becomes 0."""
    scored = ~np.isnan(columns)
    count = np.maximum(scored.sum(axis=0), 1)
    filled = np.where(scored, columns, 0.0)
    unit = np.maximum(np.abs(filled).max(axis=0, initial=0.0), np.finfo(np.float64).tiny)
    centered = np.where(scored, filled / unit - (filled / unit).sum(axis=0) / count, 0.0)
    std = np.sqrt((centered**2).sum(axis=0) / count)
    varies = std > 1e-12  # of a range of about 1; less is rounding
    return np.where(scored, centered / np.where(varies, std, np.inf), np.nan)


def _table(caller: str, name: str, values: ArrayLike) -> Array:
    """Return (B, K) float64 with NaN where unscored."""
    table = np.array(values, dtype=np.float64)
    if table.ndim != 2:
        raise ValueError(f"{caller}: {name} must have two dimensions, got shape {table.shape}. Pass (rows, members).")
    return table


def _check_sizes(caller: str, n: Sequence[int], group_size: int) -> None:
    for count in n:
        check_range(caller, "n", count, 1, group_size)
