"""Ask whether a score stays where the same answer is written otherwise."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from statistics import fmean

from rewardsmith.auditing.asking import Asking
from rewardsmith.auditing.edits import UNIT, Effect, edit, examples_of, judge_edits, only
from rewardsmith.auditing.finding import Finding, Ladder, finding_of, severity_above
from rewardsmith.auditing.pair_baseline import PairPanel
from rewardsmith.auditing.phrases import Phrases
from rewardsmith.auditing.trials import Variant, Write, capitalized, shift_of
from rewardsmith.measures.intervals import Share

DISTANCES: Ladder = ((1.0, "high"), (0.5, "medium"))  # of a mean distance, in gaps
ADVICE = (
    "Train on ties of an answer and its rewrite (`is_tie`, which `rewardsmith.engines.trl.RewardTrainer` reads), or "
    "write all answers in one form before they are scored."
)


def _first(text: str, *, upper: bool) -> str:
    """Write the first letter large or small."""
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
"""Rewrite to how it is written, and the form in which answers have to be met."""


def invariance(panel: PairPanel) -> Asking:
    """Measure the mean distance between an answer's score and that of a rewrite, in gaps, rewrite by rewrite.

    Only into forms and tokens that the rows' answers have, as a small model is moved at random by what it never met.
    `auditing.invariance_gap` measures the same on pairs of your own.
    """
    phrases = Phrases(panel)
    met = [Variant(name, (edit(write),)) for name, (write, form) in REWRITES.items() if phrases.has(form)]

    def judge(variant: Variant, effects: list[Effect], flips: Share) -> Finding | None:
        prompts = [effect.trial.case.group for effect in effects]
        distance = shift_of([abs(effect.shift) for effect in effects], prompts, alpha=panel.alpha)
        severity = severity_above(distance.low, DISTANCES)
        if severity == "info":
            return None
        return finding_of(
            "invariance",
            severity,
            f"{capitalized(variant.label)}: the score of the same answer moves by {distance.value:.2f} gaps on "
            f"average ({fmean(effect.shift for effect in effects):+.2f} with its sign, {len(effects)} answers).",
            (*distance, len(effects)),
            advice=ADVICE,
            unit=UNIT,
            examples=examples_of(panel, effects, key=lambda effect: -abs(effect.shift)),
        )

    if_none = "the rows' answers have no two forms of which one can be written as the other"
    return judge_edits(panel, "invariance", [only(one, phrases.holds) for one in met], judge, if_none=if_none)
