"""Estimate how best-of-n and the tilted policy change the reward and the gold.

Both use completions already sampled from the start policy, in expectation over all picks, without a training run.
`onset` finds where further optimization lowers gold.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rewardsmith._check import check_range

Array = NDArray[np.float64]
CHUNK = 500  # bootstrap samples held in memory at a time
MOST_HELD = 1_000_000  # completions weighted at a time


class Band(NamedTuple):
    """(K,) means over prompts, with the ends of their bootstrap intervals, each at its own level."""

    mean: Array
    low: Array
    high: Array


class OptimizationCurve(NamedTuple):
    """Reward and gold of policies at K optimization strengths, relative to one draw of the start policy π₀.

    strength: (K,) n for best-of-n, 1/β for the tilted policy; upward.
    kl: (K,) mean KL(π‖π₀) over prompts, in nats.
    rewards_by_prompt, gold_by_prompt: (P, K) expectations per prompt; gold is None if not given.
    rewards, gold: their means. reward_gain, gold_gain: the same less one draw from π₀ on the same prompt.
    reward_std, gold_std: standard deviation of draws within a prompt, the unit of gains.
    luck: (K, K) covariance of the means of gold if rewards were unrelated to it (gold permuted within a prompt); None
        without gold.
    n_left_out: prompts without enough scored completions.
    stopped: the reason why the curve has no higher strengths, or "".
    """

    kind: Literal["best_of_n", "tilted"]
    strength: Array
    kl: Array
    rewards_by_prompt: Array
    gold_by_prompt: Array | None
    rewards: Band
    gold: Band | None
    reward_gain: Band
    gold_gain: Band | None
    reward_std: float
    gold_std: float
    luck: Array | None
    n_left_out: int
    stopped: str = ""


def best_of_n_curve(
    rewards: ArrayLike,
    gold: ArrayLike | None = None,
    *,
    n: Sequence[int],
    alpha: float = 0.05,
    n_resamples: int = 2000,
    generator: np.random.Generator | None = None,
) -> OptimizationCurve:
    """Estimate reward and gold of the best by reward of n completions, over all n-subsets of the M sampled.

        V(n) = Σ_i C(i−1, n−1) / C(M, n) · value₍ᵢ₎         i ranks the M completions upward by reward
        KL(n) = log n − (n−1)/n                             where no rewards tie

    Coste et al. 2023, arXiv:2310.02743. V is unbiased for n fresh draws. Tied rewards share their gold, as if picked at
    random.
    Differs: the formula for the KL is exact for continuous rewards and else a bound (Beirami et al. 2024,
    arXiv:2401.01879). Tied rewards, between the shares F⁻ and F of a prompt's completions, count as an atom of the
    policy: picked with probability p = Fⁿ − (F⁻)ⁿ, it adds p log(p / (F − F⁻)). Any other adds the integral of
    n uⁿ⁻¹ log(n uⁿ⁻¹) over its rank's share. A constant reward has KL 0 at any n.

    Args:
        rewards: (P, M) of M completions of the start policy per prompt; unscored ones (None, NaN, ±inf) are left out.
        gold: (P, M) their true rewards; completions without it are left out too.
        n: numbers of candidates from 1 to M, upward. A prompt counts if it has as many completions as the largest.
        alpha: each band holds at 1 − α.
        generator: of the bootstrap over prompts; seeded with 0 if None, so that the same rewards give the same bands.

    >>> curve = best_of_n_curve([[0.9, 0.2, 0.4]], [[1.0, 0.0, 0.0]], n=[1, 2, 3])
    >>> curve.gold_by_prompt.round(3).tolist(), curve.kl.round(3).tolist()
    ([[0.333, 0.667, 1.0]], [0.0, 0.193, 0.432])
    """
    scores, values = _tables("best_of_n_curve", rewards, gold)
    sizes = _upward("best_of_n_curve", "n", n)
    for size in sizes:
        check_range("best_of_n_curve", "n", size, 1, scores.shape[1])
    scores, values, left_out = _kept("best_of_n_curve", scores, values, int(sizes[-1]))
    means, kl = np.zeros((2, len(scores), len(sizes)))
    worth = None if values is None else np.zeros_like(means)
    luck = np.zeros((len(sizes), len(sizes)))
    for where, ordered, of_gold in _by_size(scores, values):
        weights = np.stack([_shared(ordered, int(size)) for size in sizes], axis=2)  # (P', m, K)
        means[where] = np.einsum("pm,pmk->pk", ordered, weights)
        kl[where] = np.stack([_best_of_n_kl(ordered, size) for size in sizes], axis=1)
        if worth is not None and of_gold is not None:
            worth[where] = np.einsum("pm,pmk->pk", of_gold, weights)
            luck += _luck(weights, of_gold)
    bands = _bands(scores, values, means, worth, alpha=alpha, n_resamples=n_resamples, generator=generator)
    return OptimizationCurve(
        "best_of_n",
        sizes,
        kl.mean(axis=0),
        means,
        worth,
        **bands,
        luck=None if worth is None else luck / len(scores) ** 2,
        n_left_out=left_out,
    )


def best_of_n_gold(rewards: ArrayLike, gold: ArrayLike, n: Sequence[int]) -> Array:
    """Return only the (P, K) expected gold of `best_of_n_curve`, without bands; all of (P, M) scored.

    >>> best_of_n_gold([[0.0, 1.0]], [[4.0, 6.0]], [1, 2]).tolist()
    [[5.0, 6.0]]
    """
    scores, values = _tables("best_of_n_gold", rewards, gold)
    for size in n:
        check_range("best_of_n_gold", "n", size, 1, scores.shape[1])
    worth = np.zeros((len(scores), len(n)))
    for where, ordered, of_gold in _by_size(scores, values):
        weights = np.stack([_shared(ordered, size) for size in n], axis=2)
        if of_gold is not None:
            worth[where] = np.einsum("pm,pmk->pk", of_gold, weights)
    return worth


def tilted_curve(
    rewards: ArrayLike,
    gold: ArrayLike | None = None,
    *,
    kl: Sequence[float],
    least_effective: float = 4.0,
    alpha: float = 0.05,
    n_resamples: int = 2000,
    generator: np.random.Generator | None = None,
) -> OptimizationCurve:
    """Estimate reward and gold of the optimum of E[reward] − β KL(π‖π₀) on completions sampled from π₀.

        w_i ∝ exp(r_i / β),    V(β) = Σ_i w_i value_i,    KL(β) = Σ_i w_i log(M w_i)

    This is the aim of RL training. One β for all prompts is found by bisection for each mean KL. M completions cannot
    represent a policy far from π₀ (their KL never exceeds log M). So the curve ends where the median prompt's effective
    number of completions, 1 / Σ w², falls below `least_effective`, or where no β reaches the KL; `stopped` says which.

    Args:
        rewards, gold: (P, M) as in `best_of_n_curve`; a prompt counts if two completions are left.
        kl: mean KLs in nats, 0 or more, upward.
        alpha, n_resamples, generator: as in `best_of_n_curve`.

    >>> curve = tilted_curve([[0.0, 1.0, 2.0, 3.0]], [[0.0, 1.0, 0.0, 1.0]], kl=[0.0, 0.3], least_effective=2.0)
    >>> curve.strength.round(3).tolist(), curve.gold.mean.round(3).tolist()
    ([0.0, 0.776], [0.5, 0.685])
    """
    scores, values = _tables("tilted_curve", rewards, gold)
    targets = _upward("tilted_curve", "kl", kl)
    check_range("tilted_curve", "kl", float(targets[0]), 0, math.inf)
    scores, values, left_out = _kept("tilted_curve", scores, values, 2)
    inverse, tilts, stopped = _tilts(scores, targets, least_effective)
    if not tilts:
        raise ValueError(f"tilted_curve: the first KL, {targets[0]:.3g}, cannot be reached: {stopped} Begin with kl 0.")
    weights = np.stack(tilts, axis=2)  # (P, M, K)
    means = np.einsum("pm,pmk->pk", np.nan_to_num(scores), weights)
    worth = None if values is None else np.einsum("pm,pmk->pk", np.nan_to_num(values), weights)
    bands = _bands(scores, values, means, worth, alpha=alpha, n_resamples=n_resamples, generator=generator)
    return OptimizationCurve(
        "tilted",
        np.array(inverse),
        np.array([_kl(w, scores).mean() for w in tilts]),
        means,
        worth,
        **bands,
        luck=None if values is None else _luck(weights, values) / len(scores) ** 2,
        n_left_out=left_out,
        stopped=stopped,
    )


def powers_of_two(most: int) -> list[int]:
    """Return 1, 2, 4, … and `most` itself, so that points lie evenly in log n.

    >>> powers_of_two(12)
    [1, 2, 4, 8, 12]
    """
    return sorted({*(2**k for k in range(most.bit_length())), most})


def _tables(caller: str, rewards: ArrayLike, gold: ArrayLike | None) -> tuple[Array, Array | None]:
    """Copy both to float64, with NaN where either is missing."""
    scores = np.array(rewards, dtype=np.float64)
    if scores.ndim != 2 or not scores.size:
        raise ValueError(f"{caller}: rewards have shape {scores.shape}. Pass (prompts, completions), filled with NaN.")
    scores[~np.isfinite(scores)] = np.nan
    if gold is None:
        return scores, None
    values = np.array(gold, dtype=np.float64)
    if values.shape != scores.shape:
        raise ValueError(f"{caller}: gold has shape {values.shape}, rewards {scores.shape}. Give each reward its gold.")
    missing = np.isnan(scores) | ~np.isfinite(values)
    scores[missing], values[missing] = np.nan, np.nan
    return scores, values


def _upward(caller: str, name: str, values: Sequence[float]) -> Array:
    numbers = np.array(values, dtype=np.float64)
    if numbers.ndim != 1 or not len(numbers) or not (np.diff(numbers) > 0).all():
        raise ValueError(f"{caller}: {name} is {list(values)}. Pass one or more numbers, each above the one before.")
    return numbers


def _kept(caller: str, scores: Array, values: Array | None, least: int) -> tuple[Array, Array | None, int]:
    """Return the prompts with enough completions, and the number of others."""
    kept = (~np.isnan(scores)).sum(axis=1) >= least
    if not kept.any():
        raise ValueError(
            f"{caller}: none of {len(scores)} prompts has {least} completions that are scored (and have gold, where it "
            "is given). Use a smaller n, or sample more completions."
        )
    return scores[kept], None if values is None else values[kept], int((~kept).sum())


def _by_size(scores: Array, values: Array | None) -> Iterator[tuple[NDArray[np.intp], Array, Array | None]]:
    """Yield prompts with equally many completions: their rows, (P', m) rewards sorted upward, gold likewise."""
    order = np.argsort(scores, axis=1, kind="stable")  # NaN comes last
    ordered = np.take_along_axis(scores, order, axis=1)
    of_gold = None if values is None else np.take_along_axis(values, order, axis=1)
    sizes = (~np.isnan(scores)).sum(axis=1)
    for size in np.unique(sizes):
        rows = np.flatnonzero(sizes == size)
        for where in np.array_split(rows, math.ceil(len(rows) * size / MOST_HELD)):
            yield where, ordered[where, :size], None if of_gold is None else of_gold[where, :size]


def _runs(ordered: Array) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return (P', m) start and end (exclusive) of the run of equal rewards around each rank."""
    size = ordered.shape[1]
    new = np.ones(ordered.shape, dtype=bool)
    new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    last = np.ones_like(new)
    last[:, :-1] = new[:, 1:]
    place = np.arange(size)
    begin = np.maximum.accumulate(np.where(new, place, 0), axis=1)
    end = np.minimum.accumulate(np.where(last, place + 1, size)[:, ::-1], axis=1)[:, ::-1]
    return begin, end


def _shared(ordered: Array, n: int) -> Array:
    """Return (P', m) chances of each completion to be picked; ties share theirs."""
    begin, end = _runs(ordered)
    rank = np.arange(ordered.shape[1] - 1, 0, -1, dtype=np.float64)  # products from the top do not overflow
    steps = np.concatenate([[n / ordered.shape[1]], np.maximum(rank - n + 1, 0.0) / rank])
    plain = np.broadcast_to(np.cumprod(steps)[::-1], ordered.shape)
    if (end - begin == 1).all():
        return plain
    sums = np.concatenate([[0.0], np.cumsum(plain[0])])
    shared: Array = np.where(end - begin == 1, plain, (sums[end] - sums[begin]) / (end - begin))
    return shared


def _luck(weights: Array, gold: Array) -> Array:
    """Return (K, K) Σ_p S_p² (W_pᵀ W_p − 1/m), S_p² the variance of a prompt's gold: for gold dealt at random."""
    known = ~np.isnan(gold)
    size = known.sum(axis=1)
    deviations = np.where(known, gold - np.nanmean(gold, axis=1, keepdims=True), 0.0)
    variance = np.square(deviations).sum(axis=1) / np.maximum(size - 1, 1)
    scaled = weights * np.sqrt(variance)[:, None, None]
    products: Array = np.tensordot(scaled, scaled, axes=((0, 1), (0, 1)))
    return products - float((variance / size).sum())


def _best_of_n_kl(ordered: Array, n: float) -> Array:
    """Return (P',) KL in nats."""
    begin, end = _runs(ordered)
    low, high = begin / ordered.shape[1], end / ordered.shape[1]

    def integral(share: Array) -> Array:
        """Return the integral of n uⁿ⁻¹ log(n uⁿ⁻¹) from 0 to the share."""
        safe = np.where(share > 0, share, 1.0)
        return np.where(share > 0, share**n * (math.log(n) + (n - 1) * np.log(safe) - (n - 1) / n), 0.0)

    picked = high**n - low**n
    atom = picked * np.log(np.where(picked > 0, picked / (high - low), 1.0))
    added = np.where(end - begin == 1, integral(high) - integral(low), atom / (end - begin))
    nats: Array = np.maximum(added.sum(axis=1), 0.0)
    return nats


def _tilts(scores: Array, targets: Array, least_effective: float) -> tuple[list[float], list[Array], str]:
    """Return 1/β and (P, M) weights per reachable target, and the reason to stop."""
    scale = _spread(scores)
    top = np.nanmax(scores, axis=1, keepdims=True)
    lowered = np.where(np.isnan(scores), -np.inf, (scores - top) / scale)
    known = ~np.isnan(scores)
    furthest = (known.sum(axis=1) / (lowered == 0).sum(axis=1)).astype(np.float64)  # exp(KL) of the greedy policy
    inverse: list[float] = []
    weights: list[Array] = []
    for target in targets:
        if target > 0 and target >= np.log(furthest).mean():
            return inverse, weights, f"no β brings the mean KL to {target:.3g} on these completions."
        tilt, low, high = 0.0, -30.0, 30.0  # factor on rewards in units of their spread, and bounds of its log
        for _ in range(100 if target > 0 else 0):
            tilt = math.exp((low + high) / 2)
            if float(_kl(_softmax(lowered, tilt), scores).mean()) > target:  # KL grows with it
                high = (low + high) / 2
            else:
                low = (low + high) / 2
        w = _softmax(lowered, tilt)
        effective = float(np.median(1 / np.square(w).sum(axis=1)))
        if effective < least_effective:
            reason = f"at KL {target:.3g} the median prompt has {effective:.1f} completions in effect"
            return inverse, weights, f"{reason}, below {least_effective:g}."
        inverse.append(tilt / scale)
        weights.append(w)
    return inverse, weights, ""


def _softmax(lowered: Array, tilt: float) -> Array:
    known = np.isfinite(lowered)
    weights = np.where(known, np.exp(np.where(known, lowered, 0.0) * tilt), 0.0)
    normal: Array = weights / weights.sum(axis=1, keepdims=True)
    return normal


def _kl(weights: Array, scores: Array) -> Array:
    size = (~np.isnan(scores)).sum(axis=1, keepdims=True)
    logs = np.log(np.where(weights > 0, weights * size, 1.0))
    nats: Array = (weights * logs).sum(axis=1)
    return nats


def _spread(table: Array) -> float:
    """Return the standard deviation within a prompt, pooled over prompts; 1 if nothing varies."""
    deviations = table - np.nanmean(table, axis=1, keepdims=True)
    free = (~np.isnan(table)).sum() - len(table)
    std = math.sqrt(float(np.nansum(deviations**2)) / free) if free > 0 else 0.0
    rounding = 1e-12 * float(np.nanmax(np.abs(table)))
    return std if std > rounding else 1.0


def _bands(
    scores: Array,
    values: Array | None,
    means: Array,
    worth: Array | None,
    *,
    alpha: float,
    n_resamples: int,
    generator: np.random.Generator | None,
) -> dict[str, Any]:
    """Return bands of the means and of the gains from the same resampled prompts, and the units of gains."""
    check_range("curves", "alpha", alpha, 0, 1)
    check_range("curves", "n_resamples", n_resamples, 1, math.inf)
    parts = {"rewards": means, "reward_gain": means - np.nanmean(scores, axis=1, keepdims=True)}
    if worth is not None and values is not None:
        parts |= {"gold": worth, "gold_gain": worth - np.nanmean(values, axis=1, keepdims=True)}
    table = np.concatenate(list(parts.values()), axis=1)
    ends = np.quantile(resampled_means(table, n_resamples, generator), [alpha / 2, 1 - alpha / 2], axis=0)
    columns = (np.split(part, len(parts)) for part in (table.mean(axis=0), *ends))
    bands = {name: Band(*band) for name, *band in zip(parts, *columns, strict=True)}
    gold_std = math.nan if values is None else _spread(values)
    return {"gold": None, "gold_gain": None, **bands, "reward_std": _spread(scores), "gold_std": gold_std}


def resampled_means(table: Array, n_resamples: int, generator: np.random.Generator | None = None) -> Array:
    """Return (n_resamples, K) means of (P, K) over prompts drawn with replacement; seeded with 0 if None."""
    generator = np.random.default_rng(0) if generator is None else generator
    n = len(table)
    sizes = [min(CHUNK, n_resamples - start) for start in range(0, n_resamples, CHUNK)]
    return np.concatenate([generator.multinomial(n, np.full(n, 1 / n), size=size) @ table / n for size in sizes])
