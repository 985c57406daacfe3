"""The audit: build the panel, ask every probe in rounds through one scoring path, rank what they found."""

from __future__ import annotations

import inspect
import random
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

from rewardsmith.auditing.asking import Outcome, Probe, Rounds
from rewardsmith.auditing.baseline import Panel, build_panel
from rewardsmith.auditing.finding import Finding
from rewardsmith.auditing.guide import Guide, guide_of
from rewardsmith.auditing.padding import Total
from rewardsmith.auditing.pair_building import tokenizer_of
from rewardsmith.auditing.probes import N_QUESTIONS, PROBES
from rewardsmith.auditing.probes.conduct import failures
from rewardsmith.auditing.probes.search import search
from rewardsmith.auditing.report import Report, ranked
from rewardsmith.auditing.runner import checked, unscorable
from rewardsmith.auditing.subjects.sources import audit_sources, grouped
from rewardsmith.auditing.subjects.steps import audit_process, is_process
from rewardsmith.data import ANSWER_NAMES, PreferenceRow, Row, Rows, as_rows, read_rows_or_pairs
from rewardsmith.errors import RowsError
from rewardsmith.measures.intervals import family_alpha
from rewardsmith.scoring import Scorer, SourceSet, Target, as_sources, as_target, target_rows
from rewardsmith.scoring.forms import resolve_form

CALLS_PER_ITEM = 200
"""Completions a full audit sends per prompt, roundly; the budget is divided by it."""
FEWEST, MOST = 4, 64
SEARCH_SHARE = 0.15
MOST_TIMEOUTS = 5
"""A reward that hangs this often has its finding; what is left of the questions stays unasked."""


def audit(
    target: Target | SourceSet | Callable[..., Any] | Mapping[str, Any],
    rows: Rows | Sequence[Row] | Sequence[PreferenceRow] | None = None,
    *,
    pool: Rows = (),
    gold: Target | Callable[..., Any] | None = None,
    budget: int = 15_000,
    workers: int | None = None,
    timeout: float | None = None,
    concurrency: int = 16,
    memory: int | None = None,
    seed: int = 0,
    out: Path | None = None,
    progress: bool = False,
    aggregate: str | Total | None = None,
    threshold: float | None = None,
) -> Report:
    """Ask every question the library knows of one reward, or of several sources that are added up.

    Rows decide what is asked: prompts with answers, as a verifier or judge is audited; preference pairs, as a reward
    model is (`audit_pairs`).

    Args:
        target: what `load_reward` returns, or any callable in a contract that `contract_of` recognizes; a mapping from
            names to such callables, or an object with one as `sources`, is audited as the sources of a sum.
        rows: prompts, with `answer` for verifiers, or preference pairs, or what `read_rows_or_pairs` reads: mappings, a
            `datasets.Dataset`, a file's name. None where the target brings its own.
        pool, gold: with pairs, completions to choose the best of, and the reward that says how good they truly are.
        budget: how many completions to score, roughly; it decides on how many prompts (4 to 64) or pairs the questions
            are asked. Given completions are scored on top of it.
        workers: processes that score; 0 scores in this process, without a hard time limit. None is 1, and 0 for a
            reward model, which every worker would have to load again.
        timeout: seconds that one row may take; None is 30, and no limit for a reward model or a judge.
        concurrency: rows that an async reward works on at once, where the reward does not say.
        memory: bytes of address space that a worker process may take; None sets no limit.
        seed: decides the choice of rows and of wrong answers; same seed, same questions.
        out: a folder for the journal; a killed audit goes on from it, and asks again at most what was under way.
        progress: whether to show a progress bar on standard error.
        aggregate: of a process reward, how the run uses its step scores: "sum" (if None), "min", "mean", "max", "last",
            "clip", "delta", "clip_delta", or a function of one chain's scores. Given, it also says that the reward is
            one; else a reward with a parameter `steps` is tried on a few rows.
        threshold: of a process reward, the score from which a step passes, which is also what "clip" subtracts.

    Raises:
        RowsError: there are no rows.
        TargetError: the reward needs a column that the rows lack, or it cannot be sent to a worker.
        EndpointError: the server that the reward asks gives no usable answer.
    """
    given, pool = _given(rows), as_rows(pool)
    heavy = is_model(target)
    workers = (0 if heavy else 1) if workers is None else workers
    scoring: dict[str, Any] = {"workers": workers, "timeout": timeout, "progress": progress}
    scoring |= {"concurrency": concurrency, "memory": memory}
    if pairs := [row for row in given or () if isinstance(row, PreferenceRow)]:
        shared: dict[str, Any] = {"budget": budget, "seed": seed, "out": out, **scoring}
        return _of_pairs(target, len(given or ()), pairs, pool=pool, gold=gold, **shared)
    if pool or gold is not None:
        raise RowsError(
            "audit: pool and gold belong to preference pairs, and the rows are none. Give rows with `chosen` and "
            "`rejected`, or leave them out."
        )
    rows = None if given is None else cast("list[Row]", list(given))
    scoring["most_timeouts"] = MOST_TIMEOUTS
    if (sources := as_sources(target)) is not None:
        if sources.whole is None or grouped(rows or ())[0]:
            return audit_sources(sources, rows or (), seed=seed, out=out, **scoring)
        target = sources.whole
    target = as_target(cast(Any, target))
    if aggregate is not None or is_process(target, rows or (), workers=workers, timeout=timeout, memory=memory):
        how: dict[str, Any] = {"aggregate": aggregate or "sum", "threshold": threshold, "budget": budget}
        return audit_process(target, rows or (), seed=seed, out=out, **how, **scoring)
    size = max(FEWEST, min(MOST, int(budget * (1 - SEARCH_SHARE) / CALLS_PER_ITEM)))
    rows = rows if rows is not None else target_rows(target, size, seed)
    if not rows:
        raise RowsError(f"audit: {target.name} was given no rows. Give at least one, with a `prompt`.")
    journal = None if out is None else out / "journal.jsonl"
    header = {"seed": seed, "budget": budget}
    with Scorer(target, journal=journal, journal_header=header, **scoring) as scorer:
        rows = resolve_form(scorer, rows).rows
        rounds = Rounds({"": scorer})
        rng = random.Random(seed)
        reads = reads_answers(target)
        building = build_panel(rows, rng=rng, size=size, alpha=ALPHA, reads_answers=reads)
        panel = rounds.run(building)
        probes = (*PROBES, _search(rng, int(budget * SEARCH_SHARE), guide_of(target)))
        outcomes = rounds.run_all({probe.name: probe.ask(panel) for probe in probes}) if panel.items else {}
        return _report(panel, probes, outcomes, rounds, seed=seed, n_rows=len(rows))


def _given(rows: Any) -> Sequence[Row] | Sequence[PreferenceRow] | None:
    """Rows as they are; read where they are a file's name or mappings, with a warning of what was left out."""
    if rows is None or (isinstance(rows, list | tuple) and not any(isinstance(row, Mapping) for row in rows)):
        return rows
    read = read_rows_or_pairs(rows)
    if read.note:
        warnings.warn(read.note, stacklevel=3)
    return read.rows


ALPHA = family_alpha(N_QUESTIONS)


def _of_pairs(target: Any, n_rows: int, pairs: list[PreferenceRow], *, budget: int, **options: Any) -> Report:
    from rewardsmith.auditing.subjects.pairs import CALLS_PER_PAIR, audit_pairs

    if len(pairs) < n_rows:
        raise RowsError(
            f"audit: {len(pairs)} of {n_rows} rows are preference pairs and the others are not. Audit them apart."
        )
    return audit_pairs(target, pairs, most_pairs=max(round(budget / CALLS_PER_PAIR), 1), **options)


def is_model(target: Any) -> bool:
    """Whether a reward is a model, which is best loaded once and scored in this process."""
    return tokenizer_of(getattr(target, "reward", target)) is not None


def reads_answers(target: Target) -> bool:
    """Whether the reward is known to read a reference answer: by its contract, or by a parameter's name."""
    if target.contract in ("verl", "openrlhf", "reasoning-gym"):
        return True
    function: Any = getattr(target.reward, "function", target.reward)
    return bool(set(ANSWER_NAMES) & set(inspect.signature(function).parameters))


def _search(rng: random.Random, budget: int, guide: Guide | None) -> Probe:
    question = "Does a search over composed edits find a wrong completion that is paid?"
    return Probe("search", question, partial(search, rng=rng, budget=budget, guide=guide))


def _report(
    panel: Panel,
    probes: Sequence[Probe],
    outcomes: Mapping[str, Outcome],
    rounds: Rounds,
    *,
    seed: int,
    n_rows: int,
) -> Report:
    findings: list[Finding] = [finding for outcome in outcomes.values() for finding in outcome.findings]
    broken = list(rounds.broken[""].values())
    findings += failures(broken, len(rounds.sent[""]), alpha=ALPHA, honest=panel.conduct.rows)
    if not panel.items:
        findings.append(
            unscorable(rounds, "right answer could be scored in any usual format", "another form of completions")
        )
    faulty = {finding.probe for finding in findings if finding.severity != "info"}
    how = partial(checked, faulty=faulty, cut_short=rounds.cut_short, otherwise="no honest answer could be scored")
    return Report(
        target=rounds.scorers[""].target.name,
        contract=rounds.scorers[""].target.contract,
        kind=panel.kind,
        n_rows=n_rows,
        seed=seed,
        findings=ranked(findings),
        checks=tuple(how(probe, outcomes.get(probe.name)) for probe in probes),
        rates=tuple(rate for outcome in outcomes.values() for rate in outcome.rates),
        levels=_levels(panel),
        unscored=dict(rounds.unscored),
        calls=rounds.calls,
        seconds=rounds.seconds,
    )


def _levels(panel: Panel) -> dict[str, list[float]]:
    right = [item.right for item in panel.items if item.right is not None]
    wrong = [score for item in panel.items for score in item.wrong_scores if score is not None]
    return {"right answers": right, "wrong answers": wrong} if panel.verifier else {"honest completions": right}
