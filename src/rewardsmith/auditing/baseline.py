"""Build the baseline of an audit: honest right and wrong answers in the format that the reward reads."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median
from typing import NamedTuple

from rewardsmith.auditing.asking import Ask, Building
from rewardsmith.auditing.known_right import given_formats, learned_answers, rows_with_field
from rewardsmith.auditing.repeats import Conduct, score_repeatedly
from rewardsmith.auditing.texts import ANSWER_FORMATS, REPEATED_FORMATS, AnswerFormat
from rewardsmith.data import Row
from rewardsmith.data.keys import Answers
from rewardsmith.data.rows import has_text
from rewardsmith.equivalence.keys import committed, equivalent, key_kind
from rewardsmith.equivalence.wrong import wrong_answers
from rewardsmith.scoring.work import Scored

PROBED = 8  # items on which answer formats are tried
SIMPLEST = 4  # answer formats that are tried on four times as many items where none separates right from wrong
CONDUCT_ROWS = 16  # rows scored repeatedly
LEAST_OF_SPREAD = 0.05  # of the spread over formats, which right minus wrong must exceed in a verifier
PSEUDO_KEYS = ("seven", "eleven")
"""Answers used where rows have none, so that no format is empty."""


@dataclass(frozen=True, slots=True)
class Item:
    """One prompt of the baseline, with honest answers and their scores.

    others: further accepted answers, which are never wrong ones.
    level: median score of honest wrong answers, or of an honest completion if the reward ignores answers.
    unit: > 0, the unit of gains: right minus wrong, or the spread of honest completions.
    """

    row: Row
    key: str
    kind: str
    wrongs: tuple[str, ...]
    right: float | None = None
    wrong_scores: tuple[float | None, ...] = ()
    level: float = 0.0
    unit: float = 1.0
    others: tuple[str, ...] = ()

    def accepts(self, text: str) -> bool:
        """Return whether a text is one of the further accepted answers."""
        return any(text.strip().casefold() == own.strip().casefold() or equivalent(text, own) for own in self.others)

    @property
    def trio(self) -> tuple[str, str, str]:
        """The key, and the wrong answers nearest to it and farthest from it; a faulty reward may accept either."""
        return self.key, self.wrongs[0], self.wrongs[-1]

    @property
    def ends(self) -> tuple[str, ...]:
        """The wrong answers nearest to the key and farthest from it, each once."""
        return tuple(dict.fromkeys(self.trio[1:]))


class Sizes(NamedTuple):
    """How many calls the parts of an audit may take.

    items: prompts. tried: of them, those on which each variant of a question is tried at first; None is all.
    others: calls at first of a question about keys. probed: items on which answer formats are tried.
    conduct: rows scored repeatedly.
    """

    items: int
    tried: int | None = None
    others: int | None = None
    probed: int = PROBED
    conduct: int = CONDUCT_ROWS


ALL = Sizes(0)
MOST_ITEMS, MOST_IN_FULL, TRIED, OTHERS = 256, 64, 32, 512
USUAL_BUDGET = 15_000
SEARCH_SHARE, CLOSER_SHARE = 0.1, 0.2
"""Shares of a large budget for the search and for closer looks; a budget of 400 calls has none for them."""
CALLS_IN_FULL, CALLS_IN_TURN = 240, 25
"""Calls per prompt that gets every variant, or one of each question."""


def sizes_of(budget: int, n_rows: float) -> Sizes:
    """Return the sizes of an audit with a budget of calls and so many rows.

    Each variant is tried on every prompt, if the budget allows that for all of at most 64 prompts. Else there are as
    many prompts, up to 256, as get one variant of every question in turn.
    """
    if n_rows <= MOST_IN_FULL and n_rows * CALLS_IN_FULL <= budget * (1 - SEARCH_SHARE):
        return Sizes(int(n_rows))
    probed = min(max(budget // 400, 1), PROBED)
    kept = (SEARCH_SHARE + CLOSER_SHARE) * min(max((budget - 400) / 2600, 0.0), 1.0)
    left = budget * (1 - kept) - 50 - 65 * (probed - 1)  # formats, conduct and odd input
    items = max(1, int(min(n_rows, MOST_ITEMS, left / CALLS_IN_TURN)))
    part = min(1.0, budget / USUAL_BUDGET)
    tried, others = (int(TRIED * part), int(OTHERS * part)) if budget >= 5000 else (0, items)
    return Sizes(items, tried, others, probed, min(CONDUCT_ROWS, 3 * probed))


@dataclass(frozen=True, slots=True)
class Baseline:
    """The scored honest answers that every probe starts from.

    verifier: whether the reward separates right from wrong answers in some answer format.
    keyed: whether the rows have reference answers, or they were learned from right completions (`learned`).
    reads_answers: whether the reward is known to read a reference answer.
    no_key: why the rows' reference answers are no keys, if the reward may read them.
    answer_format, explicit: the simplest and the most explicit of the formats that score best.
    accepted: names of all formats that score as well.
    formatted: score of the best format less that of a bare answer, in reward units.
    noise: largest difference between two scores of one row, in reward units.
    alpha: the error level per question.
    sizes: of the audit.
    unscored: whether most of the answers tried in all formats have no score.
    measured: the rows of the first calls, one each, under the nonce "speed"; none if those were ordinary calls.
    """

    items: tuple[Item, ...]
    verifier: bool
    keyed: bool
    reads_answers: bool
    answer_format: AnswerFormat
    explicit: AnswerFormat
    accepted: tuple[str, ...]
    formatted: float
    noise: float
    alpha: float
    conduct: Conduct
    rollouts: tuple[Row, ...] = ()
    learned: bool = False
    no_key: str = ""
    sizes: Sizes = ALL
    measured: tuple[Row, ...] = ()
    unscored: bool = False

    def gain(self, item: Item, reward: float, *, over: float | None = None) -> float:
        """Return the reward above the item's level (or `over`), in units of the item, less what noise explains."""
        surplus = reward - (item.level if over is None else over)
        beyond = max(abs(surplus) - self.noise, 0.0)
        return (beyond if surplus > 0 else -beyond) / item.unit

    @property
    def unit(self) -> float:
        """The unit of differences between scores of one row: that of the first item."""
        return self.items[0].unit if self.items else 1.0

    @property
    def levels(self) -> dict[str, list[float]]:
        """The scores of right and of wrong answers."""
        right = [item.right for item in self.items if item.right is not None]
        return {
            "right answers": right,
            "wrong answers": [s for i in self.items for s in i.wrong_scores if s is not None],
        }

    @property
    def blind(self) -> str:
        """The reason why content cannot be judged: the reward reads an answer that the rows lack; else ""."""
        lack = "the reward reads an answer column that the rows lack" if self.reads_answers else ""
        return "" if self.keyed else self.no_key or lack

    @property
    def unread(self) -> str:
        """The reason why right answers cannot be judged: the reward reads one, but accepts none of ours; else ""."""
        if self.verifier or not (self.reads_answers and self.keyed and self.items):
            return ""
        if self.unscored:
            return "most honest answers got no score, so the format that the reward reads is unknown"
        return (
            f"the reward reads an answer, but scores right and wrong ones equally in all {len(ANSWER_FORMATS)} formats "
            "(another format, another key, or a bug)"
        )

    @property
    def kind(self) -> str:
        """The detected kind of reward, in words."""
        if self.blind:
            return f"verifier, but the rows have no {'readable ' * bool(self.no_key)}answers"
        if not self.items:
            return "unknown, as no honest answer could be scored"
        if self.unread:
            return f"reads answers, but {'most of ours got no score' if self.unscored else 'accepts none of ours'}"
        if not self.verifier:
            return "format or style reward" if self.formatted > self.noise else "reward that ignores answers"
        return "verifier"


def build_baseline(
    rows: Sequence[Row],
    *,
    rng: random.Random,
    size: int | Sizes,
    alpha: float,
    reads_answers: bool,
    given: tuple[list[Item], Sequence[AnswerFormat]] | None = None,
) -> Building[Baseline]:
    """Find the answer format that the reward reads, then score honest right and wrong answers in it.

    Args:
        rows: at least one; if any have an `answer`, only these are used.
        size: how many rows become items, or the sizes of all parts.
        alpha: the error level per question, for the probes.
        reads_answers: whether the reward is known to read a reference answer.
        given: items, and the formats to try, in place of those that the rows give.
    """
    sizes = Sizes(size) if isinstance(size, int) else size
    found = keyed_rows(rows)
    items, learned = items_of(rows, found, rng=rng, size=sizes.items) if given is None else (given[0], given[0])
    keyed = bool(found or learned)
    probed = items[: sizes.probed]
    formats = [*ANSWER_FORMATS, *given_formats(found or rows)] if given is None else list(given[1])
    scores = yield from _tried_in(formats, probed)
    hopeful = [f for f, carried in zip(formats, scores, strict=True) if _means(carried).wins]
    if not any(_means(carried).difference for carried in scores) and (hopeful or (reads_answers and keyed)):
        # Perhaps the reward accepts few keys, such as those below 1,000. More rows tell that from luck.
        hopeful = list(dict.fromkeys((formats[0], *(hopeful or formats[:SIMPLEST]))))
        more = yield from _tried_in(hopeful, items[: 4 * sizes.probed])
        if any(_means(carried).difference for carried in more):
            formats, probed, scores = hopeful, items[: 4 * sizes.probed], more
    silent = not any(_means(carried).difference for carried in scores)
    if given is None and reads_answers and found and silent and (learned := _learned(rows, rng=rng, size=sizes.items)):
        # The named column is not what the reward accepts. Completions known to be right say what it accepts.
        items, probed = learned, learned[: sizes.probed]
        scores = yield from _tried_in(formats, probed)
    if given is None and reads_answers and keyed and not any(_means(carried).difference for carried in scores):
        formats += REPEATED_FORMATS
        scores += yield from _tried_in(REPEATED_FORMATS, probed)
    without = [score.reward is None for carried in scores for score in carried]
    means = {answer_format: _means(carried) for answer_format, carried in zip(formats, scores, strict=True)}
    accepted = _best(means, keyed=keyed)
    repeated = tuple(item.row.with_completion(accepted[0].wrap(text)) for item in probed for text in item.trio)
    conduct = yield from score_repeatedly(repeated[: sizes.conduct], scores[formats.index(accepted[0])])
    noise = conduct.largest_difference()
    known = [pair.right for pair in means.values() if pair.right is not None]
    spread = max(known) - min(known) if known else 0.0
    difference = means[accepted[0]].difference
    verifier = keyed and difference > max(4 * noise + 1e-9, LEAST_OF_SPREAD * spread)
    if not verifier:
        accepted = _best(means, keyed=False)
    bare = means[formats[0]].right
    formatted = 0.0 if bare is None else max(known) - bare
    no_key = _why_no_key(rows) if not keyed and (reads_answers or formatted <= noise) else ""
    # Score each item's key and wrong answers in that format; leave out items without a level.
    texts = [(item.key, *(item.wrongs if sizes.tried is None else item.ends)) for item in items]
    scores = yield [
        Ask([item.row.with_completion(accepted[0].wrap(text)) for text in own])
        for item, own in zip(items, texts, strict=True)
    ]
    scored = []
    for item, (right, *wrongs) in zip(items, scores, strict=True):
        below = [wrong.reward for wrong in wrongs if wrong.reward is not None]
        level = (median(below) if below else None) if verifier else right.reward
        if level is not None:
            scored.append(replace(item, right=right.reward, wrong_scores=tuple(w.reward for w in wrongs), level=level))
    units = [item.right - item.level for item in scored if item.right is not None and item.right > item.level]
    least = 0.1 * max((abs(item.level) for item in scored), default=0.0)
    typical = median(units) if verifier and units else max(spread, least)
    typical = typical if typical > 0 else 1.0
    # Right minus wrong per item, or the median of it if the key scores hardly above the wrong answers.
    units = [item.right - item.level if verifier and item.right is not None else 0.0 for item in scored]
    return Baseline(
        items=tuple(replace(i, unit=u if u > 0.5 * typical else typical) for i, u in zip(scored, units, strict=True)),
        verifier=verifier,
        keyed=keyed,
        reads_answers=reads_answers,
        answer_format=accepted[0],
        explicit=accepted[min(1, len(accepted) - 1)] if accepted[0].name == "bare" else accepted[0],
        accepted=tuple(answer_format.name for answer_format in accepted),
        formatted=formatted,
        noise=noise,
        alpha=alpha,
        conduct=conduct,
        rollouts=tuple(row for row in rows if has_text(row.completion)),
        learned=bool(learned),
        no_key=no_key,
        sizes=sizes,
        unscored=2 * sum(without) > len(without),
    )


def _tried_in(formats: Sequence[AnswerFormat], items: Sequence[Item]) -> Building[list[list[Scored]]]:
    """Score a right and two wrong answers to each item in each format."""
    return (
        yield [
            Ask([item.row.with_completion(form.wrap(text)) for item in items for text in item.trio]) for form in formats
        ]
    )


def _why_no_key(rows: Sequence[Row]) -> str:
    """Return why no row's reference answer can be read; "" if the rows have none at all."""
    row, found = next(((row, own) for row in rows if (own := row.answers).why), (None, Answers()))
    if row is None:
        return ""
    field = f"{row.answer_column}.{found.field}" if found.field else ""
    other = f"if a field is the answer, name it with --answer-column {field}" if field else "a column with the answer"
    return f"the ground truth is {found.why}; give completions known to be right, with `gold` 1, or {other}"


def items_of(
    rows: Sequence[Row], found: Sequence[Row], *, rng: random.Random, size: int
) -> tuple[list[Item], list[Item]]:
    """Return the items of an audit, and those among them whose keys were learned: all or none.

    Args:
        found: the rows with a reference answer.
    """
    items = _items(found or rows, rng=rng, size=size)
    learned = [] if found else _learned(rows, rng=rng, size=size)
    return learned or items, learned


def keyed_rows(rows: Sequence[Row]) -> list[Row]:
    """Return the rows with a reference answer that can be read, if need be with the help of right completions."""
    return [row for row in rows if row.answer and row.answer.strip()] or rows_with_field(rows)


def _learned(rows: Sequence[Row], *, rng: random.Random, size: int) -> list[Item]:
    """Return items whose keys are the answers of right completions; other answers to the task may be right, too."""
    known = learned_answers(rows)
    items = []
    for row, key, wrongs in rng.sample(known, min(size, len(known))):
        others = [other for _, other, _ in rng.sample(known, min(12, len(known))) if not equivalent(other, key)]
        apart = tuple(dict.fromkeys((*wrongs, *(other for other in others if other != key))))
        items.append(Item(row=row, key=key, kind="text", wrongs=apart[:5] or ("none of these",)))
    return items


def _items(rows: Sequence[Row], *, rng: random.Random, size: int) -> list[Item]:
    unique = list({(row.prompt_text, row.answer): row for row in rows}.values())
    chosen = rng.sample(unique, min(size, len(unique)))
    if not (rows[0].answer and rows[0].answer.strip()):
        return [Item(row=row, key=PSEUDO_KEYS[0], kind="word", wrongs=PSEUDO_KEYS[1:]) for row in chosen]
    keys = [committed(row.answer or "") for row in rows]
    items = []
    for row in chosen:
        key, *accepted = map(committed, row.answers.texts)
        others = rng.sample(keys, min(12, len(keys)))
        item = Item(row=row, key=key, kind=key_kind(key), wrongs=(), others=tuple(accepted))
        wrongs = [wrong for wrong in wrong_answers(key, others, rng=rng) if not item.accepts(wrong)]
        items.append(replace(item, wrongs=tuple(wrongs) or ("none of these",)))
    return items


class _Means(NamedTuple):
    right: float | None
    wins: int  # rows where right scores more than wrong
    difference: float  # mean of right − wrong if a fifth of the rows separate them and few do so in reverse, else 0


def _means(scores: Sequence[Scored]) -> _Means:
    trios = zip(scores[::3], scores[1::3], scores[2::3], strict=True)
    pairs = [(right.reward, [s.reward for s in wrongs if s.reward is not None]) for right, *wrongs in trios]
    known = [(right, min(wrongs)) for right, wrongs in pairs if right is not None and wrongs]
    if not known:
        return _Means(None, 0, 0.0)
    wins, losses = sum(right > wrong for right, wrong in known), sum(right < wrong for right, wrong in known)
    separated = wins >= 0.2 * len(known) and losses <= wins / 4
    difference = fmean(right - wrong for right, wrong in known) if separated else 0.0
    return _Means(fmean(right for right, _ in known), wins, max(difference, 0.0))


def _best(means: Mapping[AnswerFormat, _Means], *, keyed: bool) -> list[AnswerFormat]:
    """Return the formats that score best, simplest first: by right minus wrong, or by content alone."""
    if keyed and any(pair.difference > 0 for pair in means.values()):
        widest = max(pair.difference for pair in means.values())
        slack = 0.1 * widest
        near = {f: m.right or 0.0 for f, m in means.items() if m.difference >= 0.9 * widest}
    else:
        slack = 1e-9
        near = {f: m.right for f, m in means.items() if m.right is not None}
    top = max(near.values(), default=0.0)
    return [answer_format for answer_format, right in near.items() if right >= top - slack] or [ANSWER_FORMATS[0]]
