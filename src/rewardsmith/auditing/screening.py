"""Try the variants of a question on rows in turn, and look closer at those that score higher."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

from rewardsmith.auditing.asking import Ask, Building
from rewardsmith.auditing.baseline import Baseline
from rewardsmith.auditing.finding import at_least
from rewardsmith.auditing.report import Rate
from rewardsmith.auditing.trials import (
    Case,
    Judged,
    Trial,
    Variant,
    Way,
    evidence,
    in_units,
    judge_share,
    milder,
    send,
    severity_of,
    written,
)
from rewardsmith.data import Row
from rewardsmith.measures.intervals import most_share, share_right

if TYPE_CHECKING:
    from rewardsmith.auditing.variant_probe import VariantProbe

MOST_CLOSER = 4  # variants of a question that get a closer look
LOOK = 80  # rows of the first closer look
IN_TURN = "the others, in turn"
OPEN = "the others, in turn, with rows that scored higher"


class _Place(NamedTuple):
    """One way of a variant on one case, and its texts, controls last."""

    number: int
    case: Case
    way: Way
    texts: tuple[str, ...]

    @property
    def n(self) -> int:
        return len(self.texts)

    def row(self, k: int) -> Row:
        return self.case.row(self.texts[k])

    def trial(self, scores: Sequence[float]) -> Trial:
        return Trial(self.case, 0, self.texts, tuple(scores))


def _fitting(variants: Sequence[Variant], case: Case, asked: Counter[int]) -> Iterator[_Place]:
    """Yield a way of each variant that fits a case, those tried least first."""
    for number in sorted(range(len(variants)), key=asked.__getitem__):
        way = variants[number].ways[(asked[number] + number) % len(variants[number].ways)]
        if (texts := written(way, case)) is not None:
            yield _Place(number, case, way, texts)


def in_turn(
    probe: VariantProbe, baseline: Baseline, variants: Sequence[Variant], cases: Sequence[Case], turns: int
) -> Building[list[Judged]]:
    """Give each row the variants that fit it and were tried least, then look closer at those that score higher.

    A trial first sends its first text. If that scores higher, it sends the others and the controls. A variant with a
    full hit is tried on the first `LOOK` rows, and on all rows if that leaves its severity open. Each look has half
    the error level.

    Choosing variants by their hits does not raise the error. Let A_v be the event that the interval of variant v on a
    fixed set of rows lies above its true share. Then P(A_v) ≤ α whether v is looked at or not, and what is reported
    is some of the A_v. So P(any false) ≤ Σ_v P(A_v), which is what α = 0.05 / `N_QUESTIONS` bounds (Bonferroni).
    """
    asked, places, idle = Counter[int](), list[_Place](), 0
    for case in cases:
        taken = list(islice(_fitting(variants, case, asked), turns))
        places += taken
        idle += not taken
        asked.update(place.number for place in taken)
    firsts = yield [Ask([place.row(0)]) for place in places]
    known = [(place, reply[0].reward) for place, reply in zip(places, firsts, strict=True)]
    # A control may score below the level: then the lowest score known bounds it, or nothing.
    levels = [case.on.level for case in cases]
    lowest = min([*levels, *(r for _, r in known if r is not None)]) if baseline.verifier else -math.inf

    def may_gain(place: _Place, reward: float) -> bool:
        if place.way.controls and not probe.above_level:
            return reward > lowest
        return probe.gain(baseline, place.case.on, [reward], 1)[0] > probe.least_gain

    open_ = [(place, reward) for place, reward in known if reward is not None and may_gain(place, reward)]
    rests = yield [Ask([place.row(k) for k in range(1, place.n)]) for place, _ in open_]
    higher, best = Counter[int](), list[tuple[Variant, Trial]]()
    for (place, reward), reply in zip(open_, rests, strict=True):
        scores = [reward, *(score.reward for score in reply if score.reward is not None)]
        whole = len(scores) == place.n
        if whole and probe.gain(baseline, place.case.on, scores, len(place.way.texts))[0] > probe.least_gain:
            higher[place.number] += 1
            best.append((variants[place.number], place.trial(scores)))
    closer = [number for number, _ in higher.most_common(MOST_CLOSER)]
    judged = yield from _look(probe, baseline, [variants[number] for number in closer], cases)
    scored = [place for place, reward in known if reward is not None]
    if rows := {place.case.group for place in scored if place.number not in higher}:
        share = share_right([False] * (len(rows) + idle), alpha=baseline.alpha)
        judged.append((None, Rate(probe.name, IN_TURN, *share, most_share(0, share.n))))
    if len(judged) < len(closer) + bool(rows):  # not all could be sent: judge the trials of all variants together
        n_rows = len({place.case.group for place in scored}) + idle
        judged.append(_together(probe, baseline, best, n_rows))
    return judged


def _together(probe: VariantProbe, baseline: Baseline, best: Sequence[tuple[Variant, Trial]], n_rows: int) -> Judged:
    """Judge the share of rows on which the variants that they got in turn score higher."""
    hits = {trial.case.group: (variant, trial) for variant, trial in best}
    share = share_right([k < len(hits) for k in range(n_rows)], alpha=baseline.alpha)
    gains, shown = [], []
    for variant, trial in hits.values():
        n_texts, item = len(variant.ways[0].texts), trial.case.on
        gain, over = probe.gain(baseline, item, trial.scores, n_texts)
        gains.append(gain)
        shown.append((item, trial.texts[0], min(trial.scores[:n_texts]), over))
    variant, (item, text, *_) = next(iter(hits.values()))[0], shown[0]
    severity = severity_of(share.low, fmean(gains))
    for other, _ in hits.values():
        severity = milder(severity, other.worst)
    what = f"{variant.label} and the like"
    filled = {"what": what, "share": f"{share.value:.0%}", "gain": in_units(fmean(gains)), "n": share.n}
    return judge_share(
        probe.name,
        OPEN,
        share,
        [evidence(*one, keyed=baseline.keyed) for one in shown[:3]],
        severity=severity,
        message=probe.message.format(**filled, text=text[:60], key=item.key[:60]),
        advice=probe.advice,
        whole=share,
    )


def _look(
    probe: VariantProbe, baseline: Baseline, variants: Sequence[Variant], cases: Sequence[Case]
) -> Building[list[Judged]]:
    """Try variants on the first rows, and again on all rows where these leave it open whether a flaw is grave."""
    halved = replace(baseline, alpha=baseline.alpha / 2) if len(cases) > LOOK else baseline
    tried = yield from send(variants, cases, most=LOOK)
    judged = []
    for entry in tried:
        share = len(entry.trials) / (len(cases) - entry.n_unfit)  # as many of the cases that do not fit
        judged.append((entry.variant, probe.judge(halved, *entry[:2], n_unfit=round(entry.n_unfit * min(share, 1.0)))))
    left = [variant for variant, (finding, rate) in judged
            if rate.rate > 0 and not (finding and at_least(finding.severity, "high"))]  # fmt: skip
    if left and len(cases) > LOOK:
        again = yield from send(left, cases)
        later = {id(entry.variant): probe.judge(halved, *entry) for entry in again}  # variants may share a label
        judged = [(variant, later.get(id(variant), found)) for variant, found in judged]
    return [found for _, found in judged]
