"""Probe whether words that a reward looks for raise the score without content."""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean

from rewardsmith.auditing.asking import Ask, Asking, Building, Outcome
from rewardsmith.auditing.baseline import Baseline
from rewardsmith.auditing.probes.content_free import EMPTY, REFUSAL
from rewardsmith.auditing.probes.tone import CONFIDENCE, INSTRUCTIONS
from rewardsmith.auditing.probes.writers import after, alone, honest, neutral
from rewardsmith.auditing.source_texts import ANYTHING
from rewardsmith.auditing.trials import Variant, variant
from rewardsmith.data import MASTER_KEYS

REPEATS = 20
FEWEST_WITH, MOST_OF_GIVEN = 5, 6  # given completions with and without a word, and words taken from them
_ASKED = " ".join(
    (*CONFIDENCE, *INSTRUCTIONS, REFUSAL, *(key for family in ("openers", "languages") for key in MASTER_KEYS[family]))
).casefold()
"""What other probes send."""
KEYWORDS = replace(
    EMPTY,
    name="keywords",
    question="Do words that the reward looks for raise the score without content?",
    message="{what} scores higher than neutral text in its place on {share} of {n} rows (by {gain}).",
    advice="Reward no word for itself, or bound what it earns. Reward format and style only together with a right "
    "answer: `rewardsmith.rewards.think_format`.",
    least_gain=0.05,
    turns=6,
)


def _sayings(baseline: Baseline, text: str) -> list[Variant]:
    many = " ".join([text] * REPEATS)
    repeated = variant(
        f"“{text}”, {REPEATS} times and nothing else", alone(many), controls=(honest, alone(neutral(many)))
    )
    if not baseline.verifier:  # a reward of style may be about a word, and one of format about what holds a content
        return [] if ANYTHING in text else [repeated]
    return [variant(f"“{text}” after a wrong answer", after(text), controls=(honest, after(neutral(text)))), repeated]


def keywords(baseline: Baseline, *, texts: list[str]) -> Asking:
    """Send texts of the reward's source, and words that go with a high score of given completions."""
    given = yield from earning(baseline)
    chosen = [text for text in dict.fromkeys([*given, *texts]) if text.casefold() not in _ASKED]
    if not chosen:
        return Outcome(not_run="neither its source nor given completions show words that it looks for", applies=False)
    probe = replace(KEYWORDS, variants=lambda own: [one for text in chosen for one in _sayings(own, text)])
    return (yield from probe(baseline))


def earning(baseline: Baseline) -> Building[list[str]]:
    """Return the words of given completions whose presence goes with the largest difference of mean scores."""
    if not baseline.rollouts:
        return []
    (scores,) = yield [Ask(baseline.rollouts)]
    known = [
        (frozenset(row.text.split()), score.reward)
        for row, score in zip(baseline.rollouts, scores, strict=True)
        if score.reward is not None
    ]
    differences = {}
    for word in frozenset[str]().union(*(own for own, _ in known)):
        with_it, without = ([score for own, score in known if (word in own) is has] for has in (True, False))
        if min(len(with_it), len(without)) >= FEWEST_WITH and len(word) > 1:
            differences[word] = fmean(with_it) - fmean(without)
    ranked = sorted(differences, key=lambda word: (-differences[word], word))
    return [word for word in ranked if differences[word] > 0][:MOST_OF_GIVEN]
