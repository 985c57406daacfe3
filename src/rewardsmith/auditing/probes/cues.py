"""Ask whether a reward is as often right where a surface cue points to the rejected answer as to the chosen one."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from rewardsmith.auditing.asking import Answer, Outcome
from rewardsmith.auditing.finding import finding_of
from rewardsmith.auditing.pair_baseline import PairPanel
from rewardsmith.auditing.probes.accuracy import FEWEST_PAIRS, pair_example, share_won
from rewardsmith.auditing.trials import Shift
from rewardsmith.data import MASTER_KEYS, text_of
from rewardsmith.measures.intervals import Share

WIDE_DIFFERENCE = 0.2  # of accuracies; one that is surely wider is worth a look

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
    """The share of an answer's words that the prompt has too."""
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
"""What can be measured of an answer (and its prompt), whatever it says."""


def cues(panel: PairPanel) -> Answer:
    """Compare the two accuracies for every cue on which enough pairs differ either way, by Newcombe's interval.

    An observation, at most `low`: a cue may be a part of what quality is, and pairs in which it points the other way
    may be the harder ones. Counterfactual edits change the cue alone.
    """
    found: list[tuple[str, Share, Share, Shift, list[int]]] = []
    for name, cue in CUES.items():
        prompts = [text_of(row.prompt) for row in panel.rows]
        differences = [
            cue(panel.text(k, "chosen"), asked) - cue(panel.text(k, "rejected"), asked)
            for k, asked in enumerate(prompts)
        ]
        with_it = [pair for pair, difference in enumerate(differences) if difference > 0]
        without = [pair for pair, difference in enumerate(differences) if difference < 0]
        if min(len(with_it), len(without)) < FEWEST_PAIRS:
            continue
        favored, against = (share_won(panel, panel.margins, pairs) for pairs in (with_it, without))
        value = favored.value - against.value
        low = value - math.hypot(favored.value - favored.low, against.high - against.value)
        high = value + math.hypot(favored.high - favored.value, against.value - against.low)
        misled = sorted((k for k in without if panel.margins[k] < 0), key=lambda k: float(panel.margins[k]))
        found.append((name, favored, against, Shift(value, low, high), misled))
    if not found:
        return Outcome(not_run=f"no cue differs both ways in {FEWEST_PAIRS} pairs each")
    listed = ", ".join(
        f"{name} {favored.value:.0%} against {against.value:.0%}"
        for name, favored, against, *_ in sorted(found, key=lambda entry: -entry[3].value)
    )
    name, favored, against, gap, misled = max(found, key=lambda entry: entry[3].low)
    wide = gap.low > WIDE_DIFFERENCE
    return finding_of(
        "cues",
        "low" if wide else "info",
        "Accuracy where the chosen answer has the cue, against where the rejected one has: "
        + listed
        + "."
        + (" A cue may be part of quality; edits that change it alone decide." if wide else ""),
        (*gap, favored.n + against.n),
        advice="See what counterfactual edits of the cue say; if it is none of quality, balance it in the pairs "
        "(`weight`), or augment (`rewardsmith.data.causal_augment`, `neutral_augment`).",
        unit="share of pairs ranked right, cue with the label less against it",
        examples=[pair_example(panel, k, name) for k in misled[:3]],
        only_faults=True,
    )
