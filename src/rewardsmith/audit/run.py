"""The audit: build the panel, ask every probe in rounds through one scoring path, rank what they found."""

from __future__ import annotations

import inspect
import random
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rewardsmith.audit.finding import Finding
from rewardsmith.audit.intervals import family_alpha
from rewardsmith.audit.panel import Ask, Outcome, Panel, build_panel
from rewardsmith.audit.probes import N_QUESTIONS, PROBES, Probe
from rewardsmith.audit.probes.conduct import failures
from rewardsmith.audit.probes.search import search
from rewardsmith.audit.report import Check, Report, ranked
from rewardsmith.data import ANSWER_NAMES, Row
from rewardsmith.errors import RowsError
from rewardsmith.rewards import Scored, Scorer, Target, as_target, resolve_form, target_rows

CALLS_PER_ITEM = 200
"""Completions a full audit sends per prompt, roundly; the budget is divided by it."""
FEWEST, MOST = 4, 64
SEARCH_SHARE = 0.15
MOST_TIMEOUTS = 5
"""A reward that hangs this often has its finding; what is left of the questions stays unasked."""


def audit(
    target: Target | Callable[..., Any],
    rows: Sequence[Row] | None = None,
    *,
    budget: int = 15_000,
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
        budget: how many completions to score, roughly; it decides on how many prompts (4 to 64) the questions are
            asked. Given completions are scored on top of it.
        workers: processes that score; 0 scores in this process, without a hard time limit.
        timeout: seconds that one row may take.
        seed: decides the choice of rows and of wrong answers; same seed, same questions.
        out: a folder for the journal; an audit that was killed resumes from it without scoring a row twice.
        progress: whether to show a progress bar on standard error.

    Raises:
        RowsError: there are no rows.
        TargetError: the reward needs a column that the rows lack, or it cannot be sent to a worker.
    """
    target = as_target(target)
    size = max(FEWEST, min(MOST, int(budget * (1 - SEARCH_SHARE) / CALLS_PER_ITEM)))
    rows = list(rows) if rows is not None else target_rows(target, size, seed)
    if not rows:
        raise RowsError(f"audit: {target.name} was given no rows. Give at least one, with a `prompt`.")
    journal = None if out is None else out / "journal.jsonl"
    header = {"seed": seed, "budget": budget}
    with Scorer(
        target,
        workers=workers,
        timeout=timeout,
        journal=journal,
        journal_header=header,
        most_timeouts=MOST_TIMEOUTS,
        progress=progress,
    ) as scorer:
        rows = resolve_form(scorer, rows).rows
        hearing = Hearing(scorer)
        rng = random.Random(seed)
        reads = reads_answers(target)
        building = build_panel(rows, rng=rng, size=size, alpha=ALPHA, reads_answers=reads)
        panel = hearing.hear({"panel": building})["panel"]
        probes = (*PROBES, _search(rng, int(budget * SEARCH_SHARE)))
        outcomes = hearing.hear({probe.name: probe.ask(panel) for probe in probes}) if panel.items else {}
        return _report(panel, probes, outcomes, hearing, seed=seed, n_rows=len(rows))


ALPHA = family_alpha(N_QUESTIONS)


def reads_answers(target: Target) -> bool:
    """Whether the reward is known to read a reference answer: by its contract, or by a parameter's name."""
    if target.contract in ("verl", "openrlhf", "reasoning-gym"):
        return True
    function: Any = getattr(target.reward, "function", target.reward)
    return bool(set(ANSWER_NAMES) & set(inspect.signature(function).parameters))


def _search(rng: random.Random, budget: int) -> Probe:
    question = "Does a search over composed edits find a wrong completion that is paid?"
    return Probe("search", question, partial(search, rng=rng, budget=budget))


class Hearing:
    """Runs questions side by side over one scorer and keeps a record of every row that came back without a reward."""

    def __init__(self, scorer: Scorer) -> None:
        self.scorer = scorer
        self.broken: dict[tuple[str, str, str], tuple[Row, Scored]] = {}
        self.unscored: Counter[str] = Counter()
        self.cut_short: set[str] = set()
        self._calls, self._seconds = scorer.calls, scorer.seconds

    @property
    def calls(self) -> int:
        """Rows scored since the hearing began."""
        return self.scorer.calls - self._calls

    @property
    def seconds(self) -> float:
        """Time inside the reward since the hearing began."""
        return self.scorer.seconds - self._seconds

    def hear(self, running: Mapping[str, Generator[list[Ask], list[list[Scored]], Any]]) -> dict[str, Any]:
        """In every round score all that is asked for, ordinary rows in one job, until every question has returned."""
        results: dict[str, Any] = {}
        replies: dict[str, Any] = dict.fromkeys(running)
        while replies:
            asked: dict[str, list[Ask]] = {}
            for name, reply in replies.items():
                try:
                    asked[name] = running[name].send(reply)
                except StopIteration as stop:
                    results[name] = stop.value
            replies = self._score(asked)
        return results

    def _score(self, asked: Mapping[str, list[Ask]]) -> dict[str, list[list[Scored]]]:
        plain = [row for asks in asked.values() for ask in asks if not ask.nonce for row in ask.rows]
        scores = iter(self._noted(plain, self.scorer.score(plain)))
        replies = {
            name: [self._special(ask) if ask.nonce else [next(scores) for _ in ask.rows] for ask in asks]
            for name, asks in asked.items()
        }
        self.cut_short |= {
            name
            for name, reply in replies.items()
            if any(score.reason == "unasked" for scores in reply for score in scores)
        }
        return replies

    def _special(self, ask: Ask) -> list[Scored]:
        scores = self.scorer.score(ask.rows, nonce=ask.nonce, whole=ask.whole, check_mutation=ask.check_mutation)
        return self._noted(ask.rows, scores)

    def _noted(self, rows: Sequence[Row], scores: list[Scored]) -> list[Scored]:
        for row, score in zip(rows, scores, strict=True):
            sent = (row.prompt_text, row.answer or "", row.text)
            if score.reason not in (None, "unasked") and sent not in self.broken:
                self.broken[sent] = (row, score)
                self.unscored[score.reason] += 1
        return scores


def _report(
    panel: Panel,
    probes: Sequence[Probe],
    outcomes: Mapping[str, Outcome],
    hearing: Hearing,
    *,
    seed: int,
    n_rows: int,
) -> Report:
    findings: list[Finding] = [finding for outcome in outcomes.values() for finding in outcome.findings]
    broken = list(hearing.broken.values())
    findings += failures(broken, hearing.calls, alpha=ALPHA, honest=panel.conduct.rows)
    if not panel.items:
        findings.append(_unscorable(hearing))
    faulty = {finding.probe for finding in findings if finding.severity != "info"}
    return Report(
        target=hearing.scorer.target.name,
        contract=hearing.scorer.target.contract,
        kind=panel.kind,
        n_rows=n_rows,
        seed=seed,
        findings=ranked(findings),
        checks=tuple(_check(probe, outcomes.get(probe.name), faulty, hearing.cut_short) for probe in probes),
        rates=tuple(rate for outcome in outcomes.values() for rate in outcome.rates),
        levels=_levels(panel),
        unscored=dict(hearing.unscored),
        calls=hearing.calls,
        seconds=hearing.seconds,
    )


def _check(probe: Probe, outcome: Outcome | None, faulty: set[str], cut_short: set[str]) -> Check:
    if outcome is None or outcome.not_run:
        note = outcome.not_run if outcome else "no honest answer could be scored"
        return Check(probe.name, probe.question, "not run", note)
    if probe.name in cut_short and not outcome.findings:
        return Check(probe.name, probe.question, "not run", "the audit stopped after too many timeouts")
    own = {finding.probe for finding in outcome.findings} | {probe.name}
    return Check(probe.name, probe.question, "finding" if own & faulty else "clean")


def _levels(panel: Panel) -> dict[str, list[float]]:
    right = [item.right for item in panel.items if item.right is not None]
    wrong = [score for item in panel.items for score in item.wrong_scores if score is not None]
    return {"right answers": right, "wrong answers": wrong} if panel.verifier else {"honest completions": right}


def _unscorable(hearing: Hearing) -> Finding:
    listed = ", ".join(f"{count} × {reason}" for reason, count in hearing.unscored.most_common())
    return Finding(
        probe="failures",
        severity="critical",
        message=f"No right answer could be scored in any usual format ({listed}).",
        value=1.0,
        interval=None,
        n=hearing.calls,
        advice="See the reasons; the usual ones are a missing column and another form of completions.",
    )
