"""Probe overoptimization: how gold changes as the reward is optimized, on sampled completions."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rewardsmith.auditing.asking import Ask, Asking, Outcome
from rewardsmith.auditing.finding import Finding, Severity, finding_of, shown
from rewardsmith.auditing.pair_baseline import Floats, PairBaseline, numbers_of
from rewardsmith.auditing.report import Curve, CurvePoint, Turn
from rewardsmith.data import Row
from rewardsmith.measures import advice, best_of_n_curve, onset
from rewardsmith.measures.best_of_n import OptimizationCurve, powers_of_two, tilted_curve
from rewardsmith.measures.power_laws import scaling_law
from rewardsmith.measures.turning_points import Onset, named

FEWEST_POOLED, FEWEST_COMPLETIONS = 8, 4  # prompts, and scored completions per prompt
COVERED = 0.8  # share of prompts with enough completions for the largest n
LEAST_DROP = 0.05  # standard deviations of gold within a prompt; a smaller drop is no fault


class _Pool(NamedTuple):
    """(P, M) places in the baseline's pool, −1 where a prompt has fewer; rewards and gold, NaN where unknown."""

    places: np.ndarray[tuple[int, ...], np.dtype[np.intp]]
    rewards: Floats
    gold: Floats | None

    def largest(self) -> int:
        """Return the largest n that a share `COVERED` of the prompts allows."""
        known = np.isfinite(self.rewards if self.gold is None else self.rewards + self.gold).sum(axis=1)
        return int(np.quantile(known, 1 - COVERED, method="lower"))


def overoptimization(baseline: PairBaseline) -> Asking:
    """Measure whether best-of-n by the reward raises gold, up to the largest n sampled."""
    if not baseline.pool:
        return Outcome(not_run="it takes several sampled completions per prompt, given as --pool")
    (scores,) = yield [Ask(baseline.pool)]
    rewards = numbers_of(scores)
    gold = baseline.gold if len(baseline.gold) == len(rewards) else np.full(len(rewards), math.nan)
    pool = _pooled(baseline.pool, rewards, gold) or _pooled(baseline.pool, rewards, None)
    if pool is None:
        return Outcome(
            not_run=f"the pool has fewer than {FEWEST_POOLED} prompts with {FEWEST_COMPLETIONS} scored completions"
        )
    sizes = powers_of_two(pool.largest())
    n_resamples = max(2000, math.ceil(20 / baseline.alpha))
    best = best_of_n_curve(pool.rewards, pool.gold, n=sizes, alpha=baseline.alpha, n_resamples=n_resamples)
    nats = [math.log(n) - (n - 1) / n for n in sizes]
    tilted = tilted_curve(pool.rewards, pool.gold, kl=nats, alpha=baseline.alpha, n_resamples=n_resamples)
    known = pool.gold is not None
    found = {curve.kind: onset(curve, alpha=baseline.alpha) if known else None for curve in (best, tilted)}
    turn = found["best_of_n"]
    finding = _unknown(best) if turn is None else _known(best, turn, pool, baseline)
    curves = tuple(_drawn(curve, found[curve.kind], baseline.alpha) for curve in (best, tilted))
    return Outcome(findings=(finding,), curves=curves)


def _pooled(rows: Sequence[Row], rewards: Floats, gold: Floats | None) -> _Pool | None:
    """Return the prompts with enough known completions, or None if these are too few."""
    by_prompt: dict[tuple[str, str], list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        if math.isfinite(rewards[place]) and (gold is None or math.isfinite(gold[place])):
            by_prompt[row.prompt_text, str(row.columns.get("context"))].append(place)
    groups = [places for places in by_prompt.values() if len(places) >= FEWEST_COMPLETIONS]
    if len(groups) < FEWEST_POOLED:
        return None
    places = np.full((len(groups), max(map(len, groups))), -1)
    for k, group in enumerate(groups):
        places[k, : len(group)] = group

    def laid_out(column: Floats) -> Floats:
        return np.where(places < 0, math.nan, column[places])

    return _Pool(places, laid_out(rewards), None if gold is None else laid_out(gold))


def _unknown(curve: OptimizationCurve) -> Finding:
    last = len(curve.strength) - 1
    gain, low, high = (float(band[last]) / curve.reward_std for band in curve.reward_gain)
    return finding_of(
        "overoptimization",
        "info",
        f"Up to {named(curve, last)} the reward rises by {gain:.2f} standard deviations. Gold is unknown.",
        (gain, low, high, len(curve.rewards_by_prompt)),
        advice="Give the true quality of the pool's completions: `--gold` (such as a verifier) or a column `gold`, for "
        f"{FEWEST_POOLED} prompts or more with {FEWEST_COMPLETIONS} completions each.",
        unit="standard deviations of the reward within a prompt",
    )


def _known(curve: OptimizationCurve, found: Onset, pool: _Pool, baseline: PairBaseline) -> Finding:
    """Make the finding with known gold; a fault if it falls past its peak, high if below one random draw."""
    unit, last = curve.gold_std, len(curve.strength) - 1
    far, gained, worse = named(curve, last), found.final_gain / unit, found.final_interval[1] < 0
    severity: Severity = "info"
    if found.declines and found.drop_interval[0] >= LEAST_DROP * unit:
        severity = "high" if worse else "medium"
    peak = last if found.strength is None else int(np.searchsorted(curve.strength, found.strength))
    if found.declines:
        value, ends = found.drop, found.drop_interval
        first, end = found.interval
        below = f" and {-gained:.2f} below one random draw" if worse else ""
        message = (
            f"Gold is highest at {named(curve, peak)} (interval n = {first:.0f} to {end:.0f}). Then it falls while the "
            f"reward rises. At {far} it is {found.drop / unit:.2f} standard deviations below its peak{below}."
        )
    else:
        value, ends = found.final_gain, found.final_interval
        rise = float(curve.reward_gain.mean[last]) / curve.reward_std
        where = (
            "is still rising" if found.strength is None else f"is highest at {named(curve, peak)}, but may still rise"
        )
        message = (
            f"Up to {far} the reward rises by {rise:.2f} and gold by {gained:.2f} standard deviations within a prompt. "
            f"Gold {where}."
        )
    examples = []
    if severity != "info":  # prompts whose best completion by reward is furthest below their mean gold
        assert pool.gold is not None
        best = np.nanargmax(pool.rewards, axis=1)
        mean = np.nanmean(pool.gold, axis=1)
        worth = np.take_along_axis(pool.gold, best[:, None], axis=1)[:, 0]
        for k in np.argsort(worth - mean)[:3]:
            best_reward, usual = float(pool.rewards[k, best[k]]), float(np.nanmean(pool.rewards[k]))
            note = f"gold {worth[k]:.3g}, the prompt's mean {mean[k]:.3g}"
            examples.append(shown(baseline.pool[pool.places[k, best[k]]], best_reward, usual, note))
    return finding_of(
        "overoptimization",
        severity,
        message,
        (value / unit, ends[0] / unit, ends[1] / unit, len(curve.rewards_by_prompt)),
        advice=advice(found, curve),
        unit="standard deviations of gold within a prompt",
        examples=examples,
    )


def _drawn(curve: OptimizationCurve, found: Onset | None, alpha: float) -> Curve:
    """Return the curve for the report, in standard deviations."""
    columns = [band / curve.reward_std for band in curve.reward_gain]
    columns += [] if curve.gold_gain is None else [band / curve.gold_std for band in curve.gold_gain]
    numbers = np.stack([curve.strength, curve.kl, *columns], axis=1).tolist()
    turn = None
    if found is not None and found.strength is not None and found.kl is not None:
        turn = Turn(found.strength, found.kl, *found.kl_interval, found.declines)
    names = {"best_of_n": ("best of n", "n"), "tilted": ("tilted policy", "1/β")}
    notes = [_law(curve, alpha), f"The curve ends early: {curve.stopped}" if curve.stopped else ""]
    return Curve(*names[curve.kind], tuple(CurvePoint(*row) for row in numbers), turn, " ".join(filter(None, notes)))


def _law(curve: OptimizationCurve, alpha: float) -> str:
    """Return the fitted scaling law in a sentence, or "" if there are too few points."""
    if curve.gold_by_prompt is None or len(np.unique(curve.kl[curve.kl > 1e-9])) < 3:
        return ""
    gains = (curve.gold_by_prompt - curve.gold_by_prompt[:, :1]) / curve.gold_std
    best = curve.kind == "best_of_n"
    law, bend = scaling_law(curve.kl, gains, kind="best_of_n" if best else "rl", level=alpha), "d" if best else "log d"
    low, high = law.beta_interval
    sign = "−" if law.beta >= 0 else "+"
    fit = (
        f"With d = √KL, gold follows d ({law.alpha:.2f} {sign} {abs(law.beta):.2f} {bend}) to within {law.residual:.2f}"
    )
    if not law.overoptimizes:
        return f"{fit}. No peak is found (β in [{low:.2f}, {high:.2f}])."
    if law.peak_kl > curve.kl[-1]:
        return f"{fit}. Its peak lies beyond the samples."
    return f"{fit}. Its peak is at KL {law.peak_kl:.2f} [{law.peak_interval[0]:.2f}, {law.peak_interval[1]:.2f}]."
