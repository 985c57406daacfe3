"""Run an audit: score a subject's baseline, run its probes in rounds, make the report."""

from __future__ import annotations

import gc
import math
import re
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, Unpack, cast

from rewardsmith.auditing.asking import Outcome, Rounds, Subject, rows_within
from rewardsmith.auditing.probes.conduct import MENDS, failures
from rewardsmith.auditing.provenance import provenance_of, recorded
from rewardsmith.auditing.remedies import remedies_in, setting_of
from rewardsmith.auditing.report import Check, Estimate, Report, ranked
from rewardsmith.auditing.source_baseline import grouped
from rewardsmith.auditing.step_baseline import Total
from rewardsmith.auditing.subjects.answers import answers
from rewardsmith.auditing.subjects.code import code, programs_of
from rewardsmith.auditing.subjects.pairs import CALLS_PER_PAIR, pairs
from rewardsmith.auditing.subjects.sources import sources
from rewardsmith.auditing.subjects.steps import is_process, steps
from rewardsmith.auditing.subjects.tools import with_calls
from rewardsmith.data import PreferenceRow, Row, Rows
from rewardsmith.data.readers import read_rows_or_pairs
from rewardsmith.data.records import ReadOptions
from rewardsmith.data.rows import as_rows, has_text
from rewardsmith.errors import RowsError
from rewardsmith.measures.intervals import family_alpha
from rewardsmith.scoring import Scorer, SourceSet, Target, as_sources, as_target
from rewardsmith.scoring.calling import is_model
from rewardsmith.scoring.digest import source_digest
from rewardsmith.scoring.progress import Bar
from rewardsmith.scoring.speed import measure
from rewardsmith.scoring.work import SPENT

MOST_TIMEOUTS = 5
"""After this many timeouts no further row is sent, and the timeouts are reported as a finding."""


@recorded
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
    out: str | Path | None = None,
    progress: bool = False,
    aggregate: str | Total | None = None,
    threshold: float | None = None,
    max_calls: int | None = None,
    price: float | None = None,
    announce: Callable[[Estimate], None] | None = None,
    **reading: Unpack[ReadOptions],
) -> Report:
    """Audit one reward, or several sources that are summed, with every probe that applies.

    Rows decide the probes: prompts with answers for a verifier or judge, preference pairs for a reward model
    (`audit_pairs`).

    Args:
        target: what `load_reward` returns, or any callable in a contract that `contract_of` recognizes. A mapping from
            names to such callables, or an object with one as `sources`, is audited as the sources of a sum.
        rows: prompts, with `answer` for verifiers, or preference pairs, or what `read_rows_or_pairs` reads: mappings, a
            `datasets.Dataset`, a file's name. None if the target has its own.
        pool, gold: with pairs, completions for best-of-n, and the reward that gives their true quality.
        budget: about how many completions to score; it sets the number of prompts (up to 256) or pairs. Given
            completions are scored on top of it.
        max_calls: completions sent at most, also given ones. The questions are asked on fewer rows if need be.
        price: money per call, for the estimate.
        announce: is called with the estimate of calls and seconds before the first full round. The report has it too.
        workers: processes that score; 0 scores in this process, without a hard time limit. None is 1, but 0 for a
            reward model, which every worker would have to load again.
        timeout: seconds per row; None is 30, and no limit for a reward model or a judge.
        concurrency: rows that an async reward works on at once, unless the reward sets it; on prompts also the threads
            of a sync reward that waits for a server.
        memory: bytes of address space per worker process; None sets no limit.
        seed: of the choice of rows and wrong answers; the same seed asks the same questions.
        out: a folder for the journal; a killed audit resumes from it and repeats at most the rows in flight.
        progress: whether to show a progress bar on standard error.
        aggregate: of a process reward, how the run uses its step scores: "sum" (if None), "min", "mean", "max", "last",
            "clip", "delta", "clip_delta", or a function of one chain's scores. If given, the reward is audited as a
            process reward; else a reward with a parameter `steps` is tried on a few rows.
        threshold: of a process reward, the score from which a step passes; "clip" subtracts it.
        reading: options of `read_rows`: `split`, `prompt_column`, `answer_column` and others.

    Raises:
        RowsError: there are no rows.
        TargetError: the reward needs a column that the rows lack, or it cannot be sent to a worker.
        EndpointError: the server of a reward or a judge gives no usable answer.
    """
    reward: Any = target
    given, pool = rows, as_rows(pool)
    named = [name for name, value in reading.items() if value is not None]
    if given is None and named:
        raise RowsError(f"audit: {', '.join(named)} is given without rows. Name the rows, or leave it out.")
    if given is not None and (
        named or not isinstance(given, list | tuple) or any(isinstance(row, Mapping) for row in given)
    ):
        read = read_rows_or_pairs(given, **reading)
        if read.note:  # about rows left out
            warnings.warn(read.note, stacklevel=2)
        given = read.rows
    if workers is None:
        workers = 0 if is_model(reward) else 1
    options: dict[str, Any] = {"workers": workers, "timeout": timeout, "concurrency": concurrency, "memory": memory}
    job: dict[str, Any] = {"seed": seed, "out": out, "progress": progress, "max_calls": max_calls, **options}
    budget = budget if max_calls is None else min(budget, max_calls)
    if preferences := [row for row in given or () if isinstance(row, PreferenceRow)]:
        if len(preferences) < len(given or ()):
            raise RowsError(
                f"audit: {len(preferences)} of {len(given or ())} rows are preference pairs and the others are not. "
                "Audit them separately."
            )
        most_pairs = rows_within(budget, calls_per_row=CALLS_PER_PAIR, least=1)
        return audit_pairs(reward, preferences, pool=pool, gold=gold, most_pairs=most_pairs, **job)
    if pool or gold is not None:
        raise RowsError(
            "audit: pool and gold need preference pairs, and the rows are none. Give rows with `chosen` and "
            "`rejected`, or leave both out."
        )
    rows = None if given is None else cast("list[Row]", list(given))
    if max_calls is None and rows:  # questions about a given completion send it a few times
        job["max_calls"] = budget + 8 * sum(has_text(row.completion) for row in rows)
    header: dict[str, Any] = {}
    found = as_sources(reward)
    if found is not None and (found.whole is None or grouped(rows or ())[0]):
        subject = sources(found, rows or (), seed=seed)
    else:
        header["budget"] = budget
        reward = reward if found is None else found.whole
        whole = as_target(reward)
        if aggregate is not None or is_process(whole, rows or (), workers=workers, timeout=timeout, memory=memory):
            use: dict[str, Any] = {"aggregate": aggregate or "sum", "threshold": threshold}
            subject = steps(whole, rows or (), budget=budget, seed=seed, **use)
        else:
            limits, known = {"budget": budget, "seed": seed}, programs_of(rows or ())
            plain = partial(answers, whole, rows, **limits)
            subject = code(whole, rows or (), known, **limits) if known else with_calls(plain(), **limits)
    return run(subject, header=header, price=price, announce=announce, **job)


@recorded
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
    out: str | Path | None = None,
    progress: bool = False,
    max_calls: int | None = None,
) -> Report:
    """Audit a reward on preference pairs: a reward model, an ensemble, or any reward.

    Args:
        target: a reward model, what `load_reward` returns, or any callable in a known contract.
        rows: pairs; ties are set aside. Contexts are written into the prompts, as our trainers do, unless the reward
            reads a column `context`.
        pool: completions for best-of-n, several per prompt.
        gold: a reward that gives the true quality of the pool's completions; their column `gold` if None.
        most_pairs: pairs drawn by `seed`, equally from every `source`, with prompts kept whole. Probes without edits,
            such as that of wrong labels, use up to 10 times as many.
        workers, concurrency, memory, seed, out, progress, max_calls: as in `audit`; 0 workers score in this process, so
            that a model loads once.
        timeout: seconds per batch, as in `Scorer`; with 0 workers it limits async rewards only.

    Raises:
        RowsError: there is no pair with a better answer.
        TargetError: the target is not a single reward, or needs a column that the rows lack.
        EndpointError: the judge's server gives no usable answer.
    """
    subject = pairs(target, rows, pool=pool, gold=gold, most_pairs=most_pairs, seed=seed)
    job: dict[str, Any] = {"seed": seed, "out": out, "progress": progress, "max_calls": max_calls}
    job |= {"workers": workers, "timeout": timeout, "concurrency": concurrency, "memory": memory}
    return run(subject, header={"most_pairs": most_pairs}, **job)


def _begun(
    subject: Subject,
    rounds: Rounds,
    alpha: float,
    max_calls: int | None,
    price: float | None,
    announce: Callable[[Estimate], None] | None,
) -> Estimate | None:
    """Measure the reward's speed, and return and announce what the audit will take, if anybody asks."""
    if subject.begin is None:
        return None
    first = subject.begin(rounds.scorers)
    rounds.begin()
    speed = measure(rounds.scorers[""], first)
    if subject.expect is None or (price is None and announce is None):
        return None
    calls = int(min(subject.expect(rounds.scorers, alpha), math.inf if max_calls is None else max_calls))
    estimate = Estimate(calls, calls * speed.seconds / speed.at_once, None if price is None else calls * price)
    if announce is not None:
        announce(estimate)
    return estimate


def _nothing_seen(rounds: Rounds) -> str:
    """Return that all texts of the audit have one score, or ""."""
    scores = [reward for sent in rounds.sent.values() for reward in sent.values() if reward is not None]
    same = len(set(scores)) == 1
    return f"all {len(scores):,} texts score {scores[0]:.3g}, so no question can show anything" if same else ""


def _stopped(rounds: Rounds, probe: str, note: str) -> str:
    """Return why rows of a question were not sent, or, if a note says that it was not asked, of the baseline; or ""."""
    detail = rounds.cut_short.get(probe, rounds.cut_short.get("") if note else None)
    if detail is None:
        return ""
    if detail != SPENT.detail:
        late = (
            score.detail for own in rounds.broken.values() for _, score in own.values() if score.reason == "timeout"
        )
        n = f"{rounds.unscored['timeout']} of {rounds.calls:,} calls"
        return f"{n} gave {next(late, 'no result in time')}, and the audit stopped there"
    crashed = rounds.unscored["crash"]
    again = f", as rows of a call that crashes are sent again ({crashed:,} of {rounds.calls:,} rows crashed)"
    return f"the calls were spent{again if crashed else ''}"


def _nothing_scored(rounds: Rounds, cause: str) -> str:
    """Return why no honest completion has a score: the reasons, the first failure, and what to do."""
    listed = ", ".join(f"{count} × {reason}" for reason, count in rounds.unscored.most_common()) or "no number given"
    details = [score.detail for own in rounds.broken.values() for _, score in own.values() if score.detail]
    first = f", first {details[0]!r}" if details else ""
    usual = f"The usual causes are a missing column and {cause}"
    (reason, _), *_ = rounds.unscored.most_common(1) or [("", 0)]
    return f"({listed}){first}. {MENDS.get(reason, usual)}"


def _not_asked(checks: Sequence[Check], essential: Collection[str]) -> str:
    """Return which essential question could not be asked and why, or ""."""
    unasked = [check for check in checks if check.status == "not run" and check.applies and check.probe in essential]
    more = f" and {len(unasked) - 1} more" if len(unasked) > 1 else ""
    return f"{unasked[0].probe}{more} could not be asked ({unasked[0].note})" if unasked else ""


@contextmanager
def _few_collections() -> Iterator[None]:
    """Look for cycles of garbage a twentieth as often: an audit makes many rows, keeps them, and makes no cycles."""
    before = gc.get_threshold()
    gc.set_threshold(20 * before[0], *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def run(
    subject: Subject,
    *,
    seed: int,
    header: Mapping[str, Any],
    out: str | Path | None,
    progress: bool,
    max_calls: int | None = None,
    price: float | None = None,
    announce: Callable[[Estimate], None] | None = None,
    **options: Any,
) -> Report:
    """Score the subject's baseline, run its probes together, and return the report.

    Args:
        header: identifies the job's journals, with the seed.
        max_calls, price, announce: as in `audit`. Several sources share the calls equally.
        options: for `Scorer`.
    """
    digests = {source: source_digest(target) for source, target in subject.targets.items()}
    alpha = family_alpha(subject.n_questions)
    files = {
        source: f"-{place}-{re.sub(r'[^A-Za-z0-9_-]+', '_', source)[:40]}" if source or len(subject.targets) > 1 else ""
        for place, source in enumerate(subject.targets)
    } | {source: f"-{source}" for source in subject.references}
    options |= {"journal_header": {"seed": seed, **header}, "most_timeouts": MOST_TIMEOUTS}
    options["progress"] = Bar() if progress else False
    options["most_calls"] = None if max_calls is None else max_calls // len({**subject.targets, **subject.references})
    with ExitStack() as opened:
        opened.enter_context(_few_collections())
        scorers = {
            source: opened.enter_context(
                Scorer(target, journal=None if out is None else Path(out) / f"journal{files[source]}.jsonl", **options)
            )
            for source, target in {**subject.targets, **subject.references}.items()
        }
        rounds = Rounds(scorers, references=subject.references)
        estimate = _begun(subject, rounds, alpha, max_calls, price, announce)
        prepared = rounds.run(subject.prepare(scorers, alpha))
        questions = [] if prepared.nothing else prepared.questions
        outcomes = rounds.run_all({probe.name: probe.ask(baseline) for probe, baseline in questions})
    findings = [finding for outcome in outcomes.values() for finding in outcome.findings]
    for source, broken in rounds.broken.items():
        failed = [entry for entry in broken.values() if not (prepared.remote and entry[1].reason == "timeout")]
        for found in failures(failed, len(rounds.sent[source]), alpha=alpha, honest=prepared.honest):
            named = f"Source {source!r}: {found.message}" if files[source] else found.message
            findings.append(replace(found, message=named))
    not_judged = prepared.not_judged
    if prepared.nothing:
        not_judged = f"no {prepared.nothing} {_nothing_scored(rounds, prepared.cause)}"
        # What fails on everything may be called wrongly. Only a reward that hangs or dies is at fault for sure.
        sure = rounds.unscored.keys() & {"timeout", "crash"}
        findings = [finding if sure else replace(finding, severity="info") for finding in findings]
    setting = setting_of(subject.targets, subject.contract, subject.rows)
    findings = [replace(finding, remedies=remedies_in(finding.advice, setting)) for finding in findings]
    faults = [finding for finding in findings if finding.severity != "info"]
    checks = []
    for probe, _ in prepared.questions:
        outcome = outcomes.get(probe.name, Outcome(not_run=f"no {prepared.nothing}"))
        names = {finding.probe for finding in outcome.findings} | {probe.name}
        own = [finding for finding in faults if finding.probe in names]
        note, spent = outcome.not_run, rounds.cut_short.get(probe.name) == SPENT.detail
        # A question that was asked on fewer rows has a weaker bound.
        if not outcome.findings and outcome.applies and not (spent and outcome.n):
            note = _stopped(rounds, probe.name, note) or note
        if note and probe.name not in {finding.probe for finding in own}:
            checks.append(Check(probe.name, probe.question, "not run", note, applies=outcome.applies))
        else:
            status: Literal["finding", "clean"] = "finding" if own else "clean"
            checks.append(Check(probe.name, probe.question, status, "", outcome.n, outcome.bound))
    findings = prepared.grouped(findings, rounds.sent.get("", {}))
    essential = {probe.name for probe, _ in prepared.questions if probe.essential}
    not_judged = not_judged or _nothing_seen(rounds) or _not_asked(checks, essential)
    return Report(
        target=subject.name,
        contract=subject.contract,
        kind=prepared.kind,
        reads=prepared.reads,
        n_rows=prepared.n_rows,
        seed=seed,
        findings=ranked(findings),
        checks=tuple(checks),
        rates=tuple(rate for outcome in outcomes.values() for rate in outcome.rates),
        curves=tuple(curve for outcome in outcomes.values() for curve in outcome.curves),
        reliability=tuple(b for outcome in outcomes.values() for b in outcome.reliability),
        levels=prepared.levels,
        unscored=dict(rounds.unscored),
        calls=rounds.calls,
        seconds=rounds.seconds,
        provenance=provenance_of(subject.targets, subject.rows, digests),
        not_judged=not_judged,
        estimate=estimate,
    )
