"""Steps of a completion: where its text divides, and which token ends each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

BLANK_LINE = "\n\n"
"""What separates steps unless told otherwise."""


class StepTable(NamedTuple):
    """The steps of a batch of completions.

    steps: per completion the texts of its steps.
    step_ends: B lists of N token indices, the last token of each step; 0 where there is none.
    step_mask: B lists of N bools, True where there is a step. N ≥ 1, the largest number of steps otherwise.
    """

    steps: list[list[str]]
    step_ends: list[list[int]]
    step_mask: list[list[bool]]


def split_steps(text: str, *, separator: str = BLANK_LINE, complete: bool = True) -> list[str]:
    """The pieces of `text` between separators, as written; a piece of white space alone is no step.

    Args:
        complete: False where the text was cut off, so that what follows the last separator is a fragment, not a step.

    >>> split_steps("First.\\n\\nSecond.\\n\\nThi", complete=False)
    ['First.', 'Second.']
    """
    return [text[start:end] for start, end in _spans("split_steps", text, separator, complete)]


def token_step_ends(
    completion_ids: Sequence[int],
    decode: Callable[[list[int]], str],
    *,
    separator: str = BLANK_LINE,
    complete: bool = True,
) -> list[int]:
    """For each step of `split_steps`, the index of the token with which its text is complete.

    The first token whose prefix decodes to text that reaches the step's end, found by bisection: a token may hold the
    end of a step and a separator, or one byte of a character. A separator that has tokens of its own goes with the
    step that follows it, for which it is the first action.

    Args:
        completion_ids: token ids of one completion.
        decode: token ids to text, such as `tokenizer.decode`; a longer prefix must decode to a longer text with the
            same beginning, except for a character that is not complete yet.
        separator, complete: as in `split_steps`.

    >>> token_step_ends([72, 105, 10, 10, 79, 75], lambda ids: bytes(ids).decode())
    [1, 5]
    """
    ids = list(completion_ids)
    return [end for _, end in _located("token_step_ends", ids, decode, separator, complete)]


def segment_steps(
    completion_ids: Sequence[Sequence[int]],
    decode: Callable[[list[int]], str],
    *,
    complete: Sequence[bool] | None = None,
    separator: str = BLANK_LINE,
) -> StepTable:
    """Steps of B completions, padded to the largest number of them; see `token_step_ends`.

    Args:
        complete: B flags, False where a completion was cut off at the length limit; all complete if None.

    >>> segment_steps([[72, 105, 10, 10, 79, 75], [72, 105]], lambda ids: bytes(ids).decode()).step_ends
    [[1, 5], [1, 0]]
    """
    flags = [True] * len(completion_ids) if complete is None else list(complete)
    if len(flags) != len(completion_ids):
        raise ValueError(
            f"segment_steps: got {len(completion_ids)} completions and {len(flags)} complete flags. Pass one per row."
        )
    rows = [
        _located("segment_steps", list(ids), decode, separator, bool(whole))
        for ids, whole in zip(completion_ids, flags, strict=True)
    ]
    width = max([1, *map(len, rows)])
    return StepTable(
        steps=[[text for text, _ in row] for row in rows],
        step_ends=[[end for _, end in row] + [0] * (width - len(row)) for row in rows],
        step_mask=[[True] * len(row) + [False] * (width - len(row)) for row in rows],
    )


def _located(
    caller: str, ids: list[int], decode: Callable[[list[int]], str], separator: str, complete: bool
) -> list[tuple[str, int]]:
    """Text and last token of every step."""
    text = decode(ids)
    found: list[tuple[str, int]] = []
    first = 0
    for start, end in _spans(caller, text, separator, complete):
        first = _reaches(text[:end], ids, decode, first)
        found.append((text[start:end], first))
    return found


def _reaches(text: str, ids: list[int], decode: Callable[[list[int]], str], low: int) -> int:
    """The first token, not before `low`, through which the ids decode to something that begins with `text`."""
    high = len(ids) - 1
    while low < high:
        middle = (low + high) // 2
        if decode(ids[: middle + 1]).startswith(text):
            high = middle
        else:
            low = middle + 1
    return low


def _spans(caller: str, text: str, separator: str, complete: bool) -> list[tuple[int, int]]:
    """Start and end in characters of every step."""
    if not separator:
        raise ValueError(f"{caller}: separator is empty, which separates nothing. Pass the text between two steps.")
    spans = []
    start = 0
    while start <= len(text):
        found = text.find(separator, start)
        end = len(text) if found < 0 else found
        if text[start:end].strip() and (found >= 0 or complete):
            spans.append((start, end))
        start = end + len(separator)
    return spans
