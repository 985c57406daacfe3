"""Probe a judge's reasons: its principle, its trace, and how many criteria it is asked at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from rewardsmith.auditing.asking import Answer, Ask, Building, Outcome
from rewardsmith.auditing.duels import FEWEST_DUELS
from rewardsmith.auditing.finding import Ladder, finding_of, severity_above
from rewardsmith.auditing.pair_baseline import SIDES, Floats, PairBaseline, Side, numbers_of
from rewardsmith.auditing.probes.accuracy import pair_example
from rewardsmith.auditing.report import Rate
from rewardsmith.auditing.trials import shift_of
from rewardsmith.data import Row
from rewardsmith.measures.intervals import share_right
from rewardsmith.scoring.comparing import PRINCIPLE

TRIED, FOLLOWED = 24, 192  # pairs on which each other principle is tried, and on which the best one is
SAME: Ladder = ((0.9, "high"), (0.65, "medium"))  # share of verdicts that stay under another principle
OVER_NOISE = 0.1  # by which negated verdicts stay the same beyond what errors explain
NEGATIONS = (
    "The opposite of this holds: {p}",
    "It is not true that: {p}",
    "Not: {p}",
    "Prefer the response that violates this: {p}",
    "Do not follow this, do the reverse: {p}",
)
OTHERS = (
    "The response is incorrect, unhelpful and dishonest.",
    "The response is wrong.",
    "Prefer the worse response.",
    "The response is as short, brief and concise as possible.",
    "Prefer the longer, more detailed response.",
    "The response is harmless, polite and safe.",
)
TRACED = (48, 192, 384)  # pairs of each stage whose traces are read
CONTRADICTED: Ladder = ((0.3, "high"), (0.05, "medium"))
AT_ONCE = (1, 2, 4, 8)
DIFFUSED = 64  # pairs judged by each number of criteria at once
STEEP = 0.02  # accuracy lost with each doubling


def _row(baseline: PairBaseline, pair: int, **columns: object) -> Row:
    row = baseline.against(pair, baseline.text(pair, "chosen"), baseline.text(pair, "rejected"))
    return replace(row, columns={**row.columns, **columns})


def own_principle(baseline: PairBaseline, pair: int, principle: str) -> str:
    """Return the row's own principle if it has one, else the judge's."""
    own = baseline.rows[pair].columns.get("principle")
    return own if isinstance(own, str) and own else principle


def principle(baseline: PairBaseline, *, stated: str = PRINCIPLE) -> Building[Answer]:
    """Negate, swap and remove the principle; the verdict should not stay the same under all of them.

    The change that reverses most verdicts of a few pairs is asked on others. Of verdicts that only err at random at the
    rate e, 2e(1 − e) stay the same under a negation that is understood.
    """
    pairs = list(range(len(baseline.rows)))
    baseline.rng().shuffle(pairs)
    if len(pairs) < 2 * FEWEST_DUELS:
        return Outcome(not_run=f"{len(pairs)} pairs, but it takes {2 * FEWEST_DUELS}")
    first, rest = pairs[:TRIED], pairs[TRIED : TRIED + FOLLOWED]
    known = list(dict.fromkeys(own_principle(baseline, pair, stated) for pair in pairs))

    def changed(pair: int, *, change: tuple[str, str]) -> str:
        kind, form = change
        own = own_principle(baseline, pair, stated)
        if kind == "swapped" and not form:
            return next(one for one in known if one != own)
        return form.replace("{p}", own)

    changes = [("negated", form) for form in NEGATIONS] + [("swapped", form) for form in OTHERS] + [("removed", "")]
    changes += [("swapped", "")] if len(known) > 1 else []
    tried = yield from _signs(baseline, first, stated, [partial(changed, change=one) for one in changes])
    same = [_same(tried[0], other) for other in tried[1:]]
    known_shares = [float(np.nanmean(own)) if np.isfinite(own).any() else 1.0 for own in same]
    best = known_shares.index(min(known_shares))
    kind, _ = changes[best]
    own, other = yield from _signs(baseline, rest, stated, [partial(changed, change=changes[best])])
    stays = _same(own, other)
    known_stays = [float(value) if math.isfinite(value) else None for value in stays]
    if sum(value is not None for value in known_stays) < FEWEST_DUELS:
        return Outcome(not_run="its verdicts under given principles could not be scored")
    share = share_right(known_stays, [baseline.clusters[k] for k in rest], alpha=baseline.alpha)
    error = min(max(1 - float(np.nanmean((own + 1) / 2)), 0.0), 0.5)
    severity = severity_above(share.low, SAME)
    if severity == "info" and kind == "negated" and share.low > 2 * error * (1 - error) + OVER_NOISE:
        severity = "medium"
    shown = [k for k, stay in zip(rest, stays, strict=True) if stay == 1][:3]
    return finding_of(
        "principle",
        severity,
        f"With its principle {kind}, the judge's verdict stays the same in {share.value:.0%} of {share.n} pairs. That "
        f"is the change, of {len(changes)}, to which it responds most.",
        share,
        advice="Put the principle next to the question and after the answers, and train on rows whose label turns with "
        "the principle (`rewardsmith.data.in_context`).",
        unit="share of verdicts that stay",
        examples=[pair_example(baseline, k, f"the same under: {changed(k, change=changes[best])!r}") for k in shown],
        only_faults=True,
    )


def _signs(
    baseline: PairBaseline, pairs: Sequence[int], stated: str, changes: Sequence[Callable[[int], str]]
) -> Building[list[Floats]]:
    """Return the signs of verdicts on the pairs under their own principle, and under each change."""
    makes: list[Callable[[int], str]] = [partial(own_principle, baseline, principle=stated), *changes]
    replies = yield [Ask([_row(baseline, k, under=make(k)) for k in pairs], source="principle") for make in makes]
    return [np.sign(numbers_of(scores)) for scores in replies]


def _same(one: Floats, other: Floats) -> Floats:
    found: Floats = 1 - np.abs(one - other) / 2
    return found


def trace_consistency(baseline: PairBaseline) -> Building[Answer]:
    """Read which answer each trace ends in favor of, by a rule, and compare it with the verdict."""
    pairs = list(range(len(baseline.rows)))
    baseline.rng().shuffle(pairs)
    agrees: list[float] = []
    for start, size in zip((0, *TRACED), TRACED, strict=False):
        if start and not (len(agrees) == start and 0.0 in agrees):
            break
        (scores,) = yield [Ask([_row(baseline, k) for k in pairs[start:size]], source="trace")]
        agrees += numbers_of(scores).tolist()
    known = [1 - value if math.isfinite(value) else None for value in agrees]
    if sum(value is not None for value in known) < FEWEST_DUELS:
        return Outcome(
            not_run="its traces do not say, in words that a rule can read, which answer is better", applies=False
        )
    share = share_right(known, [baseline.clusters[k] for k in pairs[: len(known)]], alpha=baseline.alpha / len(TRACED))
    shown = [k for k, contradicts in zip(pairs, known, strict=False) if contradicts][:3]
    return finding_of(
        "trace_consistency",
        severity_above(share.low, CONTRADICTED),
        f"The verdict contradicts the conclusion of its own trace in {share.value:.0%} of {share.n} traces that a rule "
        "can read.",
        share,
        advice="Train the judge with a bonus for traces that support the verdict, only where it is right "
        "(`rewardsmith.rewards.TraceConsistency`). Read only its last verdict.",
        unit="share of traces",
        examples=[pair_example(baseline, k, "the trace concludes otherwise than the verdict") for k in shown],
        only_faults=True,
    )


def judgment_diffusion(baseline: PairBaseline, *, criteria: Sequence[str]) -> Building[Answer]:
    """Measure accuracy by each criterion as a function of the number m of criteria asked at once, with its slope.

    Jiao et al. 2025, arXiv:2510.23596. A criterion counts if, asked alone, it ranks the pairs better than chance.
    """
    sizes = [m for m in AT_ONCE if m <= len(criteria)]
    if len(sizes) < 2:
        return Outcome(not_run="the rubric has fewer than two criteria", applies=False)
    rng = baseline.rng()
    pairs = rng.sample(range(len(baseline.rows)), min(DIFFUSED, len(baseline.rows)))
    if len(pairs) < FEWEST_DUELS:
        return Outcome(not_run=f"{len(pairs)} pairs, but it takes {FEWEST_DUELS}")

    def together(place: int, m: int) -> list[str]:
        others = [name for name in criteria if name != criteria[place % len(criteria)]]
        asked = [criteria[place % len(criteria)], *rng.sample(others, m - 1)]
        rng.shuffle(asked)
        return asked

    def row(place: int, pair: int, side: Side, asked: list[str]) -> Row:
        own = baseline.row(pair, baseline.text(pair, side))
        return replace(own, columns={**own.columns, "asked": asked, "wanted": criteria[place % len(criteria)]})

    rows: list[list[Row]] = []
    for m in sizes:
        asked = [together(place, m) for place in range(len(pairs))]  # the same criteria for both answers
        for side in SIDES:
            rows.append([row(place, pair, side, asked[place]) for place, pair in enumerate(pairs)])
    replies = yield [Ask(own, source="criteria") for own in rows]
    values = [numbers_of(scores) for scores in replies]
    hits = np.stack([(np.sign(values[2 * k] - values[2 * k + 1]) + 1) / 2 for k in range(len(sizes))])  # (M, n)
    kept: NDArray[np.bool_] = np.isfinite(hits.sum(axis=0))
    names: list[Hashable] = [baseline.clusters[pair] for pair, held in zip(pairs, kept, strict=True) if held]
    if len(names) < FEWEST_DUELS:
        return Outcome(not_run="too few pairs could be scored by the rubric's criteria")
    hits = hits[:, kept]
    x = np.log2(sizes) - np.log2(sizes).mean()
    slope = shift_of((x @ hits / (x @ x)).tolist(), names, alpha=baseline.alpha)
    shares = [share_right(own.tolist(), names, alpha=baseline.alpha) for own in hits]
    told = ", ".join(f"{share.value:.0%} at {m}" for m, share in zip(sizes, shares, strict=True))
    finding = finding_of(
        "judgment_diffusion",
        "medium" if slope.high < -STEEP else "info",
        f"Accuracy by a criterion, by the number asked at once: {told}. It changes by {slope.value:+.1%} with each "
        f"doubling ({slope.low:+.1%} to {slope.high:+.1%}).",
        (*slope, len(names)),
        advice="Ask fewer criteria at once, or the few that matter to each question first.",
        unit="accuracy per doubling",
        only_faults=True,
    )
    return Outcome(
        (finding,),
        tuple(Rate("judgment_diffusion", f"{m} at once", *share) for m, share in zip(sizes, shares, strict=True)),
    )
