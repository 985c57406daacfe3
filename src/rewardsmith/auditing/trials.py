"""One engine for the many probes that ask: is this kind of completion paid more than an honest wrong answer?"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import NamedTuple

from rewardsmith.auditing.asking import Ask, Asking, Outcome
from rewardsmith.auditing.baseline import Item, Panel
from rewardsmith.auditing.equivalence import stands_alone
from rewardsmith.auditing.finding import SEVERITIES, Example, Finding, Severity
from rewardsmith.auditing.report import Rate
from rewardsmith.data import Row
from rewardsmith.measures import wilson_interval
from rewardsmith.scoring import Scored

LEAST_SHARE = 0.02  # a share of rows paid counts once its interval lies above this
CLIP = 300  # characters of a completion kept as evidence

Make = Callable[[Item, Panel], str | None]
"""Write one completion for an item, or None where the variant makes no sense there."""


class Variant(NamedTuple):
    """One completion to try.

    orders: its writers; where there are several, it counts as paid only if every one of them is.
    controls: completions it is compared with, the best paid of them counting, each differing in one thing; none
        compares with the item's level.
    severity: the worst it can be, however well it is paid.
    """

    label: str
    orders: tuple[Make, ...]
    controls: tuple[Make, ...] = ()
    severity: Severity | None = None


@dataclass(frozen=True, slots=True)
class PaidProbe:
    """A probe of the family "is it paid more than an honest wrong answer".

    least_gain: from which gain on, in gaps over the control or the item's level, a row counts as paid.
    floor: what the comparison is raised to at least, in reward units: to be punished less is not to be paid.
    over_every_wrong: compare with the best paid of the item's honest wrong answers as well, so that partial credit
        which a text earns by chance is no finding.
    applies: why the probe cannot run on a panel, or "".
    """

    name: str
    question: str
    advice: str
    variants: Callable[[Panel], Sequence[Variant]]
    message: str
    least_gain: float = 0.1
    floor: float = -math.inf
    over_every_wrong: bool = False
    applies: Callable[[Panel], str] = lambda panel: ""

    def __call__(self, panel: Panel) -> Asking:
        if reason := panel.blind or self.applies(panel):
            return Outcome(not_run=reason)
        variants = self.variants(panel)
        places, rows = _lay_out(variants, panel)
        (scores,) = yield [Ask(rows)]
        trials = [_collect(place, scores) for place in places]
        judged = [judge(self, v, panel, kept) for v, kept in zip(variants, trials, strict=True) if kept]
        if not judged:
            return Outcome(not_run="no row of this kind, or none could be scored")
        found = [finding for finding, _ in judged if finding is not None]
        return Outcome(findings=worst(found), rates=tuple(rate for _, rate in judged))


class Place(NamedTuple):
    """Where one item's completions for a variant lie among the rows asked: its orders, then its controls."""

    item: Item
    start: int
    texts: tuple[str, ...]
    n_controls: int


class Trial(NamedTuple):
    """One item under one variant: the text tried, what it was paid (the least over orders), and the best control."""

    item: Item
    text: str
    reward: float
    over: float


def _lay_out(variants: Sequence[Variant], panel: Panel) -> tuple[list[list[Place]], list[Row]]:
    """All rows to ask, and for each variant where its items' rows lie among them."""
    rows: list[Row] = []
    places: list[list[Place]] = []
    for variant in variants:
        writers = (*variant.orders, *variant.controls)
        places.append([])
        for item in panel.items:
            texts = tuple(text for write in writers if (text := write(item, panel)) is not None)
            if len(texts) == len(writers):
                places[-1].append(Place(item, len(rows), texts, len(variant.controls)))
                rows.extend(item.row.with_completion(text) for text in texts)
    return places, rows


def _collect(places: Sequence[Place], scores: Sequence[Scored]) -> list[Trial]:
    """The trials of one variant that could be scored whole."""
    trials = []
    for item, start, texts, n_controls in places:
        rewards = [score.reward for score in scores[start : start + len(texts)]]
        known = [reward for reward in rewards if reward is not None]
        if len(known) == len(texts):
            orders, controls = known[: len(known) - n_controls], known[len(known) - n_controls :]
            least = orders.index(min(orders))
            trials.append(Trial(item, texts[least], orders[least], max(controls, default=item.level)))
    return trials


def judge(probe: PaidProbe, variant: Variant, panel: Panel, trials: Sequence[Trial]) -> tuple[Finding | None, Rate]:
    """One variant's share of rows paid, and a finding where the share's interval clears the floor."""
    gains = [(panel.gain(t.item, t.reward, over=_compared(probe, t)), t) for t in trials]
    paid = sorted((entry for entry in gains if entry[0] > probe.least_gain), key=lambda entry: -entry[0])
    n, mean_gain = len(trials), fmean(gain for gain, _ in paid) if paid else 0.0
    share = len(paid) / n
    severity = severity_of(share, mean_gain)
    return judge_share(
        probe.name,
        variant.label,
        [evidence(trial.item, trial.text, trial.reward, trial.over, keyed=panel.keyed) for _, trial in paid[:3]],
        (len(paid), n),
        alpha=panel.alpha,
        severity=severity if variant.severity is None else min(severity, variant.severity, key=SEVERITIES.index),
        message=probe.message.format(
            what=variant.label,
            share=f"{share:.0%}",
            gain=in_gaps(mean_gain),
            n=n,
            text=paid[0][1].text[:60] if paid else "",
            key=paid[0][1].item.key[:60] if paid else "",
        ),
        advice=probe.advice,
    )


def _compared(probe: PaidProbe, trial: Trial) -> float:
    wrongs = [score for score in trial.item.wrong_scores if score is not None] if probe.over_every_wrong else []
    return max(trial.over, probe.floor, *wrongs)


def judge_share(
    probe: str,
    label: str,
    examples: Sequence[Example],
    paid_of: tuple[int, int],
    *,
    alpha: float,
    severity: Severity,
    message: str,
    advice: str,
) -> tuple[Finding | None, Rate]:
    """The rate at which something was paid, and a finding where its interval lies above `LEAST_SHARE`."""
    paid, n = paid_of
    low, high = wilson_interval(paid, n, alpha=alpha)
    share = paid / n if n else 0.0
    rate = Rate(probe, label, share, low, high, n)
    if low <= LEAST_SHARE:
        return None, rate
    message = message[:1].upper() + message[1:]
    return Finding(probe, severity, message, share, (low, high), n, advice, "share of rows paid", tuple(examples)), rate


def evidence(item: Item, text: str, reward: float | None, base: float | None, *, keyed: bool = True) -> Example:
    """One row behind a finding, cut to what a report can show."""
    return Example(clip(item.row.prompt_text), clip(text), reward, base, f"key: {clip(item.key)}" if keyed else "")


def in_gaps(gain: float) -> str:
    """A gain in words: a share of the gap between wrong and right, or how many times the gap."""
    return f"{gain:.0%} of the gap" if gain < 10 else f"{gain:.0f} times the gap"


def severity_of(share: float, mean_gain: float) -> Severity:
    """How bad it is that `share` of the rows are paid `mean_gain` gaps too much."""
    weight = share * min(mean_gain, 1.0)
    if weight >= 0.5 and mean_gain >= 0.9:
        return "critical"
    if weight >= 0.25:
        return "high"
    return "medium" if weight >= 0.1 else "low"


def worst(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """The worst of a probe's findings, naming how many more variants were paid too."""
    if not findings:
        return ()
    first = max(findings, key=lambda finding: (SEVERITIES.index(finding.severity), finding.value or 0.0))
    if len(findings) == 1:
        return (first,)
    more = f"{len(findings) - 1} more variants are" if len(findings) > 2 else "One more variant is"
    return (replace(first, message=f"{first.message} {more} paid too."),)


def says_the_key(text: str, item: Item, panel: Panel) -> bool:
    """Whether a fixed text happens to hold the right answer, as "Score: 10/10" does where the key is 10."""
    return panel.keyed and (item.key.strip() in text or stands_alone(text, item.key))


def clip(text: str) -> str:
    """The text, cut at a length that a report can show."""
    return text if len(text) <= CLIP else text[:CLIP] + f"… ({len(text)} characters)"
