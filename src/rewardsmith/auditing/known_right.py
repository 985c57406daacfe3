"""Learn answers, and the format that a reward reads, from completions that are known to be right."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from rewardsmith.auditing.texts import ANSWER_FORMATS, AnswerFormat
from rewardsmith.data import Row
from rewardsmith.data.keys import parsed, value_at
from rewardsmith.data.rows import has_text
from rewardsmith.equivalence.keys import committed
from rewardsmith.measures.labels import label_of

GIVEN_FORMAT = "as in a given completion"
LEAST_AGREEMENT = 0.8
"""Share of right completions that must give a field's value, for the field to be the answer."""
_PLACES = tuple(
    re.compile(pattern, re.DOTALL)
    for pattern in (
        r"<answer>\s*(.+?)\s*</answer>",
        r"```[\w+-]*\n(.+?)\s*```",
        r"(?i:answer(?: is|:))\s*([^\n]+?)\.?\s*$",
    )
)
_WHOLE = 80
"""Longest completion of one line, in characters, that is an answer as a whole."""


class Given(NamedTuple):
    """A completion cut at its answer."""

    before: str
    answer: str
    after: str


def cut_at_answer(text: str) -> Given | None:
    r"""Cut a completion at the answer that it commits to; None if it has none in a usual format.

    >>> cut_at_answer("<think>so</think> <answer>\\boxed{7}</answer>")
    Given(before='<think>so</think> <answer>\\boxed{', answer='7', after='}</answer>')
    """
    places = [found[-1].span(1) for pattern in _PLACES if (found := list(pattern.finditer(text)))]
    boxed = committed(text)
    start, end = 0, len(text)
    if "<answer>" not in text and boxed != text:
        start = text.rfind(boxed)
        end = start + len(boxed)
    elif places:
        start, end = places[0]
        inner = committed(text[start:end])
        start = text.rfind(inner, start, end)
        end = start + len(inner)
    elif "\n" in text.strip() or len(text) > _WHOLE:
        return None
    return Given(text[:start], text[start:end], text[end:]) if text[start:end].strip() else None


def is_right(row: Row) -> bool | None:
    """Return whether a row's completion is known to be right (`Row.gold`); None if unknown."""
    return label_of(row.gold) if has_text(row.completion) else None


def rows_with_field(rows: Sequence[Row]) -> list[Row]:
    """Return rows that read their key from the field of their ground truth that right completions give, if any."""
    right = [(row, cut) for row in rows if is_right(row) and (cut := cut_at_answer(row.text)) is not None]
    fields = dict.fromkeys(
        f"{row.answer_column}.{name}"
        for row, _ in right
        if isinstance(truth := parsed(value_at(row.columns, row.answer_column)), Mapping)
        for name in truth
    )
    for path in fields:
        hits = [_same(cut.answer, replace(row, answer_column=path).answers.texts) for row, cut in right]
        if sum(hits) >= max(3, LEAST_AGREEMENT * len(hits)):
            return [replace(row, answer_column=path) for row in rows]
    return []


def _same(answer: str, texts: Sequence[str]) -> bool:
    return answer.strip().casefold() in [text.strip().casefold() for text in texts]


def learned_answers(rows: Sequence[Row]) -> list[tuple[Row, str, tuple[str, ...]]]:
    """Return per prompt a row, the answer of its shortest right completion, and answers that are known to be wrong."""
    cuts: dict[str, list[tuple[Row, str]]] = defaultdict(list)
    wrongs: dict[str, dict[str, None]] = defaultdict(dict)
    for row in rows:
        right, cut = is_right(row), cut_at_answer(row.text)
        if right and cut is not None:
            cuts[row.prompt_text].append((row, cut.answer))
        elif right is False and cut is not None:
            wrongs[row.prompt_text][cut.answer] = None
    found = []
    for prompt, own in cuts.items():
        row, key = min(own, key=lambda pair: len(pair[0].text))
        rights = [answer for _, answer in own]
        found.append((row, key, tuple(wrong for wrong in wrongs[prompt] if not _same(wrong, rights))))
    return found


def given_formats(rows: Sequence[Row]) -> list[AnswerFormat]:
    """Return the format of the shortest right completion with its prompt's key in it, unless it is a usual one."""
    cuts = []
    for row in rows:
        if not is_right(row):
            continue
        cut, key = cut_at_answer(row.text), committed(row.answer or "").strip()
        if key and (cut is None or not _same(cut.answer, [key])):
            before, found, after = row.text.rpartition(key)
            cut = Given(before, found, after) if found else None
        if cut is not None:
            cuts.append(cut)
    shortest = min(cuts, key=lambda cut: sum(map(len, cut)), default=None)
    if shortest is None or any(usual.wrap("0") == f"{shortest.before}0{shortest.after}" for usual in ANSWER_FORMATS):
        return []
    return [AnswerFormat(GIVEN_FORMAT, lambda answer: f"{shortest.before}{answer}{shortest.after}")]
