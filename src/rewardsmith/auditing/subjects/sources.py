"""The audit of several sources that are added up: scales, dominance, dead sources, and what a missing one is worth."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewardsmith.auditing.finding import Example, Finding, Severity
from rewardsmith.auditing.probes.conduct import failures
from rewardsmith.auditing.report import Check, Report, ranked
from rewardsmith.auditing.trials import clip
from rewardsmith.data import Row
from rewardsmith.errors import EndpointError, RowsError
from rewardsmith.measures import wilson_interval
from rewardsmith.measures.intervals import family_alpha, mean_interval
from rewardsmith.measures.source_scales import (
    Floats,
    Scales,
    SourceTable,
    combined_table,
    group_means,
    source_dominance,
    source_scales,
    weighted_table,
)
from rewardsmith.scoring import Scored, Scorer, SourceSet
from rewardsmith.scoring.calling import pseudo_ids
from rewardsmith.scoring.forms import resolve_form
from rewardsmith.types import named_by

ALPHA = family_alpha(16)
ALIVE = 0.2  # a source carries signal if it differs within this share of the groups
DOMINANT, CRUSHING = 0.9, 0.97  # share of the variance that one source may explain
WIDE, WIDEST = 3.0, 10.0  # ratio of scales
QUESTIONS = {
    "source_scale": "Do the sources differ within a group by amounts that can be compared?",
    "source_dominance": "Does more than one source decide which completion is better?",
    "dead_source": "Does every source differ within some groups?",
    "missing_source": "Does a completion gain by what a source cannot score?",
    "failures": "Does every source return a finite number or None?",
}


def audit_sources(
    sources: SourceSet,
    rows: Sequence[Row],
    *,
    seed: int = 0,
    out: Path | None = None,
    header: dict[str, Any] | None = None,
    **options: Any,
) -> Report:
    """Score the given completions with every source and ask what their sum is made of.

    Args:
        rows: rows with completions, several to a prompt (or to a `group`).
        out: a folder for the journals, one per source.
        options: for `Scorer`.

    Raises:
        RowsError: the rows bring no completions, or no prompt has two.
    """
    given, groups = grouped(rows)
    if not given:
        raise RowsError(
            f"audit: {sources.name} holds several sources, which are compared on given completions, but no prompt of "
            f"the {len(rows)} rows has two. Give rows with a `completion` each, several to a prompt."
        )
    scores: dict[str, list[Scored]] = {}
    calls, seconds = 0, 0.0
    for place, (name, target) in enumerate(sources.targets.items()):
        file = None if out is None else out / f"journal-{place}-{re.sub(r'[^A-Za-z0-9_-]+', '_', name)[:40]}.jsonl"
        with Scorer(target, journal=file, journal_header={"seed": seed, **(header or {})}, **options) as scorer:
            scores[name] = scorer.score(resolve_form(scorer, given).rows)
            calls, seconds = calls + scorer.calls, seconds + scorer.seconds
    unscored = Counter(s.reason for column in scores.values() for s in column if s.reason is not None)
    given, groups, scores = _answered(given, groups, scores)
    rewards = np.array([[math.nan if s.reward is None else s.reward for s in scores[name]] for name in scores]).T
    findings = judge_sources(_table(sources, rewards, groups, given), given, seed=seed)
    compared = any(finding.probe == "source_scale" for finding in findings)
    findings += _failures(scores, given)
    faulty = {finding.probe for finding in findings if finding.severity != "info"}
    return Report(
        target=sources.name,
        contract="sources",
        kind=f"{len(scores)} sources: {', '.join(scores)}",
        n_rows=len(given),
        seed=seed,
        findings=ranked(findings),
        checks=tuple(_check(probe, faulty, compared=compared) for probe in QUESTIONS),
        unscored=dict(sorted(unscored.items())),
        calls=calls,
        seconds=seconds,
    )


def _answered(
    rows: list[Row], groups: NDArray[np.int64], scores: dict[str, list[Scored]]
) -> tuple[list[Row], NDArray[np.int64], dict[str, list[Scored]]]:
    """Without the rows that an endpoint has left without an answer, and the groups of which one is left."""
    lost = np.array([[score.reason == "endpoint" for score in column] for column in scores.values()]).any(axis=0)
    if not lost.any():
        return rows, groups, scores
    several = np.bincount(groups[~lost], minlength=groups.max() + 1) > 1
    kept = np.flatnonzero(~lost & several[groups])
    if not len(kept):
        first = next(s.detail for column in scores.values() for s in column if s.reason == "endpoint")
        raise EndpointError(f"audit: no group of completions got its answers from the sources' endpoints. {first}")
    renumbered = np.unique(groups[kept], return_inverse=True)[1].astype(np.int64)
    return [rows[i] for i in kept], renumbered, {name: [column[i] for i in kept] for name, column in scores.items()}


def _check(probe: str, faulty: set[str], *, compared: bool) -> Check:
    if probe in ("source_scale", "source_dominance") and not compared:
        return Check(probe, QUESTIONS[probe], "not run", "fewer than two sources differ within groups")
    return Check(probe, QUESTIONS[probe], "finding" if probe in faulty else "clean")


def grouped(rows: Sequence[Row]) -> tuple[list[Row], NDArray[np.int64]]:
    """The rows whose prompt (or `group`) has several completions, a group's together, and each one's group number."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if row.completion is not None:
            groups.setdefault(repr(row.columns.get("group", row.prompt_text)), []).append(row)
    several = [group for group in groups.values() if len(group) > 1]
    numbers = [number for number, group in enumerate(several) for _ in group]
    return [row for group in several for row in group], np.array(numbers, dtype=np.int64)


def _table(sources: SourceSet, rewards: Floats, groups: NDArray[np.int64], rows: Sequence[Row]) -> SourceTable:
    names = tuple(sources.targets)
    if sources.transform is None:
        return weighted_table(names, np.array([sources.weights[name] for name in names]), rewards, groups)
    sizes = np.bincount(groups)
    if len(set(sizes.tolist())) > 1:
        raise RowsError(
            f"audit: {sources.name} sees whole groups, but the prompts have {min(sizes)} to {max(sizes)} completions. "
            "Give every prompt as many."
        )
    context = {
        "source_names": names,
        "group_size": int(sizes[0]),
        "lengths": [float(len(pseudo_ids(row.text))) for row in rows],
        **{name: [row.columns.get(name) for row in rows] for name in rows[0].columns},
    }
    return combined_table(names, rewards, groups, partial(_transformed, sources.transform, context))


def _transformed(transform: Callable[..., Any], context: Mapping[str, Any], rewards: Floats) -> Floats:
    from rewardsmith._torch import torch

    numbers = {
        name: torch.tensor(values, dtype=torch.float64)
        for name, values in context.items()
        if isinstance(values, list) and all(isinstance(value, int | float) for value in values)
    }
    fits = named_by(transform, {**context, **numbers}).given
    combined: Floats = transform(torch.from_numpy(rewards), **fits).numpy()
    return combined


def judge_sources(table: SourceTable, rows: Sequence[Row], *, seed: int = 0) -> list[Finding]:
    """The findings about a table of scores; intervals come from groups drawn again."""
    generator = np.random.default_rng(seed)
    scales = source_scales(table.rewards, table.groups, generator=generator)
    used = source_scales(table.parts, table.groups, generator=generator, resamples=1)
    found = [*_dead(table, scales), *_missing(table, rows)]
    alive = [k for k in range(len(table.names)) if scales.alive[k] >= ALIVE and table.used[k]]
    if len(alive) > 1:
        ratios = _log_ratios(scales, used)
        found += [_scale(table, scales, ratios, alive), _dominance(table, ratios, alive, generator)]
    return found


def _log_ratios(scales: Scales, used: Scales) -> Floats:
    """(K, K) log s_i/s_j of the sources as they are, or as they are used where that is nearer to 0; never below 0.

    Weights that even the scales out, and weights that say which source is to count for more, are both no fault.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        raw, weighted = (np.log(std[:, None] / std[None, :]) for std in (scales.std, used.std))
    ratios: Floats = np.maximum(np.fmin(raw, weighted), 0.0)
    return ratios


def _scale(table: SourceTable, scales: Scales, ratios: Floats, alive: Sequence[int]) -> Finding:
    pairs = [(float(ratios[i, j]), i, j) for i in alive for j in alive if i != j]
    ratio, wide, narrow = max(pairs)
    error = float(np.nanstd(np.log(scales.stds[:, wide] / scales.stds[:, narrow])))
    half = NormalDist().inv_cdf(1 - ALPHA / 2) * error
    low, high = math.exp(max(ratio - half, 0.0)), math.exp(ratio + half)
    spreads = ", ".join(f"{table.names[k]} {scales.std[k]:.3g}" for k in alive)
    return Finding(
        probe="source_scale",
        severity="medium" if low > WIDEST else "low" if low > WIDE else "info",
        message=f"Within a group, source {table.names[wide]!r} spreads {math.exp(ratio):.1f} times as wide as "
        f"{table.names[narrow]!r} (standard deviations: {spreads}).",
        value=math.exp(ratio),
        interval=(low, high),
        n=len(table.rewards),
        advice="Bring them to one scale before they are added: `rewardsmith.transforms.normalize_sources` within "
        "groups, or `rewardsmith.transforms.scale_sources` by fixed ranges.",
        unit="ratio of standard deviations",
    )


def _dominance(table: SourceTable, ratios: Floats, alive: Sequence[int], generator: np.random.Generator) -> Finding:
    dominance = source_dominance(table, generator=generator)
    top = max(alive, key=lambda k: float(dominance.share[k]))
    share, half = (
        float(dominance.share[top]),
        NormalDist().inv_cdf(1 - ALPHA / 2) * float(np.nanstd(dominance.shares[:, top])),
    )
    low, high = max(share - half, 0.0), min(share + half, 1.0)
    others = [k for k in alive if k != top]
    outweighs = min(float(ratios[top, k]) for k in others) > math.log(2)
    severity: Severity = "info"
    if outweighs and low > DOMINANT:
        severity = "high" if low > CRUSHING else "medium"
    rest = ", ".join(f"{table.names[k]} {dominance.share[k]:.1%}" for k in others)
    return Finding(
        probe="source_dominance",
        severity=severity,
        message=f"Source {table.names[top]!r} explains {share:.1%} of what tells a group's completions apart; of the "
        f"others, which differ too: {rest}.",
        value=share,
        interval=(low, high),
        n=len(table.rewards),
        advice="The small sources are not being optimized: `rewardsmith.transforms.normalize_sources` or "
        "`scale_sources`, then weights that say what each is worth; if one must come first, "
        "`rewardsmith.transforms.gated_sum`.",
        unit="share of the variance within groups",
    )


def _dead(table: SourceTable, scales: Scales) -> list[Finding]:
    found = []
    for k, name in enumerate(table.names):
        known = table.rewards[~np.isnan(table.rewards[:, k]), k]
        n_groups = len(np.unique(table.groups))
        if len(known) and scales.alive[k] == 0 and table.used[k]:
            constant = f"always pays {known[0]:.4g}" if np.ptp(known) == 0 else "pays all completions of a prompt alike"
            message = f"Source {name!r} {constant} and teaches nothing here."
            advice = "See whether it can ever differ; a source that is satisfied may go, one that fails must be fixed."
            interval = wilson_interval(0, n_groups, alpha=ALPHA)
            unit = "share of groups in which it differs"
            found.append(Finding("dead_source", "low", message, 0.0, interval, n_groups, advice, unit))
    return found


def _missing(table: SourceTable, rows: Sequence[Row]) -> list[Finding]:
    missing = np.isnan(table.rewards)
    total = table.total[:, None]
    known = ~np.isnan(total)
    centered = (total - group_means(total, known, table.groups, int(table.groups.max()) + 1))[:, 0]
    spread = float(np.sqrt(np.nanmean(centered**2))) if known.any() else 0.0
    found = []
    for k, name in enumerate(table.names):
        if missing[:, k].any() and table.used[k]:
            found.append(_missing_source(name, missing[:, k], centered / (spread or 1.0), table.groups, rows))
    return found


def _missing_source(
    name: str, missing: NDArray[np.bool_], gains: Floats, groups: NDArray[np.int64], rows: Sequence[Row]
) -> Finding:
    """Whole prompts without a score are routed past the source; within a group, a missing score may be worth having."""
    n = len(missing)
    rate = np.bincount(groups, weights=missing) / np.bincount(groups)
    mixed = missing & (rate[groups] < 1)
    paid = [float(np.nanmean(gains[mixed & (groups == g)])) for g in np.unique(groups[mixed & ~np.isnan(gains)])]
    low, high = mean_interval(paid, alpha=ALPHA) if len(paid) > 1 else (-math.inf, math.inf)
    gain = float(np.mean(paid)) if paid else 0.0
    severity: Severity = "info"
    if missing.all():
        severity = "medium"
    elif len(paid) >= 5 and low > 0.1:
        severity = "high" if low > 0.5 else "medium"
    elif wilson_interval(int(mixed.sum()), n, alpha=ALPHA)[0] > 0.1:
        severity = "low"
    whole = int((missing & ~mixed).sum())
    told = f" Those are paid {gain:+.2f} standard deviations against their group," if paid else ""
    why = " because the weight of a missing source goes to the others." if paid else ""
    return Finding(
        probe="missing_source",
        severity=severity,
        message=f"Source {name!r} has no score for {int(missing.sum())} of {n} completions: {whole} of prompts it "
        f"never scores, {int(mixed.sum())} of prompts on which it scores others.{told}{why}",
        value=gain if paid else float(missing.mean()),
        interval=(low, high) if math.isfinite(low) else None,
        n=n,
        advice="Route by the prompt alone (`rewardsmith.rewards.RoutedReward`), and leave a row that lost a source "
        'unscored instead of judging it by the others: `rewardsmith.transforms.weighted_sum(missing="unscored")`.',
        unit="standard deviations within groups" if paid else "share of rows",
        examples=tuple(
            Example(clip(rows[i].prompt_text), clip(rows[i].text), None, None, f"no score by {name}")
            for i in np.flatnonzero(mixed if mixed.any() else missing)[:3]
        ),
    )


def _failures(scores: dict[str, list[Scored]], rows: Sequence[Row]) -> list[Finding]:
    found = []
    for name, column in scores.items():
        asked = {
            (row.prompt_text, row.answer or "", row.text): (row, s)
            for row, s in zip(rows, column, strict=True)
            if s.reason != "unasked"
        }
        broken = [(row, s) for row, s in asked.values() if s.reason is not None]
        found += [
            replace(finding, message=f"Source {name!r}: {finding.message}")
            for finding in failures(broken, len(asked), alpha=ALPHA, honest=rows)
        ]
    return found
