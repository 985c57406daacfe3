"""Probe surface cues: compare accuracy where a cue favors the chosen answer and where it favors the rejected one."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from rewardsmith.auditing.asking import Answer, Outcome
from rewardsmith.auditing.finding import finding_of
from rewardsmith.auditing.pair_baseline import PairBaseline
from rewardsmith.auditing.probes.accuracy import FEWEST_PAIRS, pair_example, share_won
from rewardsmith.auditing.trials import Shift
from rewardsmith.data import MASTER_KEYS, text_of
from rewardsmith.measures.intervals import Share

WIDE_DIFFERENCE = 0.2  # of accuracies; reported if the lower bound exceeds it

_OPENER = re.compile(
    "|".join(
        [*map(re.escape, MASTER_KEYS["openers"]), "sure", "certainly", "of course", "absolutely", "great question"]
    ),
    re.IGNORECASE,
)
_LIST = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s", re.MULTILINE)
_HEADING = re.compile(r"^#{1,6}\s", re.MULTILINE)
_BOLD = re.compile(r"\*\*[^*\n]+\*\*")
_WORD = re.compile(r"\w+")
_SURE = re.compile(r"\b(?:certain(?:ly)?|definitely|undoubtedly|clearly|without a doubt|absolutely)\b", re.IGNORECASE)
_UNSURE = re.compile(r"\b(?:not sure|perhaps|maybe|might|possibly|may be wrong|I think|I guess)\b", re.IGNORECASE)


def _words(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(text)]


def _overlap(text: str, prompt: str) -> float:
    """Return the share of an answer's words that occur in the prompt."""
    words, known = _words(text), set(_words(prompt))
    return sum(word in known for word in words) / len(words) if words else 0.0


CUES: dict[str, Callable[[str, str], float]] = {
    "more words": lambda text, prompt: len(text.split()),
    "more list items": lambda text, prompt: len(_LIST.findall(text)),
    "more bold": lambda text, prompt: len(_BOLD.findall(text)),
    "more headings": lambda text, prompt: len(_HEADING.findall(text)),
    "a stock opener": lambda text, prompt: float(bool(_OPENER.match(text.lstrip()))),
    "a surer tone": lambda text, prompt: len(_SURE.findall(text)) - len(_UNSURE.findall(text)),
    "more of the prompt's words": _overlap,
}
"""Surface features of an answer, given its prompt."""


def cues(baseline: PairBaseline) -> Answer:
    """Compare accuracy with and against every cue that enough pairs have, by Newcombe's interval.

    At most `low`, as a cue may be a part of quality, and pairs where it points the other way may be harder.
    Counterfactual edits change only the cue.
    """
    found: list[tuple[str, Share, Share, Shift, list[int]]] = []
    for name, cue in CUES.items():
        prompts = [text_of(row.prompt) for row in baseline.rows]
        differences = [
            cue(baseline.text(k, "chosen"), asked) - cue(baseline.text(k, "rejected"), asked)
            for k, asked in enumerate(prompts)
        ]
        with_it = [pair for pair, difference in enumerate(differences) if difference > 0]
        without = [pair for pair, difference in enumerate(differences) if difference < 0]
        if min(len(with_it), len(without)) < FEWEST_PAIRS:
            continue
        favored, against = (share_won(baseline, baseline.margins, pairs) for pairs in (with_it, without))
        value = favored.value - against.value
        low = value - math.hypot(favored.value - favored.low, against.high - against.value)
        high = value + math.hypot(favored.high - favored.value, against.value - against.low)
        misled = sorted((k for k in without if baseline.margins[k] < 0), key=lambda k: float(baseline.margins[k]))
        found.append((name, favored, against, Shift(value, low, high), misled))
    if not found:
        return Outcome(not_run=f"no cue differs in both directions in {FEWEST_PAIRS} pairs each")
    listed = ", ".join(
        f"{name} {favored.value:.0%} and {against.value:.0%}"
        for name, favored, against, *_ in sorted(found, key=lambda entry: -entry[3].value)
    )
    name, favored, against, difference, misled = max(found, key=lambda entry: entry[3].low)
    wide = difference.low > WIDE_DIFFERENCE
    return finding_of(
        "cues",
        "low" if wide else "info",
        "Accuracy where the chosen and where the rejected answer has the cue: "
        + listed
        + "."
        + (" A cue may be part of quality." if wide else ""),
        (*difference, favored.n + against.n),
        advice="Compare the findings of edits that change only the cue. If it is no part of quality, balance the pairs "
        "(`weight`) or augment (`rewardsmith.data.causal_augment`, `neutral_augment`).",
        unit="share ranked correctly, with the cue less against it",
        examples=[pair_example(baseline, k, name) for k in misled[:3]],
        only_faults=True,
    )
