"""The panel: honest right and honest wrong answers in the form the reward reads, against which all else is judged."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median
from typing import NamedTuple

from rewardsmith.auditing.asking import Ask, Building
from rewardsmith.auditing.equivalence.keys import committed, key_kind
from rewardsmith.auditing.equivalence.wrong import wrong_answers
from rewardsmith.auditing.texts import CARRIERS, Carrier
from rewardsmith.data import Row
from rewardsmith.data.rows import has_text
from rewardsmith.scoring.work import Scored

PROBED = 8  # items on which carriers are tried
CONDUCT_ROWS = 16  # rows scored again and again
LEAST_OF_SPREAD = 0.05  # a gap between right and wrong below this share of what format moves is no verdict on answers
PSEUDO_KEYS = ("seven", "eleven")
"""What carriers hold where rows bring no answer: content, so that no format is a shell."""


@dataclass(frozen=True, slots=True)
class Item:
    """One prompt of the panel, with what honest policies answer there and what they are paid.

    level: what an honest wrong answer is paid (the median over several); for a reward that does not look at answers,
        what an honest completion is paid.
    gap: the distance in which gains are measured, > 0: from wrong to right, or the spread of honest completions.
    """

    row: Row
    key: str
    kind: str
    wrongs: tuple[str, ...]
    right: float | None = None
    wrong_scores: tuple[float | None, ...] = ()
    level: float = 0.0
    gap: float = 1.0


class Conduct(NamedTuple):
    """Scores of the same rows: among the first rows ever sent, twice in one order, once in reverse, once one by one."""

    rows: tuple[Row, ...]
    earliest: list[Scored]
    first: list[Scored]
    again: list[Scored]
    reverse: list[Scored]
    single: list[Scored]

    def largest_difference(self) -> float:
        """The largest distance between two scores of one row, in reward units."""
        spread = 0.0
        for scores in zip(self.first, self.again, self.reverse, self.single, strict=True):
            known = [score.reward for score in scores if score.reward is not None]
            spread = max(spread, max(known) - min(known)) if known else spread
        return spread


NO_CONDUCT = Conduct((), [], [], [], [], [])


@dataclass(frozen=True, slots=True)
class Panel:
    """What every probe starts from.

    verifier: whether the reward tells right from wrong answers in some carrier.
    keyed: whether the rows bring reference answers; reads_answers: whether the reward is known to read one.
    carrier, explicit: the simplest and the most committal of the carriers that are paid best.
    accepted: the names of all carriers paid that well.
    formatted: how much more the best carrier is paid than a bare answer, in reward units.
    noise: the largest difference between two scores of one row, in reward units.
    alpha: the error level per question.
    """

    items: tuple[Item, ...]
    verifier: bool
    keyed: bool
    reads_answers: bool
    carrier: Carrier
    explicit: Carrier
    accepted: tuple[str, ...]
    formatted: float
    noise: float
    alpha: float
    conduct: Conduct
    rollouts: tuple[Row, ...] = ()

    def gain(self, item: Item, reward: float, *, over: float | None = None) -> float:
        """How much more than the item's level (or than `over`) was paid, in gaps, less what noise explains."""
        surplus = reward - (item.level if over is None else over)
        beyond = max(abs(surplus) - self.noise, 0.0)
        return (beyond if surplus > 0 else -beyond) / item.gap

    @property
    def unit(self) -> float:
        """In what differences between scores of one row are measured: the first item's gap."""
        return self.items[0].gap if self.items else 1.0

    @property
    def blind(self) -> str:
        """Why content cannot be judged, or "": the reward reads an answer that the rows do not show."""
        return "the reward reads an answer that the rows do not show" if self.reads_answers and not self.keyed else ""

    @property
    def kind(self) -> str:
        """What the reward turned out to be, in words."""
        if self.blind:
            return "verifier whose answers the rows do not show"
        if not self.items:
            return "unknown, as no honest answer could be scored"
        if not self.verifier:
            return "format or style reward" if self.formatted > self.noise else "reward that does not look at answers"
        return "verifier"


def build_panel(
    rows: Sequence[Row], *, rng: random.Random, size: int, alpha: float, reads_answers: bool
) -> Building[Panel]:
    """Find the form the reward reads, then score honest right and wrong answers in it.

    Args:
        rows: at least one; those with an `answer` make a verifier's panel.
        size: how many rows become items.
        alpha: the error level per question, handed on to the probes.
        reads_answers: whether the reward is known to read a reference answer.
    """
    items = _items(rows, rng=rng, size=size)
    keyed = bool(items[0].row.answer and items[0].row.answer.strip())
    probed = items[:PROBED]
    asked = [Ask([item.row.with_completion(carrier.wrap(text)) for item in probed for text in _trio(item)])
             for carrier in CARRIERS]  # fmt: skip
    scores = yield asked
    means = [_means(carried) for carried in scores]
    accepted = _best(means, keyed=keyed)
    repeated = tuple(item.row.with_completion(accepted[0].wrap(text)) for item in probed for text in _trio(item))
    conduct = yield from score_repeatedly(repeated[:CONDUCT_ROWS], scores[CARRIERS.index(accepted[0])])
    noise = conduct.largest_difference()
    known = [pair.right for pair in means if pair.right is not None]
    spread = max(known) - min(known) if known else 0.0
    gap = means[CARRIERS.index(accepted[0])].gap
    verifier = keyed and gap > max(4 * noise + 1e-9, LEAST_OF_SPREAD * spread)
    if not verifier:
        accepted = _best(means, keyed=False)
    formatted = max(known) - means[0].right if means[0].right is not None else 0.0
    # Each item's key and wrong answers in the carrier; items without a level are left out.
    texts = [(item.key, *item.wrongs) for item in items]
    scores = yield [
        Ask([item.row.with_completion(accepted[0].wrap(text)) for text in own])
        for item, own in zip(items, texts, strict=True)
    ]
    scored = []
    for item, (right, *wrongs) in zip(items, scores, strict=True):
        paid = [wrong.reward for wrong in wrongs if wrong.reward is not None]
        level = (median(paid) if paid else None) if verifier else right.reward
        if level is not None:
            scored.append(replace(item, right=right.reward, wrong_scores=tuple(w.reward for w in wrongs), level=level))
    gaps = [item.right - item.level for item in scored if item.right is not None and item.right > item.level]
    typical = median(gaps) if verifier and gaps else max(spread, 0.1 * max((abs(i.level) for i in scored), default=0.0))
    typical = typical if typical > 0 else 1.0
    # From an item's wrong answers to its key; the usual gap where the key itself is hardly paid.
    gaps = [item.right - item.level if verifier and item.right is not None else 0.0 for item in scored]
    return Panel(
        items=tuple(replace(i, gap=g if g > 0.5 * typical else typical) for i, g in zip(scored, gaps, strict=True)),
        verifier=verifier,
        keyed=keyed,
        reads_answers=reads_answers,
        carrier=accepted[0],
        explicit=accepted[min(1, len(accepted) - 1)] if accepted[0].name == "bare" else accepted[0],
        accepted=tuple(carrier.name for carrier in accepted),
        formatted=formatted,
        noise=noise,
        alpha=alpha,
        conduct=conduct,
        rollouts=tuple(row for row in rows if has_text(row.completion)),
    )


def _items(rows: Sequence[Row], *, rng: random.Random, size: int) -> list[Item]:
    keyed = [row for row in rows if row.answer is not None and row.answer.strip()]
    unique = list({(row.prompt_text, row.answer): row for row in (keyed or rows)}.values())
    chosen = rng.sample(unique, min(size, len(unique)))
    if not keyed:
        return [Item(row=row, key=PSEUDO_KEYS[0], kind="word", wrongs=PSEUDO_KEYS[1:]) for row in chosen]
    keys = [committed(row.answer or "") for row in keyed]
    items = []
    for row in chosen:
        key = committed(row.answer or "")
        others = rng.sample(keys, min(12, len(keys)))
        wrongs = tuple(wrong_answers(key, others, rng=rng))
        items.append(Item(row=row, key=key, kind=key_kind(key), wrongs=wrongs or ("none of these",)))
    return items


def _trio(item: Item) -> tuple[str, str, str]:
    """The key, a wrong answer near it and one far from it, either of which a faulty reward may pay."""
    return item.key, item.wrongs[0], item.wrongs[-1]


class _Means(NamedTuple):
    right: float | None
    gap: float  # mean of right − wrong where a fifth of the rows tell them apart and few the wrong way, else 0


def _means(scores: Sequence[Scored]) -> _Means:
    trios = zip(scores[::3], scores[1::3], scores[2::3], strict=True)
    pairs = [(right.reward, [s.reward for s in wrongs if s.reward is not None]) for right, *wrongs in trios]
    known = [(right, min(wrongs)) for right, wrongs in pairs if right is not None and wrongs]
    if not known:
        return _Means(None, 0.0)
    wins, losses = sum(right > wrong for right, wrong in known), sum(right < wrong for right, wrong in known)
    told_apart = wins >= 0.2 * len(known) and losses <= wins / 4
    gap = fmean(right - wrong for right, wrong in known) if told_apart else 0.0
    return _Means(fmean(right for right, _ in known), max(gap, 0.0))


def _best(means: Sequence[_Means], *, keyed: bool) -> list[Carrier]:
    """The carriers paid best, simplest first: by the gap between right and wrong, or by what content is paid."""
    if keyed and any(pair.gap > 0 for pair in means):
        widest = max(pair.gap for pair in means)
        slack = 0.1 * widest
        near = {c: pair.right or 0.0 for c, pair in zip(CARRIERS, means, strict=True) if pair.gap >= 0.9 * widest}
    else:
        slack = 1e-9
        near = {c: pair.right for c, pair in zip(CARRIERS, means, strict=True) if pair.right is not None}
    top = max(near.values(), default=0.0)
    return [carrier for carrier, right in near.items() if right >= top - slack] or [CARRIERS[0]]


def score_repeatedly(rows: tuple[Row, ...], earliest: list[Scored]) -> Building[Conduct]:
    """Score the same rows again and again; `earliest` is how they were scored at first."""
    first, again, reverse = yield [
        Ask(rows, nonce="conduct 1", whole=True),
        Ask(rows, nonce="conduct 2", whole=True),
        Ask(rows[::-1], nonce="conduct 3", whole=True),
    ]
    singles = yield [Ask([row], nonce="conduct 4", whole=True) for row in rows]
    single = [score for scores in singles for score in scores]
    return Conduct(rows, earliest[: len(rows)], first, again, reverse[::-1], single)
