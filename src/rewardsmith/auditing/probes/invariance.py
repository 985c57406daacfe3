"""Probe whether rewriting an answer without changing its content changes the score."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from statistics import fmean

from rewardsmith.auditing.asking import Asking
from rewardsmith.auditing.edits import UNIT, Effect, edit, examples_of, judge_edits, only
from rewardsmith.auditing.finding import Finding, Ladder, finding_of, severity_above
from rewardsmith.auditing.pair_baseline import PairBaseline
from rewardsmith.auditing.phrases import Phrases
from rewardsmith.auditing.trials import Variant, Write, capitalized, shift_of
from rewardsmith.measures.intervals import Share

DISTANCES: Ladder = ((1.0, "high"), (0.5, "medium"))  # of a mean distance, in units
ADVICE = (
    "Train on ties of an answer and its rewrite (`is_tie`, which `rewardsmith.engines.trl.RewardTrainer` reads), or "
    "normalize all answers before they are scored."
)


def _first(text: str, *, upper: bool) -> str:
    """Write the first letter in upper or lower case."""
    found = re.search(r"[^\W\d_]", text)
    if found is None:
        return text
    return text[: found.start()] + (found[0].upper() if upper else found[0].lower()) + text[found.end() :]


REWRITES: Mapping[str, tuple[Write, str]] = {
    "its last period left out": (partial(re.sub, r"\.\s*$", ""), r"\w\s*\Z"),
    "a last period": (
        lambda text: None if re.search(r"[^\w\s]\s*$", text) else f"{text.rstrip()}.",
        r"\.\s*\Z",
    ),
    "a small first letter": (partial(_first, upper=False), r"\A\W*[a-z]"),
    "a capital first letter": (partial(_first, upper=True), r"\A\W*[A-Z]"),
    "a line for every sentence": (partial(re.sub, r"(?<=[.!?]) +(?=[A-Z])", "\n"), r"[.!?]\n(?=[A-Z])"),
    "its lines run on": (partial(re.sub, r"(?<=[.!?])\n+(?=[A-Z])", " "), r"[.!?] (?=[A-Z])"),
    "two blanks between sentences": (partial(re.sub, r"(?<=[.!?]) (?=[A-Z])", "  "), r"[.!?]  (?=[A-Z])"),
    "a line break at the end": (lambda text: f"{text.rstrip()}\n", r"\n\Z"),
    "no blanks at the end": (str.rstrip, r"\S\Z"),
    "curly quotes": (lambda text: re.sub(r'"([^"\n]*)"', r"“\1”", text).replace("'", "’"), "[“”’]"),
    "straight quotes": (lambda text: re.sub("[“”]", '"', text).replace("’", "'"), "[\"']"),
    "asterisks for dashes": (partial(re.sub, r"(?m)^(\s*)- ", r"\1* "), r"^\s*\* "),
    "dashes for asterisks": (partial(re.sub, r"(?m)^(\s*)\* ", r"\1- "), r"^\s*- "),
}
"""Rewrite → its writer, and the pattern that some answers must already match."""


def invariance(baseline: PairBaseline) -> Asking:
    """Measure the mean score difference between an answer and each kind of rewrite, in units.

    Only patterns and tokens of the rows' answers are written, as unseen ones move a small model at random.
    `auditing.invariance_gap` measures the same on given pairs.
    """
    phrases = Phrases(baseline)
    met = [Variant(name, (edit(write),)) for name, (write, form) in REWRITES.items() if phrases.has(form)]

    def judge(variant: Variant, effects: list[Effect], flips: Share) -> Finding | None:
        prompts = [effect.trial.case.group for effect in effects]
        distance = shift_of([abs(effect.shift) for effect in effects], prompts, alpha=baseline.alpha)
        severity = severity_above(distance.low, DISTANCES)
        if severity == "info":
            return None
        return finding_of(
            "invariance",
            severity,
            f"{capitalized(variant.label)} moves the score of an answer by {distance.value:.2f} units on average "
            f"({fmean(effect.shift for effect in effects):+.2f} with its sign, {len(effects)} answers).",
            (*distance, len(effects)),
            advice=ADVICE,
            unit=UNIT,
            examples=examples_of(baseline, effects, key=lambda effect: -abs(effect.shift)),
        )

    if_none = "the rows' answers do not show two ways of writing that can be exchanged"
    return judge_edits(baseline, "invariance", [only(one, phrases.holds) for one in met], judge, if_none=if_none)
