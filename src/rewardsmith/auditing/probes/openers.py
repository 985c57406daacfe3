"""Probe whether an opener raises a score, before a rejected answer or alone."""

from __future__ import annotations

from functools import partial

from rewardsmith.auditing.asking import Asking, Outcome
from rewardsmith.auditing.edits import counterfactual, edit
from rewardsmith.auditing.pair_baseline import PairBaseline
from rewardsmith.auditing.phrases import Phrases
from rewardsmith.auditing.probes.content_free import always, drawn, in_place_of_answers
from rewardsmith.auditing.probes.writers import echo_before
from rewardsmith.auditing.trials import Variant
from rewardsmith.data import MASTER_KEYS

KEYS = (*MASTER_KEYS["openers"], *MASTER_KEYS["languages"])
ADVICE = (
    "Train on openers without an answer (`rewardsmith.data.add_truncated_negatives`), and gate the reward with "
    "`rewardsmith.rewards.RequireAnswer`."
)


def openers(baseline: PairBaseline) -> Asking:
    """Send openers shared by many answers, and master keys in known words, before an answer and alone.

    Before an answer without one, the control repeats as many of the answer's first words. Alone, an opener must score
    above an empty answer.
    """
    phrases = Phrases(baseline)
    own = phrases.openers()
    known = [*own, *(key for key in KEYS if key not in own and phrases.holds(key))]

    def opened(answer: str, *, text: str) -> str | None:
        return None if answer.startswith(tuple(known)) else f"{text} {answer}"

    before = yield from counterfactual(
        baseline,
        "openers",
        [
            Variant(
                f"“{text}” before it", (edit(partial(opened, text=text), partial(echo_before, n=len(text.split()))),)
            )
            for text in known
        ],
        ADVICE,
    )
    alone = yield from in_place_of_answers(
        baseline,
        "openers",
        [
            *(always(f"“{text}” alone", text) for text in known),
            *drawn("an opener that no answer contains, alone", [key for key in KEYS if key not in known]),
        ],
        ADVICE,
        over_nothing=True,
    )
    both_silent = before.not_run and alone.not_run
    return Outcome((*before.findings, *alone.findings), (*before.rates, *alone.rates), both_silent)
