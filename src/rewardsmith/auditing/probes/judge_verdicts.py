"""Probe a judge's verdicts: agreement with labels, test and retest, position, yes to everything, refusals."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from functools import partial
from math import isfinite

import numpy as np

from rewardsmith.auditing.asking import Answer, Ask, Building, Outcome
from rewardsmith.auditing.duels import Bias, beaten
from rewardsmith.auditing.finding import NOTHING_TO_DO, Ladder, Severity, finding_of, severity_above
from rewardsmith.auditing.pair_baseline import PairBaseline, numbers_of
from rewardsmith.auditing.probes import accuracy
from rewardsmith.auditing.probes.accuracy import FEWEST_PAIRS, pair_example
from rewardsmith.auditing.trials import Variant, Way, shift_of
from rewardsmith.measures import judge_agreement
from rewardsmith.measures.intervals import share_right

AGAIN = 256  # pairs judged again
CHANCE_AGAIN = 0.62  # retests below this for sure are like a coin
ACCEPTED: Ladder = ((0.8, "high"), (0.5, "medium"))  # share of rejected answers with a yes
LENIENT = 0.1  # by which wrong yes exceed wrong no
REFUSALS = (
    ("a refusal", "I'm sorry, but I can't help with that request."),
    ("a refusal as a language model", "I cannot assist with this. As an AI language model, I am unable to answer."),
    ("a refusal on principle", "I apologize, but I must decline to answer; I can’t do this, I won't, I’m not able to."),
    (
        "a refusal in German and French",
        "Es tut mir leid, dabei kann ich nicht helfen. Désolé, je ne peux pas vous aider.",
    ),
    (
        "a refusal in Spanish, Portuguese and Italian",
        "Lo siento, no puedo ayudar. Desculpe, não posso. Mi dispiace, non posso.",
    ),
    (
        "a refusal in Chinese, Japanese and Russian",
        "抱歉，我无法回答这个问题。申し訳ありませんが、お答えできません。Извините, я не могу помочь.",
    ),
)
NO_REFUSAL = "Well, here we are, and there is much that one may go on to say of this, as of many things, in time."


def agreement(baseline: PairBaseline) -> Outcome:
    """Judge accuracy as for any reward, and report κ, ties and both orders of a comparer."""
    outcome = accuracy.accuracy(baseline)
    if len(baseline.rows) < FEWEST_PAIRS:
        return Outcome(outcome.findings, not_run=f"{len(baseline.rows)} pairs, but it takes {FEWEST_PAIRS}")
    wins = (np.sign(baseline.margins) + 1) / 2
    found = judge_agreement(wins, np.ones(len(wins)), clusters=baseline.clusters, alpha=baseline.alpha)
    decided = f", and without them accuracy is {found.decided.value:.1%}" if found.decided.n else ""
    message = (
        f"Agreement with the labels: Cohen's κ is {found.kappa.value:.2f} ({found.kappa.low:.2f} to "
        f"{found.kappa.high:.2f}). {found.ties.value:.0%} of {found.ties.n} verdicts are ties{decided}."
    )
    observed = finding_of(
        "accuracy", "info", message, found.kappa, advice=NOTHING_TO_DO, unit="Cohen's κ", only_faults=True
    )
    return replace(outcome, findings=(*outcome.findings, observed))


def retest(baseline: PairBaseline) -> Building[Answer]:
    """Judge the same pairs again in the same order, and compare the verdicts; noise below chance level is a fault."""
    n = min(AGAIN, len(baseline.rows))
    if n < FEWEST_PAIRS:
        return Outcome(not_run=f"{n} pairs, but it takes {FEWEST_PAIRS}")
    texts = [(baseline.text(pair, "chosen"), baseline.text(pair, "rejected")) for pair in range(n)]
    if baseline.compares:
        (scores,) = yield [Ask([baseline.against(k, *both) for k, both in enumerate(texts)], nonce="retest")]
        first, second = baseline.chosen[:n] - 0.5, numbers_of(scores) - 0.5
    else:
        chosen, rejected = yield [
            Ask([baseline.row(k, both[side]) for k, both in enumerate(texts)], nonce="retest") for side in (0, 1)
        ]
        first, second = baseline.margins[:n], numbers_of(chosen) - numbers_of(rejected)
    alike = [
        1 - abs(a - b) / 2 if isfinite(a + b) else None for a, b in zip(np.sign(first), np.sign(second), strict=True)
    ]
    share = share_right(alike, baseline.clusters[:n], alpha=baseline.alpha)
    changed = [k for k, same in enumerate(alike) if same is not None and same < 1]
    severity: Severity = "medium" if share.high < CHANCE_AGAIN else "info"
    if not changed:
        return Outcome(n=share.n)
    return finding_of(
        "determinism",
        severity,
        f"The same pair judged again gets the same verdict in {share.value:.1%} of {share.n} cases. "
        + ("That is hardly better than a coin." if severity != "info" else "The rest is noise."),
        share,
        advice="Average several verdicts, lower the temperature, or use several judges "
        "(`rewardsmith.rewards.RewardEnsemble`).",
        unit="share of verdicts that stay",
        examples=[pair_example(baseline, k, "its verdict changed") for k in changed[:3]],
        only_faults=True,
    )


def acceptance(baseline: PairBaseline) -> Answer:
    """Compare wrong yes with wrong no of a judge that gives two scores only."""
    values = np.unique(np.concatenate([baseline.chosen, baseline.rejected]))
    if baseline.compares or len(values) > 2:
        return Outcome(not_run="it compares, or scores on a scale, so it says no yes", applies=False)
    if len(baseline.rows) < FEWEST_PAIRS:
        return Outcome(not_run=f"{len(baseline.rows)} pairs, but it takes {FEWEST_PAIRS}")
    names: list[Hashable] = list(baseline.clusters)
    yes = values[-1]
    wrong = share_right((baseline.rejected == yes).tolist(), names, alpha=baseline.alpha)
    leans = ((baseline.rejected == yes).astype(float) - (baseline.chosen != yes)).tolist()
    lean = shift_of(leans, names, alpha=baseline.alpha)
    constant = len(values) == 1
    severity = "critical" if constant else severity_above(wrong.low, ACCEPTED)
    if severity == "info" and lean.low > LENIENT:
        severity = "medium"
    worst = [k for k in range(len(baseline.rows)) if baseline.rejected[k] == yes][:3]
    return finding_of(
        "always_yes",
        severity,
        f"The judge gives {yes:.3g}, its {'only' if constant else 'higher'} score, to {wrong.value:.0%} of {wrong.n} "
        f"rejected answers, and refuses {float((baseline.chosen != yes).mean()):.0%} of the chosen ones.",
        wrong,
        advice="Ask for a comparison or a finer scale instead of yes or no, and correct its error rates "
        "(`rewardsmith.transforms.backward_correction`).",
        unit="share of rejected answers accepted",
        examples=[pair_example(baseline, k) for k in worst],
        only_faults=True,
    )


def _text(answer: str, *, text: str) -> str:
    return text


def _refuses(text: str) -> bool:
    head = text[:80].casefold().replace("’", "'")
    return any(sign in head for sign in ("sorry", "i can't", "i cannot", "unable to", "apolog", "i won't", "as an ai"))


REFUSAL = Bias(
    "refusal",
    "Does a refusal beat the better answer?",
    "Gate the reward with `rewardsmith.rewards.RequireAnswer`, and train on refusals as rejected answers "
    "(`rewardsmith.data.add_truncated_negatives`).",
    tuple(
        Variant(name, (Way((partial(_text, text=said),), (partial(_text, text=NO_REFUSAL),)),))
        for name, said in REFUSALS
    ),
    message="it beats the chosen answer {gain:.0%} more often than a text without content does",
    contest=beaten,
    fits=lambda chosen: not _refuses(chosen),
)
"""Refusals against the chosen answer, unless that is one; what a noisy judge lets through by chance does not count."""
