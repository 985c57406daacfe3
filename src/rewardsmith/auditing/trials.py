"""Send edited variants, compare each with controls that differ in one thing, and judge by an interval."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any, NamedTuple

from rewardsmith.auditing.asking import Ask, Building, Outcome
from rewardsmith.auditing.baseline import Baseline, Item
from rewardsmith.auditing.finding import SEVERITIES, Example, Finding, Severity, at_least, clip, finding_of
from rewardsmith.auditing.report import Rate
from rewardsmith.data import Row
from rewardsmith.equivalence.reading import stands_alone
from rewardsmith.measures.intervals import Share, mean_or_nan, most_share, share_right, student_interval

LEAST_SHARE = 0.02  # a share of rows scored higher is a finding if its interval lies above this


BARS: tuple[tuple[float, float, Severity], ...] = ((0.3, 0.9, "critical"), (0.1, 0.25, "high"), (0.03, 0.1, "medium"))
"""Lower end of the share of all rows times the mean gain, and mean gain, from which a finding has a severity.

With 64 rows, the ends are those of shares of 50 %, 25 % and 10 %. The gains are as grave on every row.
"""

Write = Callable[..., str | None]
"""Write one text for a case, or None if the variant does not fit it."""


def milder(one: Severity, other: Severity) -> Severity:
    """Return the milder of two severities."""
    return min(one, other, key=SEVERITIES.index)


class Way(NamedTuple):
    """One wording of a variant: writers of its texts, and of controls that lack only the tested feature."""

    texts: tuple[Write, ...]
    controls: tuple[Write, ...] = ()


class Variant(NamedTuple):
    """One change to try.

    ways: one, or several that prompts get in turn.
    worst: the highest severity of a finding, and why, if it is not critical.
    draws: whether the ways are a sample of many, so that the interval is over ways; else over prompts.
    """

    label: str
    ways: tuple[Way, ...]
    worst: Severity = "critical"
    draws: bool = False
    why: str = ""


class Case(NamedTuple):
    """One thing that a variant is tried on.

    on: an item of the baseline, or the number of a pair. group: the independent unit, such as the prompt.
    given: arguments of the writers. row: maps a text to the row that is sent.
    """

    on: Any
    group: Hashable
    given: tuple[Any, ...]
    row: Callable[[str], Row]


def written(way: Way, case: Case) -> tuple[str, ...] | None:
    """Return the texts of a way for a case, controls last, or None if one of them does not fit."""
    texts = []
    for write in (*way.texts, *way.controls):
        if (text := write(*case.given)) is None:
            return None
        texts.append(text)
    return tuple(texts)


class Trial(NamedTuple):
    """One case under one way of a variant: the texts and their scores, controls last."""

    case: Case
    way: int
    texts: tuple[str, ...]
    scores: tuple[float, ...]


class Tried(NamedTuple):
    """The trials of one variant, and how many cases it does not fit."""

    variant: Variant
    trials: list[Trial]
    n_unfit: int


Judged = tuple[Finding | None, Rate]
"""The finding of one variant, or None, and the rate that the report draws."""


def send(
    variants: Iterable[Variant], cases: Sequence[Case], *, fewest: int = 1, most: int | None = None
) -> Building[list[Tried]]:
    """Try every variant on the cases it fits; a trial with an unscored text does not count.

    Args:
        fewest: a variant with fewer trials is left out.
        most: cases per variant.
    """
    laid = []
    for variant in variants:
        way_of: dict[Hashable, int] = {}  # all cases of a group in one way
        places = []
        for case in cases:
            number = way_of.setdefault(case.group, len(way_of)) % len(variant.ways)
            if (texts := written(variant.ways[number], case)) is not None:
                places.append((case, number, texts))
        n_unfit = len(cases) - len(places)
        if len(places := places[:most]) >= fewest:
            laid.append((variant, places, n_unfit))
    replies = yield [Ask([case.row(text) for case, _, texts in places for text in texts]) for _, places, _ in laid]
    tried = []
    for (variant, places, n_unfit), reply in zip(laid, replies, strict=True):
        trials, start = [], 0
        for case, way, texts in places:
            scores = tuple(score.reward for score in reply[start : start + len(texts)] if score.reward is not None)
            start += len(texts)
            if len(scores) == len(texts):
                trials.append(Trial(case, way, texts, scores))
        if len(trials) >= fewest:
            tried.append(Tried(variant, trials, n_unfit))
    return tried


class Shift(NamedTuple):
    """A mean and its interval."""

    value: float
    low: float
    high: float


def shift_of(values: Sequence[float], groups: Sequence[Hashable], *, alpha: float) -> Shift:
    """Return the mean over groups of their means, with Student's interval; unbounded with one group.

        m̄ ± t s/√K,    m₁ … m_K the groups' means, t the (1 − α/2) quantile with K − 1 degrees of freedom

    Groups are independent: prompts, or wordings that were each tried on other prompts.

    >>> shift_of([1.0, 1.0, 1.0], "aab", alpha=0.05)
    Shift(value=1.0, low=1.0, high=1.0)
    """
    by_group: dict[Hashable, list[float]] = defaultdict(list)
    for value, group in zip(values, groups, strict=True):
        by_group[group].append(value)
    means = [fmean(own) for own in by_group.values()]
    return Shift(mean_or_nan(means), *student_interval(means, alpha=alpha))


def share_of(
    hits: Sequence[bool], variant: Variant, trials: Sequence[Trial], *, alpha: float, n_unfit: int = 0
) -> Share:
    """Return the share of trials that hit, with an interval over prompts, or over ways if these are draws.

    Args:
        n_unfit: cases without a trial that count as not hit, each a prompt of its own.
    """
    if not variant.draws:
        groups = [*((trial.case.group, True) for trial in trials), *((k, False) for k in range(n_unfit))]
        return share_right([*hits, *[False] * n_unfit], groups, alpha=alpha)
    mean = shift_of([float(hit) for hit in hits], [trial.way for trial in trials], alpha=alpha)
    return Share(mean.value, max(mean.low, 0.0), min(mean.high, 1.0), len(trials))


def conclude(judged: Sequence[Judged], *, first: Callable[[Finding], float] = lambda finding: 0.0) -> Outcome:
    """Keep the worst fault of a probe and count the others; without a fault, the observation lowest by `first`.

    What could have escaped the question is what could have escaped the variant that is least sure.
    """
    found = [finding for finding, _ in judged if finding is not None]
    faults = [finding for finding in found if finding.severity != "info"]
    kept = sorted((finding for finding in found if finding.severity == "info"), key=first)[:1]
    if faults:
        kept = [max(faults, key=lambda finding: (SEVERITIES.index(finding.severity), finding.value or 0.0))]
    if len(faults) > 1:
        more = f"{len(faults) - 1} more variants do" if len(faults) > 2 else "One more variant does"
        kept = [replace(kept[0], message=f"{kept[0].message} {more} so too.")]
    rates = tuple(rate for _, rate in judged)
    bounds = [rate.high if rate.bound is None else rate.bound for rate in rates if rate.n]
    n = max((rate.n for rate in rates), default=0)
    return Outcome(findings=tuple(kept), rates=rates, n=n, bound=max(bounds, default=None))


def capitalized(text: str) -> str:
    """Return the text with its first letter in upper case."""
    return text[:1].upper() + text[1:]


def variant(label: str, *texts: Write, controls: tuple[Write, ...] = (), **bounds: Any) -> Variant:
    """Make a variant of one way; the lowest score of several texts counts, the highest of several controls."""
    return Variant(label, (Way(texts, controls),), **bounds)


def cases_of(baseline: Baseline, items: Sequence[Item] | None = None) -> list[Case]:
    """Return the items of a baseline as cases, whose writers take item and baseline."""
    taken = baseline.items if items is None else items
    return [Case(item, k, (item, baseline), item.row.with_completion) for k, item in enumerate(taken)]


def judge_share(
    probe: str,
    label: str,
    share: Share,
    examples: Sequence[Example],
    *,
    severity: Severity,
    message: str,
    advice: str,
    why: str = "",
    whole: Share | None = None,
) -> Judged:
    """Return the rate, and a finding with three examples if its interval lies above `LEAST_SHARE`.

    Args:
        whole: the share of all rows of the audit, if some do not fit.
    """
    bound = None if whole is None else most_share(whole.value * whole.n, whole.n)
    rate = Rate(probe, label, *share, bound)
    if share.low <= LEAST_SHARE:
        return None, rate
    said, unit = capitalized(message), "share of rows scored higher"
    return finding_of(probe, severity, said, share, advice=advice, unit=unit, examples=examples, why=why), rate


def severity_of(low: float, mean_gain: float) -> Severity:
    """Return the severity by `BARS` of a flaw that raises the score of some rows by `mean_gain` units.

    Args:
        low: lower end of their share of all rows of the audit.
        mean_gain: counts at most once.
    """
    weight = low * min(mean_gain, 1.0)
    return next((severity for bound, gain, severity in BARS if weight >= bound and mean_gain >= gain), "low")


def why_mild(severity: Severity, share: Share, whole: Share, mean_gain: float = 1.0) -> str:
    """Return why a share of at least a half is milder than `critical`: little gain, few rows that fit, or few rows."""
    if share.value < 0.5 or severity == "critical":
        return ""
    if mean_gain < 0.5:
        return f"Each of these rows gains only {in_units(mean_gain)}."
    if whole.n >= 2 * share.n:
        return f"It fits only {share.n} of {whole.n} rows."
    if not at_least(severity, "high"):
        return f"Only {whole.n} rows were asked, so the share may be as low as {whole.low:.0%}."
    return ""


def evidence(item: Item, text: str, reward: float | None, base: float | None, *, keyed: bool = True) -> Example:
    """Return one row behind a finding, cut to the length that a report shows."""
    return Example(clip(item.row.prompt_text), clip(text), reward, base, f"key: {clip(item.key)}" if keyed else "")


def in_units(gain: float) -> str:
    """Write a gain relative to the score difference between a right and a wrong answer."""
    return f"{gain:.0%} of right minus wrong" if gain < 10 else f"{gain:.0f} times right minus wrong"


def says_the_key(text: str, item: Item, baseline: Baseline) -> bool:
    """Return whether a fixed text contains the right answer, as "Score: 10/10" does for the key 10."""
    return baseline.keyed and (item.key.strip() in text or stands_alone(text, item.key))
