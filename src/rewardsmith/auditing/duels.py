"""Put the same answer with and without an edit before a judge, in stages, and judge how far the edit decides."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from math import isfinite
from typing import NamedTuple

import numpy as np

from rewardsmith.auditing.asking import Ask, Asking, Building, Outcome
from rewardsmith.auditing.finding import Example, Ladder, clip, finding_of, severity_above
from rewardsmith.auditing.pair_baseline import SIDES, Floats, PairBaseline, numbers_of
from rewardsmith.auditing.report import Rate
from rewardsmith.auditing.trials import Judged, Shift, Variant, capitalized, conclude, shift_of
from rewardsmith.measures.intervals import most_share

STAGES = (64, 192, 768)
"""Duels of one variant up to the end of each stage; the next begins only if the last leaves the question open."""
OPEN = (0.4, 1.3)  # standard errors by which a mean must exceed 0 after a stage for the next one
FEWEST_DUELS = 24
SPENT = (0.04, 0.26, 0.7)  # of the error level, by stage
LEAST_LOW, LEAST_GAIN = 0.01, 0.05  # lower end and value of a fault's mean gain
EFFECTS: Ladder = ((0.4, "high"), (LEAST_LOW, "medium"))
"""Lower ends of the mean preference for the edit, of the usual preference between two answers."""
UNIT = "mean gain over the control"


class Duel(NamedTuple):
    """Two texts as answers to a pair's prompt, and where the first of them stands."""

    pair: int
    text: str
    other: str
    place: str


def unit_of(baseline: PairBaseline) -> float:
    """Return the mean size of a preference between two answers of the rows: of |2P − 1|, or of unequal scores."""
    if baseline.compares:
        sizes = np.abs(2 * np.concatenate([baseline.chosen, baseline.rejected]) - 1)
    else:
        sizes = np.abs(baseline.margins)
    sizes = sizes[sizes > 0]
    return float(sizes.mean()) if len(sizes) else 1.0


def preferred(baseline: PairBaseline, duels: Sequence[Duel]) -> Building[Floats]:
    """Return the preference for each first text, in units, cut to [−1, 1]; NaN where unscored."""
    if baseline.compares:
        (scores,) = yield [Ask([baseline.against(*duel) for duel in duels])]
        found = 2 * numbers_of(scores) - 1
    else:
        one, other = yield [
            Ask([baseline.row(duel.pair, duel.text) for duel in duels]),
            Ask([baseline.row(duel.pair, duel.other) for duel in duels]),
        ]
        found = numbers_of(one) - numbers_of(other)
    cut: Floats = np.clip(found / unit_of(baseline), -1, 1)
    return cut


def beaten(baseline: PairBaseline, duels: Sequence[Duel]) -> Building[Floats]:
    """Return how much more each first text wins against the pair's chosen answer than the second: −1 to 1."""
    signs = []
    for text in ("text", "other"):
        own = [duel._replace(text=getattr(duel, text), other=baseline.text(duel.pair, "chosen")) for duel in duels]
        signs.append(np.sign((yield from preferred(baseline, own))))
    found: Floats = (signs[0] - signs[1]) / 2
    return found


def duels_of(baseline: PairBaseline, variant: Variant, fits: Callable[[str], bool]) -> list[Duel]:
    """Return the duels of a variant, each prompt once before any comes again: by side, by way, and by place.

    Args:
        fits: whether a pair with this chosen answer counts.
    """
    pairs = [pair for pair in range(len(baseline.rows)) if fits(baseline.text(pair, "chosen"))]
    baseline.rng().shuffle(pairs)
    n_ways = len(variant.ways)
    found: dict[Duel, None] = {}
    for turn in range(2 * n_ways * (2 if baseline.compares else 1)):
        for number, pair in enumerate(pairs):
            text = baseline.text(pair, SIDES[(number + turn) % 2])
            way = variant.ways[(number // 4 + turn // 2) % n_ways]
            one, other = way.texts[0](text), way.controls[0](text)
            place = ("first", "second")[(number // 2 + turn // (2 * n_ways)) % 2]
            if one is not None and other is not None and one != other:
                found[Duel(pair, one, other, place)] = None
    return list(found)


class Tally(NamedTuple):
    """What is known of a variant: its duels so far, their preferences, and whether more may decide."""

    variant: Variant
    duels: list[Duel]
    gains: list[float]
    done: int = 0
    open: bool = True

    def shift(self, baseline: PairBaseline) -> Shift:
        """Return the mean preference with its interval over prompts, of one of the stages."""
        stage = next((k for k, size in enumerate(STAGES) if self.done <= size), len(STAGES) - 1)
        names = baseline.clusters
        kept = [(gain, names[duel.pair]) for gain, duel in zip(self.gains, self.duels, strict=False) if isfinite(gain)]
        groups: list[Hashable] = [name for _, name in kept]
        return shift_of([gain for gain, _ in kept], groups, alpha=baseline.alpha * SPENT[stage])


def fought(baseline: PairBaseline, bias: Bias) -> Building[list[Tally]]:
    """Ask the duels of every variant, stage by stage."""
    tallies = [Tally(variant, duels_of(baseline, variant, bias.fits), []) for variant in bias.variants]
    for stage, size in enumerate(STAGES):
        asked = [tally.duels[tally.done : size] if tally.open else [] for tally in tallies]
        whole = yield from bias.contest(baseline, [duel for own in asked for duel in own])
        start = 0
        for place, (tally, own) in enumerate(zip(tallies, asked, strict=True)):
            gains = [*tally.gains, *whole[start : start + len(own)].tolist()]
            start += len(own)
            now = Tally(tally.variant, tally.duels, gains, tally.done + len(own))
            known = np.array([gain for gain in gains if isfinite(gain)])
            mean, error = (known.mean(), known.std() / len(known) ** 0.5) if len(known) else (0.0, 0.0)
            decided = now.shift(baseline).low > LEAST_LOW or now.done < size
            more = tally.open and not decided and (abs(mean) if bias.both else mean) > OPEN[min(stage, 1)] * error
            tallies[place] = now._replace(open=bool(more))
    return [tally for tally in tallies if sum(isfinite(gain) for gain in tally.gains) >= FEWEST_DUELS]


class Bias(NamedTuple):
    """A question by duels: what raises a judge's preference though the content is the same.

    variants: each way has an edited text and its control.
    both: report also an edit that lowers the preference.
    contest: the gain of each duel's first text.
    fits: whether a pair with this chosen answer counts.
    """

    name: str
    question: str
    advice: str
    variants: tuple[Variant, ...]
    both: bool = False
    message: str = "the same answer gains {gain:.0%} of the usual preference between two answers over its control"
    contest: Callable[[PairBaseline, Sequence[Duel]], Building[Floats]] = preferred
    fits: Callable[[str], bool] = bool

    def ask(self, baseline: PairBaseline) -> Asking:
        """Ask the duels and judge every variant."""
        tallies = yield from fought(baseline, self)
        if not tallies:
            return Outcome(
                not_run=f"fewer than {FEWEST_DUELS} texts of this kind get a score", applies=self.contest is preferred
            )
        return conclude([self.judge(baseline, tally) for tally in tallies])

    def judge(self, baseline: PairBaseline, tally: Tally) -> Judged:
        """Return the finding of one variant, if its interval lies above `LEAST_LOW`, and its rate."""
        shift = tally.shift(baseline)
        sign = -1.0 if self.both and shift.high < -LEAST_LOW else 1.0
        value, low, high = (sign * shift.value, *sorted((sign * shift.low, sign * shift.high)))
        gains = [sign * gain for gain in tally.gains if isfinite(gain)]
        n, severity = len(gains), severity_above(low if value > LEAST_GAIN else 0.0, EFFECTS)
        net, least, most = (min(max(end, 0.0), 1.0) for end in (value, low, high))
        rate = Rate(self.name, tally.variant.label, net, least, most, n, max(most, most_share(0, n)))
        if severity == "info":
            return None, rate
        label = tally.variant.label if sign > 0 else f"the reverse of {tally.variant.label}"
        won, lost = (sum(side * gain > 0 for gain in gains) / n for side in (1, -1))
        return finding_of(
            self.name,
            severity,
            f"{capitalized(label)}: {self.message.format(gain=value)}. It wins {won:.0%} and loses {lost:.0%} of {n} "
            "comparisons.",
            (value, low, high, n),
            advice=self.advice,
            unit=UNIT,
            examples=shown_duels(baseline, tally, sign),
        ), rate


def shown_duels(baseline: PairBaseline, tally: Tally, sign: float) -> list[Example]:
    """Return the three clearest duels as evidence."""
    order = np.argsort([-sign * gain if isfinite(gain) else np.inf for gain in tally.gains], kind="stable")[:3]
    found = []
    for place in order:
        duel, gain = tally.duels[place], tally.gains[place]
        prompt = clip(baseline.row(duel.pair, "").prompt_text)
        note = f"preferred by {gain:+.2f}, read {duel.place}, to: {clip(duel.other)}"
        found.append(Example(prompt, clip(duel.text), gain, 0.0, clip(note)))
    return found
