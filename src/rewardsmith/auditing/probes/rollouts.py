"""Probe given completions: groups without signal, length, data sources, errors against gold."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from statistics import fmean, median, stdev
from typing import Any

from rewardsmith.auditing.asking import Ask, Asking, Outcome
from rewardsmith.auditing.baseline import Baseline
from rewardsmith.auditing.finding import Finding, Ladder, counted, finding_of, severity_above, shown
from rewardsmith.auditing.probes.confidence import stated_confidence
from rewardsmith.auditing.probes.regions import reward_regions
from rewardsmith.auditing.step_baseline import labels_of
from rewardsmith.data import Row
from rewardsmith.measures import flawed_positive_rate
from rewardsmith.measures.intervals import mean_interval, rank_correlations
from rewardsmith.measures.labels import first_wrong, label_of

FORMATS: tuple[tuple[str, str], ...] = (
    ("boxed", r"\\boxed\{"),
    ("answer tag", r"<answer>"),
    ("####", r"####"),
    ("sentence", r"(?i)\banswer\b"),
)
DEAD_SHARES: Ladder = ((0.8, "medium"), (0.5, "low"))
LEAST_GROUPS = 5  # groups with varying length and reward, to judge a correlation
STRONG_CORRELATION = 0.3
LEAST_ROWS = 8  # of a data source, to compare its spread
SCALE_RATIOS: Ladder = ((10.0, "medium"), (3.0, "low"))
FALSE_POSITIVE_RATES: Ladder = ((0.2, "high"), (0.02, "medium"))
FALSE_NEGATIVE_RATES: Ladder = ((0.2, "medium"), (0.02, "low"))
FLAWED_SHARES: Ladder = ((0.1, "low"),)

Known = Sequence[tuple[Row, float]]
"""Scored completions with their rewards."""


def rollouts(baseline: Baseline) -> Asking:
    """Score the given completions once, and run every check that their columns allow."""
    if not baseline.rollouts:
        return Outcome(not_run="the rows have no completions", applies=False)
    (scores,) = yield [Ask(baseline.rollouts)]
    known = [(row, s.reward) for row, s in zip(baseline.rollouts, scores, strict=True) if s.reward is not None]
    grouped: dict[Any, list[tuple[Row, float]]] = defaultdict(list)
    for row, reward in known:
        grouped[row.columns.get("group", row.prompt_text)].append((row, reward))
    groups = [group for group in grouped.values() if len(group) > 1]
    cuts = _cuts(known, baseline)
    found = [
        group_signal(groups, baseline),
        length_correlation(groups, baseline),
        data_source_scale(known),
        *gold_rates(known, cuts, baseline),
        flawed_positives(known, cuts, baseline),
        *reward_regions(groups),
        *(yield from stated_confidence(baseline, cuts)),
    ]
    return Outcome(findings=tuple(finding for finding in found if finding is not None))


def group_signal(groups: Sequence[Known], baseline: Baseline) -> Finding | None:
    """Count the groups whose completions all score the same."""
    if not groups:
        return None
    dead = [group for group in groups if max(r for _, r in group) - min(r for _, r in group) <= 1e-9]
    share = counted(len(dead), len(groups), alpha=baseline.alpha)
    return finding_of(
        "group_signal",
        severity_above(share.low, DEAD_SHARES),
        f"{len(dead)} of {len(groups)} groups have equal rewards for all completions, so they carry no signal.",
        share,
        advice="Drop them (`rewardsmith.advantages.drop_dead_groups`) and sample prompts of medium difficulty.",
        unit="share of groups",
        examples=[shown(*group[0], note=f"{len(group)} completions") for group in dead[:3]],
    )


def length_correlation(groups: Sequence[Known], baseline: Baseline) -> Finding | None:
    """Correlate length and reward within groups (Spearman); groups with a constant do not count."""
    correlations = []
    for group in groups:
        both = [(len(row.text), reward) for row, reward in group]
        if all(len(set(column)) > 1 for column in zip(*both, strict=True)):
            correlations.append(float(rank_correlations(both)[0, 1]))
    if len(correlations) < LEAST_GROUPS:
        return None
    low, high = mean_interval(correlations, alpha=baseline.alpha)
    strong = low > STRONG_CORRELATION or high < -STRONG_CORRELATION
    return finding_of(
        "length_correlation",
        "low" if strong else "info",
        f"Within a group, reward and length have a mean rank correlation of {fmean(correlations):+.2f}.",
        (fmean(correlations), low, high, len(correlations)),
        advice="Check whether gold has it too. If not, use `rewardsmith.transforms.length_penalty`.",
        unit="rank correlation per group",
        only_faults=True,
    )


def data_source_scale(known: Known) -> Finding | None:
    """Compare the standard deviation of rewards between data sources."""
    sources: dict[str, list[float]] = defaultdict(list)
    for row, reward in known:
        name = row.columns.get("source", row.columns.get("data_source"))
        if name is not None:
            sources[str(name)].append(reward)
    spreads = {name: stdev(rewards) for name, rewards in sources.items() if len(rewards) >= LEAST_ROWS}
    spreads = {name: spread for name, spread in spreads.items() if spread > 0}
    if len(spreads) < 2:
        return None
    wide, narrow = max(spreads, key=lambda n: spreads[n]), min(spreads, key=lambda n: spreads[n])
    ratio = spreads[wide] / spreads[narrow]
    return Finding(
        probe="data_source_scale",
        severity=severity_above(ratio, SCALE_RATIOS),
        message=f"The spread of rewards in source {wide!r} is {ratio:.1f} times that in {narrow!r}.",
        value=ratio,
        interval=None,
        n=sum(len(sources[name]) for name in spreads),
        advice="Normalize each source before mixing: `rewardsmith.transforms.normalize_sources`.",
        unit="ratio of standard deviations",
    )


def gold_rates(known: Known, cuts: Callable[[Row], float], baseline: Baseline) -> list[Finding]:
    """Count errors against gold labels, over all completions and by response format."""
    entries = [(row, reward, gold) for row, reward in known if (gold := label_of(row.gold)) is not None]
    by_format: dict[str, list[tuple[Row, float, bool]]] = defaultdict(list)
    for row, reward, gold in entries:
        by_format[format_of(row.text)].append((row, reward, gold))
    kinds: tuple[tuple[bool, str, str, str, Ladder], ...] = (
        (False, "false positive", "wrong", "right", FALSE_POSITIVE_RATES),
        (True, "false negative", "right", "wrong", FALSE_NEGATIVE_RATES),
    )
    found = []
    for name, own in {"all formats": entries, **(by_format if len(by_format) > 1 else {})}.items():
        for right, kind, what, scored_as, ladder in kinds:
            of_kind = [(row, reward) for row, reward, gold in own if gold is right]
            errors = [(row, reward) for row, reward in of_kind if (reward > cuts(row)) is not right]
            if not of_kind:
                continue
            share = counted(len(errors), len(of_kind), alpha=baseline.alpha)
            found.append(
                finding_of(
                    "gold_rates",
                    severity_above(share.low, ladder),
                    f"{kind.capitalize()} rate, {name}: {len(errors)} of {len(of_kind)} completions labeled {what} are "
                    f"scored as {scored_as}.",
                    share,
                    advice="Measure the rates by format with `rewardsmith.measures.estimate_noise`, and apply them "
                    "with `backward_correction`. Center the result, but do not divide by the group's deviation (paper "
                    "39).",
                    unit=f"{kind} rate",
                    examples=[shown(*error) for error in errors[:3]],
                )
            )
    return found


def flawed_positives(known: Known, cuts: Callable[[Row], float], baseline: Baseline) -> Finding | None:
    """Count completions scored as right although one of their steps is labeled wrong."""
    errors = [first_wrong(labels) if (labels := labels_of(row)) else None for row, _ in known]
    passed = [reward > cuts(row) for row, reward in known]
    share = flawed_positive_rate(passed, [None if e is None else e >= 0 for e in errors], alpha=baseline.alpha)
    if share.n == 0:
        return None
    return finding_of(
        "flawed_positives",
        severity_above(share.low, FLAWED_SHARES),
        f"{share.value:.0%} of {share.n} completions scored as right have a step labeled wrong.",
        share,
        advice="Use `rewardsmith.transforms.flawed_positive_penalty` with a detector such as "
        "`rewardsmith.rewards.FirstErrorJudge`, as an outcome reward cannot see them.",
        unit="share of completions scored as right",
        examples=[shown(*own) for own, p, e in zip(known, passed, errors, strict=True) if p and e not in (None, -1)],
    )


def _cuts(known: Known, baseline: Baseline) -> Callable[[Row], float]:
    """Return the threshold of a right answer: halfway from wrong to right on its prompt, or on all prompts."""
    if not baseline.verifier or not known:
        rewards = [reward for _, reward in known] or [0.0]
        middle = (min(rewards) + max(rewards)) / 2
        return lambda row: middle
    halfway = {item.row.prompt_text: item.level + item.unit / 2 for item in baseline.items}
    usual = median(halfway.values())
    return lambda row: halfway.get(row.prompt_text, usual)


def format_of(text: str) -> str:
    """Return the response format, by which error rates are reported.

    >>> format_of("so \\\\boxed{4}"), format_of("4")
    ('boxed', 'plain')
    """
    return next((name for name, pattern in FORMATS if re.search(pattern, text)), "plain")
