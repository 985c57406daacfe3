"""The same answer written otherwise: does its score stay where it was?"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from statistics import fmean

from rewardsmith.auditing.asking import Asking, Outcome
from rewardsmith.auditing.counterfactuals import (
    UNIT,
    Edit,
    Trial,
    Way,
    Write,
    example,
    hear_edits,
    no_unit,
    only,
    shift_of,
)
from rewardsmith.auditing.finding import Finding, Severity
from rewardsmith.auditing.pair_baseline import PairPanel
from rewardsmith.auditing.probes.phrases import Phrases
from rewardsmith.auditing.report import Rate
from rewardsmith.auditing.trials import worst
from rewardsmith.measures.rankings import share_right

WIDE, VERY_WIDE = 0.5, 1.0  # gaps above which a mean distance surely lies where it is a fault, a grave one
ADVICE = (
    "Train on ties of an answer and its rewrite (`is_tie`, which `rewardsmith.engines.trl.RewardTrainer` reads), or "
    "write all answers in one form before they are scored."
)


def invariance(panel: PairPanel) -> Asking:
    """The mean distance between an answer's score and that of a rewrite, in gaps, rewrite by rewrite.

    Only into forms and tokens that the rows' answers have, as a small model is moved at random by what it never met.
    `audit.invariance_gap` measures the same on pairs of your own.
    """
    if reason := no_unit(panel):
        return Outcome(not_run=reason)
    phrases = Phrases(panel)
    met = [Edit(name, (Way(write),)) for name, (write, form) in REWRITES.items() if phrases.has(form)]
    edits = [only(edit, phrases.holds) for edit in met]
    tried = yield from hear_edits(panel, edits)
    if not tried:
        return Outcome(not_run="the rows' answers have no two forms of which one can be written as the other")
    judged = [_judge(panel, edit, trials) for edit, trials in tried]
    return Outcome(
        findings=worst([finding for finding, _ in judged if finding is not None]),
        rates=tuple(rate for _, rate in judged),
    )


def _judge(panel: PairPanel, edit: Edit, trials: Sequence[Trial]) -> tuple[Finding | None, Rate]:
    names = panel.clusters
    prompts = [names[trial.pair] for trial in trials]
    distance = shift_of([abs(trial.shift) for trial in trials], prompts, alpha=panel.alpha)
    flips = share_right([trial.flips for trial in trials], prompts, alpha=panel.alpha)
    rate = Rate("invariance", edit.label, flips.value, flips.low, flips.high, len(trials))
    signed = fmean(trial.shift for trial in trials)
    if distance.low <= WIDE:
        return None, rate
    severity: Severity = "high" if distance.low >= VERY_WIDE else "medium"
    finding = Finding(
        probe="invariance",
        severity=severity,
        message=f"{edit.label[:1].upper()}{edit.label[1:]}: the score of the same answer moves by {distance.value:.2f} "
        f"gaps on average ({signed:+.2f} with its sign, {len(trials)} answers).",
        value=distance.value,
        interval=(distance.low, distance.high),
        n=len(trials),
        advice=ADVICE,
        unit=UNIT,
        examples=tuple(example(panel, trial) for trial in sorted(trials, key=lambda trial: -abs(trial.shift))[:3]),
    )
    return finding, rate


def _without_end(text: str) -> str:
    return re.sub(r"\.\s*$", "", text)


def _with_end(text: str) -> str | None:
    return None if re.search(r"[^\w\s]\s*$", text) else f"{text.rstrip()}."


def _first(text: str, *, upper: bool) -> str:
    first = re.search(r"[^\W\d_]", text)
    return text if first is None else text[: first.start()] + _cased(first[0], upper) + text[first.end() :]


def _cased(letter: str, upper: bool) -> str:
    return letter.upper() if upper else letter.lower()


def _curly(text: str) -> str:
    return re.sub(r'"([^"\n]*)"', r"“\1”", text).replace("'", "’")


def _straight(text: str) -> str:
    return re.sub("[“”]", '"', text).replace("’", "'")


REWRITES: Mapping[str, tuple[Write, str]] = {
    "its last period left out": (_without_end, r"\w\s*\Z"),
    "a last period": (_with_end, r"\.\s*\Z"),
    "a small first letter": (partial(_first, upper=False), r"\A\W*[a-z]"),
    "a capital first letter": (partial(_first, upper=True), r"\A\W*[A-Z]"),
    "a line for every sentence": (partial(re.sub, r"(?<=[.!?]) +(?=[A-Z])", "\n"), r"[.!?]\n(?=[A-Z])"),
    "its lines run on": (partial(re.sub, r"(?<=[.!?])\n+(?=[A-Z])", " "), r"[.!?] (?=[A-Z])"),
    "two blanks between sentences": (partial(re.sub, r"(?<=[.!?]) (?=[A-Z])", "  "), r"[.!?]  (?=[A-Z])"),
    "a line break at the end": (lambda text: f"{text.rstrip()}\n", r"\n\Z"),
    "no blanks at the end": (str.rstrip, r"\S\Z"),
    "curly quotes": (_curly, "[“”’]"),
    "straight quotes": (_straight, "[\"']"),
    "asterisks for dashes": (partial(re.sub, r"(?m)^(\s*)- ", r"\1* "), r"^\s*\* "),
    "dashes for asterisks": (partial(re.sub, r"(?m)^(\s*)\* ", r"\1- "), r"^\s*- "),
}
"""Rewrite to how it is written, and the form in which answers have to be met."""
