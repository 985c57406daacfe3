"""Measure the strength of each preference label: reward models that did not see a pair vote on it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rewardsmith._check import check_range

if TYPE_CHECKING:
    import torch

Floats = NDArray[np.float64]
Score = Callable[[Sequence[int]], ArrayLike]
"""Pair indices to margins: the score of the chosen minus that of the rejected answer."""
Fit = Callable[[Sequence[int], int], Score]
"""`fit(train_index, seed)` trains one voter on those pairs with that seed, and returns its `Score`."""


class PreferenceStrength(NamedTuple):
    """The voters' result for each pair; NaN where no voter judged it.

    mean: (n,) μ, the mean margin in units of a voter's own spread; below 0 the voters contradict the label.
    std: (n,) s, the voters' standard deviation; NaN where fewer than two judged.
    share_negative: (n,) share of the voters that contradict the label; half a vote where the margin is 0.
    n_votes: (n,) number of voters that judged the pair.
    """

    mean: Floats
    std: Floats
    share_negative: Floats
    n_votes: NDArray[np.int64]


def preference_strength(
    fit: Fit,
    n_pairs: int,
    *,
    generator: torch.Generator,
    n_voters: int = 10,
    folds: int = 5,
    groups: Sequence[Hashable] | None = None,
) -> PreferenceStrength:
    """Let voters that did not see a pair judge it, `n_voters` times each.

        μ_i = mean_m d_im / σ_m,   s_i = std_m d_im / σ_m        d_im = r_m(x_i, y⁺) − r_m(x_i, y⁻)

    Wang, Zheng et al. 2024, arXiv:2401.06080. Any trainer works: a LoRA adapter, a head on cached states, a perceptron.

    Differs: the paper's voters judge the pairs that they were trained on. They learn to agree with every label, even
    wrong ones, so the sign of μ means little. Here each pair is judged by voters that did not see it (n_voters · folds
    trainings). With folds=1 the voters see all pairs, as in the paper: then use percentiles only.

    Args:
        fit: trains a voter; see `Fit`. Each voter gets another seed.
        n_pairs: n.
        generator: shuffles the pairs into folds.
        n_voters: M, votes per pair.
        folds: parts of the data; each is held out once per vote.
        groups: (n,) ids such as prompt ids; pairs of one group are held out together.

    >>> import torch
    >>> def fit(train_index, seed):  # a voter that agrees with the first label and not with the second
    ...     return lambda index: [(3.0, -1.0, 2.0)[i] for i in index]
    >>> preference_strength(fit, 3, folds=3, n_voters=2, generator=torch.Generator()).share_negative
    array([0., 1., 0.])
    """
    masks = cross_fit_masks(n_pairs, n_voters=n_voters, folds=folds, generator=generator, groups=groups)
    votes = np.full(masks.shape, np.nan)
    for seed, seen in enumerate(masks):
        judged = np.flatnonzero(~seen) if folds > 1 else np.arange(n_pairs)
        score = fit(np.flatnonzero(seen).tolist(), seed)
        margins = np.asarray(score(judged.tolist()), dtype=np.float64)
        if margins.shape != judged.shape:
            raise ValueError(
                f"preference_strength: a voter returned margins of shape {margins.shape} for {len(judged)} pairs. "
                "Return one number per index."
            )
        votes[seed, judged] = margins
    return strength_of_votes(votes)


def cross_fit_masks(
    n_pairs: int,
    *,
    generator: torch.Generator,
    n_voters: int = 10,
    folds: int = 5,
    groups: Sequence[Hashable] | None = None,
) -> NDArray[np.bool_]:
    """Return the pairs on which each voter trains, for trainers of all voters at once; it judges the others.

    Arguments as in `preference_strength`.

    Returns:
        (n_voters · folds, n) True if the voter may train on the pair. Every pair is held out from exactly n_voters of
        them, or from none if folds is 1.
    """
    check_range("cross_fit_masks", "n_voters", n_voters, 1, np.inf)
    if groups is not None and len(groups) != n_pairs:
        raise ValueError(f"cross_fit_masks: {len(groups)} groups for {n_pairs} pairs. Give one per pair.")
    if groups is None:
        member = np.arange(n_pairs)
    else:
        numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
        member = np.array([numbers[group] for group in groups], dtype=np.int64)
    n_groups = int(member.max()) + 1 if n_pairs else 0
    if not 1 <= folds <= max(n_groups, 1):
        raise ValueError(
            f"cross_fit_masks: folds is {folds}, but there are {n_groups} groups of pairs. Pass 1 to that many."
        )
    if folds == 1:
        return np.ones((n_voters, n_pairs), dtype=np.bool_)
    from rewardsmith._torch import torch

    orders = [torch.randperm(n_groups, generator=generator).numpy() for _ in range(n_voters)]
    fold = np.stack(orders)[:, member] % folds
    seen: NDArray[np.bool_] = fold[:, None, :] != np.arange(folds)[:, None]
    return seen.reshape(-1, n_pairs)


def strength_of_votes(votes: ArrayLike) -> PreferenceStrength:
    """Return the strength of each pair from a matrix of margins.

    Each voter's margins are divided by their own standard deviation, so that all voters have equal influence. They are
    not centered, because the sign of the mean margin shows whether the label is right.

    Args:
        votes: (M, n) margins d; NaN where a voter must not judge, such as on its training pairs.
    """
    margins = np.asarray(votes, dtype=np.float64)
    if margins.ndim != 2:
        raise ValueError(f"strength_of_votes: votes must have shape (any, any), got {margins.shape}. One row a voter.")
    given = np.isfinite(margins)
    held = np.where(given, margins, 0.0)
    n_judged = np.maximum(given.sum(axis=1, keepdims=True), 1)
    center = held.sum(axis=1, keepdims=True) / n_judged
    spread = np.sqrt((given * (held - center) ** 2).sum(axis=1, keepdims=True) / n_judged)
    scaled = held / np.where(spread > 0, spread, 1.0)
    n_votes = given.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = scaled.sum(axis=0) / n_votes
        variance = (given * (scaled - mean) ** 2).sum(axis=0) / np.where(n_votes > 1, n_votes - 1, np.nan)
        negative = (given * ((held < 0) + 0.5 * (held == 0))).sum(axis=0) / n_votes
    return PreferenceStrength(mean, np.sqrt(variance), negative, n_votes)
