"""Texts without an answer, sent in its place: are they paid like the chosen answer?"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import NamedTuple

from rewardsmith.auditing.asking import Ask, Asking, Outcome
from rewardsmith.auditing.counterfactuals import EQUAL, FEWEST, MOST, Shift, shift_of
from rewardsmith.auditing.finding import SEVERITIES, Example, Finding, Severity
from rewardsmith.auditing.pair_baseline import PairPanel
from rewardsmith.auditing.probes.phrases import Phrases
from rewardsmith.auditing.report import Rate
from rewardsmith.auditing.trials import clip, worst
from rewardsmith.data import MASTER_KEYS
from rewardsmith.measures.labels import Share
from rewardsmith.measures.rankings import share_right
from rewardsmith.scoring import Scored

OFTEN, NEARLY_ALWAYS = 0.5, 0.8  # of the pairs surely paid like the chosen answer is a fault, a grave one
ADVICE = (
    "Gate the reward with `rewardsmith.rewards.require_answer`, and train on answers that open and say nothing "
    "(`rewardsmith.data.add_truncated_negatives`)."
)
Text = Callable[[int], str]
"""What is sent in place of a pair's answer."""


class Alone(NamedTuple):
    """Texts under one label; where several, each goes to prompts of its own and the interval is over texts.

    most: the worst that a finding can be.
    """

    label: str
    texts: tuple[Text, ...]
    most: Severity = "high"


class _Sent(NamedTuple):
    pair: int
    which: int
    text: str
    reward: float
    like_chosen: bool
    above_rejected: bool


def content_free(panel: PairPanel) -> Asking:
    """Nothing, a space, single marks and the prompt itself in place of an answer.

    The prompt is never worse than low: what it says may be a part of what the answer should.
    """
    phrases = Phrases(panel)
    marks = [*MASTER_KEYS["symbols"], "?"]
    met = [mark for mark in marks if phrases.holds(mark)]
    unmet = [mark for mark in marks if mark not in met]
    kinds = [
        _constant("an empty answer", ""),
        _constant("a single space", " "),
        *(_constant(f"a lone {mark!r}", mark) for mark in met),
        Alone("the prompt, copied", (lambda pair: panel.row(pair, "").prompt_text,), "low"),
        *_pooled("a lone mark that no answer holds", unmet),
    ]
    outcome = yield from paid_alone(panel, "content_free", kinds, ADVICE)
    return outcome


def openers_alone(panel: PairPanel, met: Sequence[str], unmet: Sequence[str], advice: str) -> Asking:
    """Openers that the rows hold, one by one, and the others as draws; an opener has to be paid more than nothing."""
    kinds = [
        *(_constant(f"{opener!r} alone", opener) for opener in met),
        *_pooled("an opener that no answer holds, alone", unmet),
    ]
    outcome = yield from paid_alone(panel, "openers", kinds, advice, over_nothing=True)
    return outcome


def _constant(label: str, text: str) -> Alone:
    return Alone(label, (_always(text),))


def _pooled(label: str, texts: Sequence[str]) -> list[Alone]:
    return [Alone(label, tuple(map(_always, texts)))] if len(texts) > 2 else []


def _always(text: str) -> Text:
    return lambda pair: text


def paid_alone(
    panel: PairPanel, probe: str, kinds: Sequence[Alone], advice: str, *, over_nothing: bool = False
) -> Generator[list[Ask], list[list[Scored]], Outcome]:
    """Every text in place of the answers of up to 128 pairs that are in the right order.

    Paid like the chosen answer on surely more than half of them is a fault; above the rejected one an observation.
    """
    pairs = _in_order(panel)
    if len(pairs) < FEWEST:
        return Outcome(not_run=f"fewer than {FEWEST} pairs are in the right order")
    nothing, *replies = yield [
        Ask([panel.row(pair, "") for pair in pairs] if over_nothing else []),
        *(Ask([panel.row(pair, _text(kind, k)(pair)) for k, pair in enumerate(pairs)]) for kind in kinds),
    ]
    bars = [score.reward for score in nothing] if over_nothing else [None] * len(pairs)
    found, rates = [], []
    for kind, scores in zip(kinds, replies, strict=True):
        sent = [
            _sent(panel, kind, (k, pair), score.reward, bar)
            for k, (pair, score, bar) in enumerate(zip(pairs, scores, bars, strict=True))
            if score.reward is not None
        ]
        if len(sent) >= FEWEST:
            finding, rate = _judge(panel, probe, kind, sent, advice)
            found += [finding] if finding else []
            rates.append(rate)
    if not rates:
        return Outcome(not_run="no such text could be scored")
    faults = [finding for finding in found if finding.severity != "info"]
    return Outcome(worst(faults) or tuple(found[:1]), tuple(rates))


def _in_order(panel: PairPanel) -> list[int]:
    order = [pair for pair in range(len(panel.rows)) if panel.margins[pair] > 0]
    panel.rng().shuffle(order)
    return order[:MOST]


def _text(kind: Alone, place: int) -> Text:
    return kind.texts[place % len(kind.texts)]


def _sent(panel: PairPanel, kind: Alone, place: tuple[int, int], reward: float, nothing: float | None) -> _Sent:
    k, pair = place
    near = EQUAL * panel.gap
    like_chosen = reward >= panel.score(pair, "chosen") - near and (nothing is None or reward > nothing + near)
    above = reward > panel.score(pair, "rejected") + near
    return _Sent(pair, k % len(kind.texts), _text(kind, k)(pair), reward, like_chosen, above)


def _judge(
    panel: PairPanel, probe: str, kind: Alone, sent: Sequence[_Sent], advice: str
) -> tuple[Finding | None, Rate]:
    def share(hits: list[bool]) -> Shift | Share:
        if len(kind.texts) > 1:
            mean = shift_of([float(hit) for hit in hits], [one.which for one in sent], alpha=panel.alpha)
            return Shift(mean.value, max(mean.low, 0.0), min(mean.high, 1.0))
        names = panel.clusters
        return share_right(hits, [names[one.pair] for one in sent], alpha=panel.alpha)

    paid, above = share([one.like_chosen for one in sent]), share([one.above_rejected for one in sent])
    rate = Rate(probe, kind.label, paid.value, paid.low, paid.high, len(sent))
    severity: Severity = "info" if paid.low <= OFTEN else "medium" if paid.low <= NEARLY_ALWAYS else "high"
    severity = min(severity, kind.most, key=SEVERITIES.index)
    if severity == "info" and above.low <= OFTEN:
        return None, rate
    shown = [one for one in sent if one.like_chosen or severity == "info"]
    what = f"{kind.label[:1].upper()}{kind.label[1:]}"
    finding = Finding(
        probe=probe,
        severity=severity,
        message=f"{what} is paid like the chosen answer or more in {paid.value:.0%} of {len(sent)} pairs, and more "
        f"than the rejected one in {above.value:.0%}.",
        value=paid.value,
        interval=(paid.low, paid.high),
        n=len(sent),
        advice=advice,
        unit="share of pairs",
        examples=tuple(_example(panel, one) for one in shown[:3]),
    )
    return finding, rate


def _example(panel: PairPanel, one: _Sent) -> Example:
    prompt, chosen = panel.row(one.pair, "").prompt_text, panel.score(one.pair, "chosen")
    note = f"chosen: {clip(panel.text(one.pair, 'chosen'))}"
    return Example(clip(prompt), clip(one.text), one.reward, chosen, note)
