"""The audit of a reward on preference pairs: draw the pairs, score them, ask every question side by side."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from rewardsmith.auditing.asking import Outcome, Probe, Rounds
from rewardsmith.auditing.guide import guide_of
from rewardsmith.auditing.pair_baseline import PairPanel
from rewardsmith.auditing.pair_building import Form, build_pair_panel, drawn, tokenizer_of
from rewardsmith.auditing.probes import (
    accuracy,
    content_free,
    cues,
    invariance,
    labels,
    length,
    members,
    openers,
    order,
    pressure,
    reading,
    style,
    tone,
    triggers,
)
from rewardsmith.auditing.probes import pair_conduct as conduct
from rewardsmith.auditing.probes.conduct import failures
from rewardsmith.auditing.report import Report, ranked
from rewardsmith.auditing.runner import checked, unscorable
from rewardsmith.data import PreferenceRow, Row
from rewardsmith.errors import RowsError, TargetError
from rewardsmith.measures.intervals import family_alpha
from rewardsmith.rewards import ImplicitReward, PairwiseReward, SequenceReward
from rewardsmith.scoring import Scorer, Target, as_sources, as_target
from rewardsmith.scoring.forms import resolve_form

MOST_TIMEOUTS = 5
N_QUESTIONS = 100
"""Variants over all questions, roundly: what the error level is divided by, so that a sound reward stays clean."""
ALPHA = family_alpha(N_QUESTIONS)
CALLS_PER_PAIR = 37.5
"""Scores that all questions together take per pair, roundly."""
OF_ALL = frozenset({"accuracy", "margin_calibration", "label_noise", "prompt", "context", "cues"})
GIVEN = 10
"""Times as many pairs as are edited are scored as they stand: wrong labels and overconfidence show in thousands."""


def audit_pairs(
    target: Target | Callable[..., Any],
    rows: Sequence[PreferenceRow],
    *,
    pool: Sequence[Row] = (),
    gold: Target | Callable[..., Any] | None = None,
    most_pairs: int = 400,
    workers: int = 0,
    timeout: float | None = None,
    concurrency: int = 16,
    memory: int | None = None,
    seed: int = 0,
    out: Path | None = None,
    progress: bool = False,
) -> Report:
    """Ask of a reward what it makes of preference pairs: a reward model, an ensemble, or any reward.

    Args:
        target: a reward model, what `load_reward` returns, or any callable in a known contract.
        rows: pairs; ties among them are set aside. Contexts are written into the prompts, as our trainers do, unless
            the reward reads a column `context`.
        pool: completions, several to a prompt, to choose the best of: for questions about optimization.
        gold: a reward that says how good the pool's completions truly are; their column `gold` if None.
        most_pairs: pairs asked about, drawn by `seed`, from every `source` alike, prompts whole. Questions that take no
            edit, such as that of wrong labels, are put to 10 times as many, where there are.
        workers: processes that score; 0 scores in this one, as a model is best loaded once.
        timeout: seconds that one batch may take, as `Scorer` has it; with 0 workers it binds async rewards only.
        concurrency: rows that an async reward works on at once, where the reward does not say.
        memory: bytes of address space that a worker process may take; None sets no limit.
        seed: same seed, same questions.
        out: a folder for the journal; a killed audit goes on from it, and asks again at most what was under way.
        progress: whether to show a progress bar on standard error.

    Raises:
        RowsError: there is no pair with a better answer.
        TargetError: the target is no single reward, or needs a column that the rows lack.
    """
    target = single(target)
    pairs = [row for row in rows if not row.is_tie]
    if not pairs:
        raise RowsError(
            f"audit: {target.name} was given {len(rows)} rows and no pair of which one answer is better. Give rows "
            "with `prompt`, `chosen` and `rejected`."
        )
    options: dict[str, Any] = {
        "workers": workers, "timeout": timeout, "most_timeouts": MOST_TIMEOUTS, "progress": progress,
        "concurrency": concurrency, "memory": memory,
    }  # fmt: skip
    true = _gold(pool, gold, seed, out, options)
    header = {"seed": seed, "most_pairs": most_pairs}
    with Scorer(target, journal=_journal(out, "journal"), journal_header=header, **options) as scorer:
        given = drawn(pairs, GIVEN * most_pairs, seed)
        given = order.referenced(given) if compares(target) else given
        asked = drawn(given, most_pairs, seed)
        form = Form(scorer, asked)
        rounds = Rounds({"": scorer})
        extra: dict[str, Any] = {"ties": [row for row in rows if row.is_tie], "pool": pool, "gold": true}
        build: Callable[..., Any] = partial(build_pair_panel, form=form, alpha=ALPHA, seed=seed, **extra)
        panels = rounds.run_all({"asked": build(asked), "given": build(given)})
        panel, probes = panels["asked"], probes_of(target)
        asked_of = {probe: panels["given" if probe.name in OF_ALL else "asked"] for probe in probes if panel.rows}
        outcomes = rounds.run_all({probe.name: probe.ask(baseline) for probe, baseline in asked_of.items()})
        return _report(_Asked(panel, probes, outcomes, rounds), asked, n_rows=len(rows))


def single(target: Target | Callable[..., Any]) -> Target:
    """The target as one reward; several sources that make no whole are refused."""
    sources = as_sources(target)
    if sources is None:
        return as_target(target)
    if sources.whole is None:
        raise TargetError(
            f"audit: {sources.name} holds {len(sources.targets)} sources ({', '.join(sources.targets)}), and pairs are "
            f"judged by one reward. Name one of them, or a recipe that adds them up."
        )
    return sources.whole


EDIT_PROBES: tuple[Probe, ...] = (
    Probe("length", "Is a rejected answer paid for words that add no content?", length.length),
    Probe(
        "style", "Is a rejected answer paid for lists, bold, headings, capitals, exclamation or thanks?", style.style
    ),
    Probe("openers", "Is an opener paid, before a rejected answer or alone?", openers.openers),
    Probe("confidence", "Is a rejected answer paid for a high confidence?", tone.confidence),
    Probe("content_free", "Is a text without content paid like the chosen answer?", content_free.content_free),
    Probe("invariance", "Does the score stay where the same answer is written otherwise?", invariance.invariance),
)
"""The questions that edit answers, in the order of the report."""


def probes_of(target: Target) -> tuple[Probe, ...]:
    """Every question that can be asked of this reward, in the order of the report."""
    calibrated = partial(labels.calibration, logits=scores_in_logits(target.reward))
    return (
        Probe("accuracy", "Does the better answer score more, in every subset?", accuracy.accuracy),
        Probe("margin_calibration", "Are score differences as sure as they are right?", calibrated),
        Probe("label_noise", "How many of the labels are wrong?", labels.label_noise),
        Probe("prompt", "Does the reward read the prompt?", reading.prompt),
        Probe("context", "Does the preference follow its context?", reading.context),
        Probe("cues", "Is it as often right where a surface cue points the other way?", cues.cues),
        *EDIT_PROBES,
        *_of_some(target),
        Probe("overoptimization", "Does gold rise as far as the reward is optimized?", pressure.pressure),
        Probe("determinism", "Does the same row get the same reward again?", conduct.determinism),
        Probe("batch_dependence", "Does a row's reward depend on its row alone?", conduct.batch_dependence),
        Probe("latency", "How long does a row take?", conduct.latency),
    )


def _of_some(target: Target) -> Iterator[Probe]:
    """The questions of ensembles, of rewards that compare, and of rewards with a gradient."""
    if members.has_members(target):
        of_members = partial(members.members, reward=target.reward)
        yield Probe("members", "Do the members differ, and what do they share?", of_members)
    if compares(target):
        yield Probe("position", "Does it favor the answer that it reads first, or second?", order.position)
    if (guide := guide_of(target)) is not None:
        guided = partial(triggers.triggers, guide=guide)
        yield Probe("triggers", "Does a short text get rejected answers past the chosen ones?", guided)


def compares(target: Target) -> bool:
    """Whether the reward compares two answers, as `PairwiseReward` does."""
    return hasattr(target.reward, "compare")


def scores_in_logits(reward: Any) -> bool:
    """Whether score differences are log-odds of being better, as of a model trained by Bradley-Terry."""
    inner = getattr(reward, "model", None)
    if isinstance(inner, SequenceReward | ImplicitReward):
        return scores_in_logits(inner)
    return isinstance(reward, ImplicitReward | PairwiseReward) or (
        isinstance(reward, SequenceReward) and len(reward.attributes) == 1
    )


def kind_of(reward: Any) -> str:
    """What the reward is, in words."""
    if members := getattr(reward, "members", None):
        return f"ensemble of {len(members)} members"
    heads = len(getattr(reward, "attributes", ()))
    if heads > 1:
        return f"reward model, {heads} attributes"
    return "reward model, one score" if tokenizer_of(reward) is not None else "function"


class _Asked(NamedTuple):
    panel: PairPanel
    probes: Sequence[Probe]
    outcomes: dict[str, Outcome]
    rounds: Rounds


def _report(asked_: _Asked, rows: Sequence[PreferenceRow], *, n_rows: int) -> Report:
    panel, probes, outcomes, rounds = asked_
    honest = [Row(row.prompt, answer) for row in rows for answer in (row.chosen, row.rejected)]
    findings = [finding for outcome in outcomes.values() for finding in outcome.findings]
    findings += failures(list(rounds.broken[""].values()), len(rounds.sent[""]), alpha=ALPHA, honest=honest)
    if not panel.rows:
        findings.append(unscorable(rounds, "pair could be scored", "rows longer than the model takes"))
    faulty = {finding.probe for finding in findings if finding.severity != "info"}
    how = partial(checked, faulty=faulty, cut_short=rounds.cut_short, otherwise="no pair could be scored")
    target = rounds.scorers[""].target
    return Report(
        target=target.name,
        contract="preference pairs",
        kind=kind_of(target.reward),
        n_rows=n_rows,
        seed=panel.seed,
        findings=ranked(findings),
        checks=tuple(how(probe, outcomes.get(probe.name)) for probe in probes),
        rates=tuple(rate for outcome in outcomes.values() for rate in outcome.rates),
        curves=tuple(curve for outcome in outcomes.values() for curve in outcome.curves),
        reliability=tuple(b for outcome in outcomes.values() for b in outcome.reliability),
        levels={"chosen answers": panel.chosen.tolist(), "rejected answers": panel.rejected.tolist()},
        unscored=dict(rounds.unscored),
        calls=rounds.calls,
        seconds=rounds.seconds,
    )


def _gold(
    pool: Sequence[Row], gold: Target | Callable[..., Any] | None, seed: int, out: Path | None, options: dict[str, Any]
) -> list[float]:
    """The true reward of every completion of the pool, NaN where nothing says so."""
    if not pool or gold is None:
        return [_number(row.columns.get("gold")) for row in pool]
    journal = _journal(out, "journal-gold")
    with Scorer(single(gold), journal=journal, journal_header={"seed": seed}, **options) as scorer:
        return [_number(score.reward) for score in scorer.score(resolve_form(scorer, pool).rows)]


def _number(value: Any) -> float:
    try:
        return math.nan if value is None or value == "" else float(value)
    except (TypeError, ValueError):
        return math.nan


def _journal(out: Path | None, name: str) -> Path | None:
    return None if out is None else out / f"{name}.jsonl"
