"""A probe that sends variants of a completion and asks whether one scores higher than an honest wrong answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from rewardsmith.auditing.asking import Asking, Outcome
from rewardsmith.auditing.baseline import Baseline, Item
from rewardsmith.auditing.screening import OPEN, in_turn
from rewardsmith.auditing.trials import (
    Judged,
    Trial,
    Variant,
    cases_of,
    conclude,
    evidence,
    in_units,
    judge_share,
    milder,
    send,
    severity_of,
    share_of,
    why_mild,
)

DIFFERENT = 0.01  # of right minus wrong; smaller differences may be rounding


@dataclass(frozen=True, slots=True)
class VariantProbe:
    """Probe that asks whether a kind of completion scores higher than an honest wrong answer.

    variants: of one way each. If it writes several texts, all of them must score higher. Without controls a variant is
        compared with the item's level.
    least_gain: gain above the control or the item's level, in units, from which a row counts.
    above_level: measure the gain above the item's level also where there are controls; the text need only score higher
        than them.
    floor: least score to compare with, in reward units, so that a smaller penalty is no reward.
    over_every_wrong: compare with the best honest wrong answer too, so that chance partial credit is no finding.
    turns: variants per row at most, in turn; those that score higher on a row get a closer look. None tries every
        variant on every row, unless the audit has more rows than that allows.
    applies: reason why the question has no meaning on a baseline, or "".
    """

    name: str
    question: str
    advice: str
    variants: Callable[[Baseline], Sequence[Variant]]
    message: str
    least_gain: float = 0.1
    above_level: bool = False
    floor: float = -math.inf
    over_every_wrong: bool = False
    turns: int | None = None
    applies: Callable[[Baseline], str] = lambda baseline: ""

    def __call__(self, baseline: Baseline) -> Asking:
        if baseline.blind:
            return Outcome(not_run=baseline.blind)
        if reason := self.applies(baseline):
            return Outcome(not_run=reason, applies=bool(baseline.unread))
        variants = [one for one in self.variants(baseline) if not baseline.unread or one.ways[0].controls]
        if not variants:
            return Outcome(not_run=baseline.unread)
        cases, tried = cases_of(baseline), baseline.sizes.tried
        fits = any(write(*case.given) is not None for one in variants for case in cases for write in one.ways[0].texts)
        turns = self.turns or len(variants)
        if tried is not None:  # so many of each row that each variant is tried on as many rows
            turns = min(turns, max(1, math.ceil(len(variants) * tried / max(len(cases), 1))))
        if turns >= len(variants):
            judged = [self.judge(baseline, *entry) for entry in (yield from send(variants, cases))]
        else:
            judged = yield from in_turn(self, baseline, variants, cases, turns)
        if not judged:
            return Outcome(not_run="no row fits, or none could be scored", applies=fits)
        outcome = conclude(judged)
        if not outcome.findings and any(rate.label == OPEN for _, rate in judged):
            return replace(outcome, not_run="some rows scored higher, and the calls did not suffice for a closer look")
        return outcome

    def gain(self, baseline: Baseline, item: Item, scores: Sequence[float], n_texts: int) -> tuple[float, float]:
        """Return the gain of the lowest of the first `n_texts` scores, and the score that it is compared with.

        That is the highest score of the controls, which follow, or else the item's level. The gain is also over the
        floor and, if asked for, over every honest wrong answer.
        """
        over = max(scores[n_texts:], default=item.level)
        if self.above_level and baseline.gain(item, min(scores[:n_texts]), over=over) > DIFFERENT:
            return baseline.gain(item, min(scores[:n_texts])), over
        wrongs = [score for score in item.wrong_scores if score is not None] if self.over_every_wrong else []
        return baseline.gain(item, min(scores[:n_texts]), over=max(over, self.floor, *wrongs)), over

    def judge(self, baseline: Baseline, variant: Variant, trials: Sequence[Trial], n_unfit: int) -> Judged:
        """Return the share of rows scored higher, and a finding if its interval lies above `LEAST_SHARE`."""
        n_texts = len(variant.ways[0].texts)
        gained: list[tuple[float, Trial, float]] = []  # gain, trial, score compared with
        for trial in trials:
            gain, over = self.gain(baseline, trial.case.on, trial.scores, n_texts)
            gained.append((gain, trial, over))
        higher = sorted((entry for entry in gained if entry[0] > self.least_gain), key=lambda entry: -entry[0])
        mean_gain = fmean(gain for gain, *_ in higher) if higher else 0.0
        hits = [gain > self.least_gain for gain, *_ in gained]
        share = share_of(hits, variant, trials, alpha=baseline.alpha)
        whole = share_of(hits, variant, trials, alpha=baseline.alpha, n_unfit=n_unfit)
        shown = []
        for _, trial, over in (higher or gained)[:3]:
            reward = min(trial.scores[:n_texts])
            shown.append((trial.case.on, trial.texts[trial.scores.index(reward)], reward, over))
        item, text, *_ = shown[0]
        earned = severity_of(whole.low, mean_gain)
        severity = milder(earned, variant.worst)
        return judge_share(
            self.name,
            variant.label,
            share,
            [evidence(*one, keyed=baseline.keyed) for one in shown],
            severity=severity,
            message=self.message.format(
                what=variant.label,
                share=f"{share.value:.0%}",
                gain=in_units(mean_gain),
                n=share.n,
                text=text[:60],
                key=item.key[:60],
            ),
            advice=self.advice,
            why=why_mild(earned, share, whole, mean_gain) if severity == earned else variant.why,
            whole=whole,
        )
