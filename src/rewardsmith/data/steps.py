"""Split a text: into steps, with the token that ends or judges each one, into sentences and into clauses."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

BLANK_LINE = "\n\n"
"""The default separator of steps."""
STEP_END = "\n"
"""The default text after each step for a process reward model."""
_SENTENCE_END = re.compile(r"[.!?]+[\"'”’)\]]*(?=\s+[^a-z\s])|\n+")
_CLAUSE_END = re.compile(r"[,;:](?=\s)|\s[–—](?=\s)")


class StepTable(NamedTuple):
    """The steps of a batch of completions.

    steps: the texts of each completion's steps.
    step_ends: B lists of N token indices, the last token of each step; 0 for padding.
    step_mask: B lists of N bools, True for a step. N is the largest number of steps, at least 1.
    """

    steps: list[list[str]]
    step_ends: list[list[int]]
    step_mask: list[list[bool]]


def split_steps(text: str, *, separator: str = BLANK_LINE, complete: bool = True) -> list[str]:
    """Split `text` at separators; parts of white space alone are left out.

    Args:
        complete: False if the text was cut off, so that the part after the last separator is no complete step.

    >>> split_steps("First.\\n\\nSecond.\\n\\nThi", complete=False)
    ['First.', 'Second.']
    """
    return [text[start:end] for start, end in _spans("split_steps", text, separator, complete)]


def segment_steps(
    completion_ids: Sequence[Sequence[int]],
    decode: Callable[[list[int]], str],
    *,
    complete: Sequence[bool] | None = None,
    separator: str = BLANK_LINE,
) -> StepTable:
    """Split B completions into steps as `split_steps` does, padded to the largest number of steps.

    A step ends with the first token whose prefix decodes to text that reaches the step's end, found by bisection: a
    token may hold the end of a step and a separator, or one byte of a character. Separate tokens of a separator belong
    to the next step, as its first action.

    Args:
        completion_ids: token ids of each completion.
        decode: token ids to text, such as `tokenizer.decode`; a longer prefix must decode to a longer text with the
            same beginning, except for an incomplete character.
        complete: B flags, False if a completion was cut off at the length limit; None means all complete.

    >>> segment_steps([[72, 105, 10, 10, 79, 75], [72, 105]], lambda ids: bytes(ids).decode()).step_ends
    [[1, 5], [1, 0]]
    """
    flags = [True] * len(completion_ids) if complete is None else list(complete)
    if len(flags) != len(completion_ids):
        raise ValueError(
            f"segment_steps: got {len(completion_ids)} completions and {len(flags)} complete flags. Pass one per row."
        )
    rows: list[list[tuple[str, int]]] = []  # text and last token of each step
    for row_ids, whole in zip(completion_ids, flags, strict=True):
        ids, found, first = list(row_ids), [], 0
        text = decode(ids)
        for start, end in _spans("segment_steps", text, separator, bool(whole)):
            reaches = lambda index: decode(ids[: index + 1]).startswith(text[:end])  # noqa: B023, E731
            first = bisect_left(range(len(ids)), True, first, len(ids) - 1, key=reaches)
            found.append((text[start:end], first))
        rows.append(found)
    width = max([1, *map(len, rows)])
    return StepTable(
        steps=[[text for text, _ in row] for row in rows],
        step_ends=[[end for _, end in row] + [0] * (width - len(row)) for row in rows],
        step_mask=[[True] * len(row) + [False] * (width - len(row)) for row in rows],
    )


def _spans(caller: str, text: str, separator: str, complete: bool) -> list[tuple[int, int]]:
    """Return start and end in characters of every step."""
    if not separator:
        raise ValueError(f"{caller}: separator is empty. Pass the text between two steps.")
    spans = []
    start = 0
    while start <= len(text):
        found = text.find(separator, start)
        end = len(text) if found < 0 else found
        if text[start:end].strip() and (found >= 0 or complete):
            spans.append((start, end))
        start = end + len(separator)
    return spans


class EncodedSteps(NamedTuple):
    """ids: token ids of prompt and steps. ends: for each step that fits, the index of the token that closes it."""

    ids: list[int]
    ends: list[int]


def encode_steps(
    prompt: str,
    steps: Sequence[str],
    tokenize: Callable[[str], Sequence[int]],
    *,
    step_end: str = STEP_END,
    first_ids: Sequence[int] = (),
    max_length: int | None = None,
) -> EncodedSteps:
    """Encode the prompt and each step with `step_end` separately; the last token of `step_end` scores its step.

    A step's tokens thus do not depend on later text, and one forward pass scores every prefix. A blank line or a
    `step_end` at the end of a step's own text is removed first.

    Args:
        tokenize: text to ids without special tokens, such as
            `lambda text: tokenizer(text, add_special_tokens=False)["input_ids"]`.
        first_ids: ids at the very start, such as the beginning-of-sequence token.
        max_length: steps that end beyond this many tokens are cut off.

    >>> encode_steps("1+1?", ["2", "so 2"], lambda text: list(text.encode())).ends
    [5, 10]
    """
    closing = list(tokenize(step_end))
    if not closing:
        raise ValueError(f"encode_steps: step_end {step_end!r} has no tokens to hold a step's label. Pass another one.")
    ids = [*first_ids, *tokenize(prompt)]
    ends: list[int] = []
    for step in steps:
        while step.endswith(step_end):
            step = step.removesuffix(step_end)  # noqa: PLW2901
        added = [*tokenize(step.rstrip("\n")), *closing]
        if max_length is not None and len(ids) + len(added) > max_length:
            break
        ids += added
        ends.append(len(ids) - 1)
    return EncodedSteps(ids, ends)


def split_sentences(text: str) -> list[str]:
    """Return the sentences of `text`, without the blanks around them.

    A sentence ends with `.`, `!` or `?` before a blank and no small letter, and at a line's end. Abbreviations before a
    capital (`Dr. Who`) also split, which is harmless if both sides of a comparison are split by the same rule.

    >>> split_sentences('It is 3.5 m long. "Is it?" Yes, e.g. here.')
    ['It is 3.5 m long.', '"Is it?"', 'Yes, e.g. here.']
    """
    return _pieces(text, _SENTENCE_END)


def split_clauses(text: str) -> list[str]:
    """Return the clauses of `text`: parts that end with a comma, semicolon, colon or dash, or with a sentence.

    Wu et al. 2023, arXiv:2306.01693, whose relevance reward is per sub-sentence.

    >>> split_clauses("It is long, and old; 1,000 years. So what?")
    ['It is long,', 'and old;', '1,000 years.', 'So what?']
    """
    return [clause for sentence in split_sentences(text) for clause in _pieces(sentence, _CLAUSE_END)]


def _pieces(text: str, end: re.Pattern[str]) -> list[str]:
    cuts = [0, *(match.end() for match in end.finditer(text)), len(text)]
    pieces = [text[start:stop].strip() for start, stop in pairwise(cuts)]
    return [piece for piece in pieces if piece]
