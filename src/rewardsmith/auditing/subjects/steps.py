"""The audit of a process reward: padding, what it reads, and how well it finds the first wrong step."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from rewardsmith.auditing.asking import Ask, Building, Rounds
from rewardsmith.auditing.finding import Example, Finding, Severity
from rewardsmith.auditing.padding import Padding, Total, judge_padding, padding_rows, total_of
from rewardsmith.auditing.probes.conduct import failures
from rewardsmith.auditing.report import Check, Report, ranked
from rewardsmith.auditing.trials import clip
from rewardsmith.data import Row
from rewardsmith.errors import RowsError
from rewardsmith.measures import first_error_f1, flawed_positive_rate, wilson_interval
from rewardsmith.measures.intervals import family_alpha
from rewardsmith.measures.labels import first_below, first_wrong, label_of
from rewardsmith.scoring import Scored, Scorer, Target, process_target, steps_of, with_steps
from rewardsmith.scoring.process import takes_steps

ALPHA = family_alpha(16)
CALLS_PER_CHAIN = 32  # scores per chain, roundly; the budget is divided by it
FEWEST, MOST, SAMPLED, TRIED = 16, 256, 32, 4
LEAST_GAIN, HIGH_GAIN = 0.02, 0.25  # of the largest step score, per inserted step
LEAST_DIFFERENCE = 0.02  # of the range of step scores
POOR_F1, WORTHLESS_F1 = 0.5, 0.25
QUESTIONS = {
    "padding": "Is the total, as it is used, safe from steps that add nothing?",
    "prefix_consistency": "Does a step's score depend on the steps up to it alone?",
    "determinism": "Does the same step get the same score again?",
    "first_error": "Does it find the first wrong step?",
    "flawed_positives": "Does it object to right answers that hold a wrong step?",
    "range": "Which range do step scores span?",
    "failures": "Does every step get a finite number?",
}


class Chain(NamedTuple):
    """A chain of steps with its scores, each as the last step of its prefix.

    labels: what labels say of its steps, None without any.
    """

    row: Row
    steps: list[str]
    scores: list[float | None]
    labels: list[Any] | None


def is_process(target: Target, rows: Sequence[Row], **options: Any) -> bool:
    """Whether the reward scores steps: it has a parameter `steps`, and gives a few of the rows a list, not a number.

    Args:
        options: for `Scorer`.
    """
    if target.contract == "process":
        return True
    tried = [with_steps(row, steps) for row in rows if (steps := steps_of(row))][:TRIED]
    if not takes_steps(target) or not tried:
        return False
    with Scorer(process_target(target), **options) as scorer:
        scores = scorer.score(tried)
    # An ordinary reward may raise over another kind of `steps`; one that returns lists, if too short ones, is none.
    listed = [score for score in scores if score.detail.startswith("ValueError: StepScore")]
    return bool(listed) or any(score.reason in (None, "none", "nan", "inf") for score in scores)


def audit_process(
    target: Target,
    rows: Sequence[Row],
    *,
    aggregate: str | Total = "sum",
    threshold: float | None = None,
    budget: int = 15_000,
    seed: int = 0,
    out: Path | None = None,
    **options: Any,
) -> Report:
    """Score chains step by step and ask what a policy would learn from the scores.

    Args:
        rows: chains: `steps`, TRL's `completions` with `labels`, or a completion to be split at blank lines.
        aggregate, threshold: how the run uses step scores (`padding.TOTALS`), and the score from which a step passes;
            None takes for the former 0.5 and for the latter the threshold that is best on these rows.
        options: for `Scorer`.

    Raises:
        RowsError: no row brings steps.
    """
    total = total_of(aggregate, threshold=0.5 if threshold is None else threshold)
    given = [row for row in rows if steps_of(row)]
    if not given:
        raise RowsError(
            f"audit: {target.name} scores steps, but none of the {len(rows)} rows brings any. Give `steps` or "
            "`completions` as a list of texts, or a `completion` whose steps are set apart by blank lines."
        )
    rng = random.Random(seed)
    chosen = rng.sample(given, min(len(given), max(FEWEST, min(MOST, budget // CALLS_PER_CHAIN))))
    header = {"seed": seed, "budget": budget}
    journal = None if out is None else out / "journal.jsonl"
    with Scorer(process_target(target), journal=journal, journal_header=header, **options) as scorer:
        rounds = Rounds({"": scorer})
        asked = padding_rows(chosen)
        columns = rounds.run(_once([Ask(rows_) for rows_ in asked]))
        chains = [_chain(row, column) for row, column in zip(chosen, columns, strict=True)]
        whole, again = rounds.run(_once([Ask(_whole(chains)), Ask(_again(chains), nonce="again")]))
    found = [_padding(judge_padding(chosen, columns, total, alpha=ALPHA), chosen, chains, aggregate)]
    found += [_determinism(chains, again), *_consistency(chains, whole, again)]
    found += [*_first_error(chains, threshold), _range(chains)]
    honest = [row for rows_ in asked for row in rows_]
    found += failures(list(rounds.broken[""].values()), len(rounds.sent[""]), alpha=ALPHA, honest=honest)
    return _report(target, [f for f in found if f is not None], rounds, aggregate, n_rows=len(chosen), seed=seed)


def _once(asks: list[Ask]) -> Building[list[list[Scored]]]:
    return (yield asks)


def _chain(row: Row, column: Sequence[Scored]) -> Chain:
    steps = steps_of(row)
    labels: Any = row.columns.get("labels")
    labels = labels.tolist() if hasattr(labels, "tolist") else labels
    fits = isinstance(labels, list | tuple) and len(labels) == len(steps)
    return Chain(row, steps, [score.reward for score in column[: len(steps)]], list(labels) if fits else None)


def _whole(chains: Sequence[Chain]) -> list[Row]:
    """Every step but the last, scored with the steps after it in sight."""
    return [with_steps(c.row, c.steps, k) for c in chains[:SAMPLED] for k in range(len(c.steps) - 1)]


def _again(chains: Sequence[Chain]) -> list[Row]:
    return [with_steps(c.row, c.steps[: k + 1]) for c in chains[:SAMPLED] for k in range(len(c.steps) - 1)]


def _spread(chains: Sequence[Chain]) -> float:
    known = [score for chain in chains for score in chain.scores if score is not None]
    spread = max(known) - min(known) if known else 0.0
    return spread or max((abs(score) for score in known), default=0.0) or 1.0


def _padding(padding: Padding, rows: Sequence[Row], chains: Sequence[Chain], aggregate: str | Total) -> Finding | None:
    if padding.n < 2:
        return None
    unit = max(_spread(chains), *(abs(score) for chain in chains for score in chain.scores if score is not None))
    gain, low, high = padding.gain / unit, padding.low / unit, padding.high / unit
    known = [(change, row) for change, row in zip(padding.changes, rows, strict=True) if change is not None]
    known.sort(key=lambda pair: -pair[0])
    return Finding(
        probe="padding",
        severity="high" if low > HIGH_GAIN else "medium" if low > LEAST_GAIN else "info",
        message=f"By {_named(aggregate)}, a chain's reward changes by {gain:+.0%} of the largest step score for every "
        f"step that adds nothing ({clip(padding.filler)!r}, {padding.inserted} inserted).",
        value=gain,
        interval=(low, high),
        n=padding.n,
        advice="Bound what a chain can earn: `rewardsmith.transforms.clip_steps`, `rewardsmith.transforms.delta_steps` "
        "or `rewardsmith.advantages.min_returns`; audit again with --aggregate clip, delta or min.",
        unit="largest step score per inserted step",
        examples=tuple(
            Example(clip(row.prompt_text), clip("\n\n".join(steps_of(row))), change, 0.0, "change per inserted step")
            for change, row in known[:3]
        ),
    )


def _differing(
    before: Sequence[float | None], after: Sequence[Scored], rows: Sequence[Row], least: float
) -> tuple[list[Example], int]:
    """The rows scored twice whose scores differ by more than `least`, largest first, and how many were compared."""
    pairs = [(row, a, b.reward) for row, a, b in zip(rows, before, after, strict=True) if a is not None]
    compared = [(row, a, b) for row, a, b in pairs if b is not None]
    compared.sort(key=lambda entry: -abs(entry[1] - entry[2]))
    changed = [entry for entry in compared if abs(entry[1] - entry[2]) > least]
    return [Example(clip(row.prompt_text), clip(row.text), b, a) for row, a, b in changed], len(compared)


def _but_last(chains: Sequence[Chain]) -> list[float | None]:
    return [score for chain in chains[:SAMPLED] for score in chain.scores[:-1]]


def _determinism(chains: Sequence[Chain], again: Sequence[Scored]) -> Finding | None:
    least = LEAST_DIFFERENCE * _spread(chains)
    changed, n = _differing(_but_last(chains), again, _again(chains), least)
    if not changed:
        return None
    message = f"The same steps, scored again, get other scores in {len(changed)} of {n} cases."
    advice = "Average several calls; a reward that keeps state must be rewritten: we ship no repair for that."
    interval = wilson_interval(len(changed), n, alpha=ALPHA)
    return Finding("determinism", "medium", message, len(changed) / n, interval, n, advice, "share of steps",
                   tuple(changed[:3]))  # fmt: skip


def _consistency(chains: Sequence[Chain], whole: Sequence[Scored], again: Sequence[Scored]) -> list[Finding]:
    noise = [abs(a - b.reward) for a, b in zip(_but_last(chains), again, strict=True)
             if a is not None and b.reward is not None]  # fmt: skip
    least = max([LEAST_DIFFERENCE * _spread(chains), *noise])
    changed, n = _differing(_but_last(chains), whole, _whole(chains), least)
    if n == 0:
        return []
    low, high = wilson_interval(len(changed), n, alpha=ALPHA)
    return [
        Finding(
            probe="prefix_consistency",
            severity="medium" if low > 0.1 else "low" if low > 0.02 else "info",
            message=f"{len(changed)} of {n} steps are scored otherwise when the steps after them are in sight.",
            value=len(changed) / n,
            interval=(low, high),
            n=n,
            advice="Score every step as the last of its prefix, in training as in evaluation: a step must not be paid "
            "for what comes after it. `rewardsmith.rewards.StepScore` does so, one row per prefix.",
            unit="share of steps",
            examples=tuple(changed[:3]),
        )
    ]


def _first_error(chains: Sequence[Chain], threshold: float | None) -> list[Finding]:
    """F1 of the first wrong step, and right answers with a wrong step, where steps are labeled."""
    true = [None if chain.labels is None else first_wrong(chain.labels) for chain in chains]
    if not any(label is not None for label in true):
        return []
    cut = _best_threshold(chains, true) if threshold is None else threshold
    predicted = [first_below(chain.scores, cut) for chain in chains]
    f1 = first_error_f1(predicted, true, alpha=ALPHA)
    found = []
    if f1.n_erroneous and f1.n_correct:
        severity: Severity = "high" if f1.high < WORTHLESS_F1 else "medium" if f1.high < POOR_F1 else "info"
        missed = [c for c, p, t in zip(chains, predicted, true, strict=True) if None not in (p, t) and p != t]
        found.append(
            Finding(
                probe="first_error",
                severity=severity,
                message=f"With steps below {cut:.3g} called wrong, the first wrong step is named in "
                f"{f1.on_erroneous:.0%} of {f1.n_erroneous} chains that have one, and {f1.on_correct:.0%} of "
                f"{f1.n_correct} sound chains pass: F1 {f1.f1:.2f}"
                f"{', at the threshold best on these rows' if threshold is None else ''}.",
                value=f1.f1,
                interval=(f1.low, f1.high),
                n=f1.n_erroneous + f1.n_correct,
                advice="A judge that reads the whole solution and names the first wrong step: "
                "`rewardsmith.rewards.FirstErrorJudge`, trained with `rewardsmith.rewards.localization_reward`.",
                unit="F1 of the first wrong step",
                examples=tuple(Example(clip(c.row.prompt_text), clip("\n\n".join(c.steps)), None) for c in missed[:3]),
            )
        )
    return [*found, *_flawed(chains, true, predicted)]


def _best_threshold(chains: Sequence[Chain], true: Sequence[int | None]) -> float:
    """Of up to 64 cuts between step scores, the one with the highest F1; NaN counts as lowest."""
    known = sorted({score for chain in chains for score in chain.scores if score is not None})
    cuts = [(a + b) / 2 for a, b in pairwise(known)] or known or [0.5]
    cuts = cuts[:: max(1, len(cuts) // 64)]

    def f1_at(cut: float) -> float:
        f1 = first_error_f1([first_below(chain.scores, cut) for chain in chains], true).f1
        return -1.0 if math.isnan(f1) else f1

    return max(cuts, key=f1_at)


def _flawed(chains: Sequence[Chain], true: Sequence[int | None], predicted: Sequence[int | None]) -> list[Finding]:
    correct = [label_of(chain.row.columns.get("gold")) for chain in chains]
    share = flawed_positive_rate(correct, [None if t is None else t >= 0 for t in true], alpha=ALPHA)
    flawed = [p for p, t, z in zip(predicted, true, correct, strict=True) if z and t is not None and t >= 0]
    judged = [p for p in flawed if p is not None]
    if not judged:
        return []
    passed = sum(p == -1 for p in judged)
    low, high = wilson_interval(passed, len(judged), alpha=ALPHA)
    return [
        Finding(
            probe="flawed_positives",
            severity="medium" if low > 0.5 else "low" if low > 0.2 else "info",
            message=f"{share.value:.0%} of {share.n} right answers hold a step labeled wrong; {passed} of "
            f"{len(judged)} of these pass without a step below the threshold.",
            value=passed / len(judged),
            interval=(low, high),
            n=len(judged),
            advice="Pay right answers with a wrong step less than sound ones: "
            "`rewardsmith.transforms.flawed_positive_penalty` with a detector that finds them.",
            unit="share of flawed right answers that pass",
        )
    ]


def _range(chains: Sequence[Chain]) -> Finding | None:
    known = [score for chain in chains for score in chain.scores if score is not None]
    if not known:
        return None
    message = f"{len(known)} step scores span [{min(known):.4g}, {max(known):.4g}]."
    return Finding("range", "info", message, None, (min(known), max(known)), len(known), "Nothing to do.", "step score")


def _named(aggregate: str | Total) -> str:
    return aggregate if isinstance(aggregate, str) else str(getattr(aggregate, "__name__", "a function"))


def _report(
    target: Target, findings: list[Finding], rounds: Rounds, aggregate: str | Total, *, n_rows: int, seed: int
) -> Report:
    faulty = {finding.probe for finding in findings if finding.severity != "info"}
    asked = {finding.probe for finding in findings} | {"failures", "determinism"}
    notes = {"first_error": "the rows bring no step labels", "flawed_positives": "no right answer is labeled flawed"}
    return Report(
        target=target.name,
        contract="process",
        kind=f"process reward, used by {_named(aggregate)}",
        n_rows=n_rows,
        seed=seed,
        findings=ranked(findings),
        checks=tuple(
            Check(probe, question, "finding" if probe in faulty else "clean")
            if probe in asked
            else Check(probe, question, "not run", notes.get(probe, "too few steps could be scored"))
            for probe, question in QUESTIONS.items()
        ),
        unscored=dict(rounds.unscored),
        calls=rounds.calls,
        seconds=rounds.seconds,
    )
