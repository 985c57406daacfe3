"""Probes for given completions: groups without signal, pay for length, scales of sources, errors against gold."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from statistics import fmean, median, stdev
from typing import Any

from rewardsmith.auditing.asking import Ask, Asking, Outcome
from rewardsmith.auditing.baseline import Panel
from rewardsmith.auditing.finding import Example, Finding, Severity
from rewardsmith.auditing.probes.confidence import stated_confidence
from rewardsmith.auditing.probes.regions import reward_regions
from rewardsmith.auditing.trials import clip
from rewardsmith.data import Row
from rewardsmith.measures import flawed_positive_rate, wilson_interval
from rewardsmith.measures.intervals import mean_interval
from rewardsmith.measures.labels import first_wrong, label_of

NO_COMPLETIONS = "the rows bring no completions"
FORMATS: tuple[tuple[str, str], ...] = (
    ("boxed", r"\\boxed\{"),
    ("answer tag", r"<answer>"),
    ("####", r"####"),
    ("sentence", r"(?i)\banswer\b"),
)


def rollouts(panel: Panel) -> Asking:
    """Score the given completions once and ask of them what their columns allow."""
    if not panel.rollouts:
        return Outcome(not_run=NO_COMPLETIONS)
    (scores,) = yield [Ask(panel.rollouts)]
    known = [(row, s.reward) for row, s in zip(panel.rollouts, scores, strict=True) if s.reward is not None]
    asked: tuple[Callable[[Sequence[tuple[Row, float]], Panel], Iterable[Finding]], ...] = (
        _dead_groups,
        _length,
        _sources,
        _gold,
        _flawed,
    )
    regions = reward_regions(_groups(known), panel)
    stated = yield from stated_confidence(panel, _cuts(known, panel))
    return Outcome(findings=(*(finding for ask in asked for finding in ask(known, panel)), *regions, *stated))


def _groups(known: Sequence[tuple[Row, float]]) -> list[list[tuple[Row, float]]]:
    groups: dict[Any, list[tuple[Row, float]]] = defaultdict(list)
    for row, reward in known:
        groups[row.columns.get("group", row.prompt_text)].append((row, reward))
    return [group for group in groups.values() if len(group) > 1]


def _dead_groups(known: Sequence[tuple[Row, float]], panel: Panel) -> Iterable[Finding]:
    groups = _groups(known)
    if not groups:
        return
    dead = [group for group in groups if max(r for _, r in group) - min(r for _, r in group) <= 1e-9]
    low, high = wilson_interval(len(dead), len(groups), alpha=panel.alpha)
    yield Finding(
        probe="group_signal",
        severity="medium" if low > 0.8 else "low" if low > 0.5 else "info",
        message=f"{len(dead)} of {len(groups)} groups pay all their completions alike and teach nothing.",
        value=len(dead) / len(groups),
        interval=(low, high),
        n=len(groups),
        advice="Drop them and resample prompts of middling difficulty: `rewardsmith.advantages.drop_dead_groups`.",
        unit="share of groups",
        examples=tuple(
            Example(
                clip(group[0][0].prompt_text), clip(group[0][0].text), group[0][1], None, f"{len(group)} completions"
            )
            for group in dead[:3]
        ),
    )


def _length(known: Sequence[tuple[Row, float]], panel: Panel) -> Iterable[Finding]:
    correlations = [c for group in _groups(known) if (c := _rank_correlation(group)) is not None]
    if len(correlations) < 5:
        return
    low, high = mean_interval(correlations, alpha=panel.alpha)
    strong = low > 0.3 or high < -0.3
    yield Finding(
        probe="length_correlation",
        severity="low" if strong else "info",
        message=f"Within a group, reward and length have a mean rank correlation of {fmean(correlations):+.2f}.",
        value=fmean(correlations),
        interval=(low, high),
        n=len(correlations),
        advice="See whether gold shares it; if not, `rewardsmith.transforms.length_penalty`."
        if strong
        else "Nothing to do.",
        unit="rank correlation per group",
    )


def _rank_correlation(group: Sequence[tuple[Row, float]]) -> float | None:
    """Spearman's correlation of length and reward, None where either is constant."""
    lengths, rewards = _ranks([len(row.text) for row, _ in group]), _ranks([reward for _, reward in group])
    if len(set(lengths)) == 1 or len(set(rewards)) == 1:
        return None
    center = (len(group) - 1) / 2
    cross = sum((a - center) * (b - center) for a, b in zip(lengths, rewards, strict=True))
    norms = math.sqrt(sum((a - center) ** 2 for a in lengths) * sum((b - center) ** 2 for b in rewards))
    return cross / norms


def _ranks(values: Sequence[float]) -> list[float]:
    places: dict[float, list[int]] = defaultdict(list)
    for place, value in enumerate(sorted(values)):
        places[value].append(place)
    return [fmean(places[value]) for value in values]


def _sources(known: Sequence[tuple[Row, float]], panel: Panel) -> Iterable[Finding]:
    sources: dict[str, list[float]] = defaultdict(list)
    for row, reward in known:
        name = row.columns.get("source", row.columns.get("data_source"))
        if name is not None:
            sources[str(name)].append(reward)
    spreads = {name: stdev(rewards) for name, rewards in sources.items() if len(rewards) >= 8}
    spreads = {name: spread for name, spread in spreads.items() if spread > 0}
    if len(spreads) < 2:
        return
    wide, narrow = max(spreads, key=lambda n: spreads[n]), min(spreads, key=lambda n: spreads[n])
    ratio = spreads[wide] / spreads[narrow]
    yield Finding(
        probe="source_scale",
        severity="medium" if ratio > 10 else "low" if ratio > 3 else "info",
        message=f"Rewards of source {wide!r} spread {ratio:.1f} times as wide as those of {narrow!r}.",
        value=ratio,
        interval=None,
        n=sum(len(sources[name]) for name in spreads),
        advice="Normalize per source before they are mixed: `rewardsmith.transforms.normalize_sources`.",
        unit="ratio of standard deviations",
    )


def _gold(known: Sequence[tuple[Row, float]], panel: Panel) -> Iterable[Finding]:
    labeled = [(row, reward, gold) for row, reward in known if (gold := label_of(row.columns.get("gold"))) is not None]
    if not labeled:
        return
    cuts = _cuts(known, panel)
    by_format: dict[str, list[tuple[Row, float, bool]]] = defaultdict(list)
    for row, reward, gold in labeled:
        by_format[format_of(row.text)].append((row, reward, gold))
    for name, entries in (("all formats", labeled), *by_format.items()):
        if name == "all formats" or len(by_format) > 1:
            yield from _errors(name, entries, cuts, panel)


def _cuts(known: Sequence[tuple[Row, float]], panel: Panel) -> Callable[[Row], float]:
    """From which reward on a row counts as paid: halfway between wrong and right on its prompt, or on all of them."""
    if not panel.verifier or not known:
        rewards = [reward for _, reward in known] or [0.0]
        middle = (min(rewards) + max(rewards)) / 2
        return lambda row: middle
    halfway = {item.row.prompt_text: item.level + item.gap / 2 for item in panel.items}
    usual = median(halfway.values())
    return lambda row: halfway.get(row.prompt_text, usual)


def format_of(text: str) -> str:
    """The response format, by which error rates are kept apart.

    >>> format_of("so \\\\boxed{4}"), format_of("4")
    ('boxed', 'plain')
    """
    return next((name for name, pattern in FORMATS if re.search(pattern, text)), "plain")


def _errors(
    name: str, entries: Sequence[tuple[Row, float, bool]], cuts: Callable[[Row], float], panel: Panel
) -> Iterable[Finding]:
    for wrong_gold, kind, what in ((False, "false positive", "wrong"), (True, "false negative", "right")):
        of_kind = [(row, reward) for row, reward, gold in entries if gold is wrong_gold]
        errors = [(row, reward) for row, reward in of_kind if (reward > cuts(row)) is not wrong_gold]
        if not of_kind:
            continue
        low, high = wilson_interval(len(errors), len(of_kind), alpha=panel.alpha)
        yield Finding(
            probe="gold_rates",
            severity=_error_severity(low, high, false_positive=not wrong_gold),
            message=f"{kind.capitalize()} rate, {name}: {len(errors)} of {len(of_kind)} completions that are {what} "
            f"by the gold labels are paid as {'right' if not wrong_gold else 'wrong'}.",
            value=len(errors) / len(of_kind),
            interval=(low, high),
            n=len(of_kind),
            advice="Correct by format: `rewardsmith.transforms.estimate_noise`, then `backward_correction` with the "
            "rates of each row's format, centered and not divided by the group's deviation (paper 39).",
            unit=f"{kind} rate",
            examples=tuple(Example(clip(r.prompt_text), clip(r.text), reward, None) for r, reward in errors[:3]),
        )


def _error_severity(low: float, high: float, *, false_positive: bool) -> Severity:
    if low > 0.2:
        return "high" if false_positive else "medium"
    if low > 0.02:
        return "medium" if false_positive else "low"
    return "info"


def _flawed(known: Sequence[tuple[Row, float]], panel: Panel) -> Iterable[Finding]:
    """Completions that are paid as right although a step of theirs is labeled wrong."""
    cuts = _cuts(known, panel)
    errors = [first_wrong(labels) if (labels := _step_labels(row)) else None for row, _ in known]
    if not any(error is not None for error in errors):
        return
    paid = [reward > cuts(row) for row, reward in known]
    share = flawed_positive_rate(paid, [None if e is None else e >= 0 for e in errors], alpha=panel.alpha)
    if share.n == 0:
        return
    shown = [(row, r) for (row, r), p, e in zip(known, paid, errors, strict=True) if p and e is not None and e >= 0]
    yield Finding(
        probe="flawed_positives",
        severity="low" if share.low > 0.1 else "info",
        message=f"Of {share.n} completions paid as right, {share.value:.0%} hold a step labeled wrong.",
        value=share.value,
        interval=(share.low, share.high),
        n=share.n,
        advice="An outcome cannot see them: `rewardsmith.transforms.flawed_positive_penalty` with a detector such as "
        "`rewardsmith.rewards.FirstErrorJudge`.",
        unit="share of paid completions",
        examples=tuple(Example(clip(row.prompt_text), clip(row.text), reward) for row, reward in shown[:3]),
    )


def _step_labels(row: Row) -> list[Any]:
    labels: Any = row.columns.get("labels")
    labels = labels.tolist() if hasattr(labels, "tolist") else labels
    return list(labels) if isinstance(labels, list | tuple) else []
