"""The audit: build the panel, ask every probe in rounds through one scoring path, rank what they found."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Generator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from rewardsmith.audit.finding import Finding
from rewardsmith.audit.intervals import family_alpha
from rewardsmith.audit.panel import Ask, Outcome, Panel, build_panel
from rewardsmith.audit.probes import N_QUESTIONS, PROBES, Probe
from rewardsmith.audit.probes.search import search
from rewardsmith.audit.report import Check, Report, ranked
from rewardsmith.data import Row
from rewardsmith.errors import RowsError
from rewardsmith.rewards import Scored, Scorer, Target, as_target, resolve_form, target_rows
from rewardsmith.types import Reward

CALLS_PER_ITEM = 170
"""Completions a full audit sends per prompt, roundly; the budget is divided by it."""
FEWEST, MOST = 8, 64
SEARCH_SHARE = 0.15


def audit(
    target: Target | Reward,
    rows: Sequence[Row] | None = None,
    *,
    budget: int = 12_000,
    workers: int = 1,
    timeout: float = 30.0,
    seed: int = 0,
    out: Path | None = None,
    progress: bool = False,
) -> Report:
    """Ask every question the library knows of one reward.

    Args:
        target: what `load_target` returns, or any callable in a contract that `contract_of` recognizes.
        rows: prompts, with `answer` for verifiers; None where the target brings its own.
        budget: how many completions to score, roughly; it decides on how many prompts the questions are asked.
        workers: processes that score; 0 scores in this process, without a hard time limit.
        timeout: seconds that one row may take.
        seed: decides the choice of rows and of wrong answers; same seed, same questions.
        out: a folder for the journal; an audit that was killed resumes from it without scoring a row twice.
        progress: whether to show a progress bar on standard error.

    Raises:
        RowsError: there are no rows.
        TargetError: the reward needs a column that the rows lack, or fails on every form of them.
    """
    target = as_target(target)
    rows = list(rows) if rows is not None else target_rows(target, MOST, seed)
    if not rows:
        raise RowsError(f"audit: {target.name} brings no rows of its own and none were given. Give a file of rows.")
    rng = random.Random(seed)
    size = max(FEWEST, min(MOST, int(budget * (1 - SEARCH_SHARE) / CALLS_PER_ITEM)))
    journal = None if out is None else out / "journal.jsonl"
    with Scorer(target, workers=workers, timeout=timeout, journal=journal, progress=progress) as scorer:
        rows = resolve_form(scorer, rows).rows
        before = Tally(scorer.calls, scorer.seconds, scorer.unscored.copy())
        panel = _drive({"panel": build_panel(rows, rng=rng, size=size, alpha=family_alpha(N_QUESTIONS))}, scorer)[
            "panel"
        ]
        probes = (*PROBES, _search(rng, int(budget * SEARCH_SHARE)))
        outcomes = _drive({probe.name: probe.ask(panel) for probe in probes}, scorer) if panel.items else {}
        tally = Tally(scorer.calls - before.calls, scorer.seconds - before.seconds, scorer.unscored - before.unscored)
        return _report(target, panel, probes, outcomes, tally, seed=seed, n_rows=len(rows))


class Tally(NamedTuple):
    """Rows scored, seconds inside the reward, and unscored rows by reason."""

    calls: int
    seconds: float
    unscored: Counter[str]


def _search(rng: random.Random, budget: int) -> Probe:
    question = "Does a search over composed edits find a wrong completion that is paid?"
    return Probe("search", question, partial(search, rng=rng, budget=budget))


def _drive(running: dict[str, Generator[list[Ask], list[list[Scored]], Any]], scorer: Scorer) -> dict[str, Any]:
    """Run generators side by side: in every round, score all they ask for, ordinary rows in one job."""
    results: dict[str, Any] = {}
    asked: dict[str, list[Ask]] = {}
    replies: dict[str, list[list[Scored]] | None] = dict.fromkeys(running)
    while replies:
        asked = {}
        for name, reply in replies.items():
            try:
                asked[name] = running[name].send(reply)  # type: ignore[arg-type]  # None starts a generator
            except StopIteration as stop:
                results[name] = stop.value
        replies = dict(_round(asked, scorer))
    return results


def _round(asked: dict[str, list[Ask]], scorer: Scorer) -> dict[str, list[list[Scored]]]:
    plain = [row for asks in asked.values() for ask in asks if not ask.nonce for row in ask.rows]
    scores = iter(scorer.score(plain))
    return {
        name: [
            scorer.score(ask.rows, nonce=ask.nonce, whole=ask.whole, check_mutation=ask.check_mutation)
            if ask.nonce
            else [next(scores) for _ in ask.rows]
            for ask in asks
        ]
        for name, asks in asked.items()
    }


def _report(
    target: Target,
    panel: Panel,
    probes: Sequence[Probe],
    outcomes: dict[str, Outcome],
    tally: Tally,
    *,
    seed: int,
    n_rows: int,
) -> Report:
    findings: list[Finding] = [finding for outcome in outcomes.values() for finding in outcome.findings]
    if not panel.items:
        findings.append(_unscorable(tally))
    return Report(
        target=target.name,
        contract=target.contract,
        kind=panel.kind,
        n_rows=n_rows,
        seed=seed,
        findings=ranked(findings),
        checks=tuple(_check(probe, outcomes.get(probe.name)) for probe in probes),
        rates=tuple(rate for outcome in outcomes.values() for rate in outcome.rates),
        levels=_levels(panel),
        unscored=dict(tally.unscored),
        calls=tally.calls,
        seconds=tally.seconds,
    )


def _check(probe: Probe, outcome: Outcome | None) -> Check:
    if outcome is None or outcome.not_run:
        note = outcome.not_run if outcome else "no honest answer could be scored"
        return Check(probe.name, probe.question, "not run", note)
    faults = [finding for finding in outcome.findings if finding.severity != "info"]
    return Check(probe.name, probe.question, "finding" if faults else "clean")


def _levels(panel: Panel) -> dict[str, list[float]]:
    right = [item.right for item in panel.items if item.right is not None]
    wrong = [score for item in panel.items for score in item.wrong_scores if score is not None]
    return {"right answers": right, "wrong answers": wrong} if panel.verifier else {"honest completions": right}


def _unscorable(tally: Tally) -> Finding:
    listed = ", ".join(f"{count} × {reason}" for reason, count in tally.unscored.most_common())
    return Finding(
        probe="failures",
        severity="critical",
        message=f"Not one honest answer could be scored ({listed}).",
        value=1.0,
        interval=None,
        n=tally.calls,
        advice="See the reasons; the usual ones are a missing column or another form of completions.",
    )
