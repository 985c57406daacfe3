"""Augmentations: make rows from rows, to teach a judge what its data lacks."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any

from rewardsmith._check import check_range
from rewardsmith.data.master_keys import MASTER_KEYS
from rewardsmith.data.rows import Row
from rewardsmith.data.stated_values import states

if TYPE_CHECKING:
    import torch

_SENTENCE_END = re.compile(r"[.!?…]+(?=\s|$)|[。！？]|(?=\n)")


def first_sentence(text: str) -> str:
    """Return the first sentence of `text` with its mark; a line break ends a sentence too.

    >>> first_sentence("We need 3.5 apples. Then count."), first_sentence("Thought process:\\n1. Add.")
    ('We need 3.5 apples.', 'Thought process:')
    """
    text = text.strip()
    end = _SENTENCE_END.search(text)
    return text if end is None else text[: end.end()]


def add_truncated_negatives(
    rows: Sequence[Row],
    *,
    generator: torch.Generator,
    frac: float = 0.11,
    splitter: Callable[[str], str] = first_sentence,
    label: str = "label",
    negative: Any = False,
    exclude: Collection[str] | None = None,
) -> list[Row]:
    """Add rows that open an answer and never give one, with a negative label, for a judge to learn to refuse.

        k = round(n · frac / (1 − frac)) rows are added, so that `frac` of the result is new

    Each row is drawn without replacement, and `splitter` cuts its completion. The prompt and every other column stay.
    The reference answer must stay: without it a judge would learn "no reference, so NO". Zhao et al. 2025,
    arXiv:2507.08794 (20k openers added to 160k rows).

    A row is skipped if the cut removes nothing, leaves nothing, keeps the reference answer (a right answer would be
    labeled NO; numbers are compared by value, so 0.5 is 1/2), or gives one of `exclude` up to case, space and end
    marks: keys that are reported on are never trained on.

    Differs: in the paper a language model writes the opener; here existing completions are cut.

    Args:
        rows: n labeled rows with completions; they come first in the result, unchanged.
        frac: share of the result that is new, in [0, 1).
        label, negative: the column that holds the label, and its value for NO.
        exclude: texts that must not be used as a negative; all master keys if None.

    Raises:
        ValueError: `frac` is out of range, or too few rows can be cut.
    """
    from rewardsmith._torch import torch

    check_range("add_truncated_negatives", "frac", frac, 0.0, 1.0 - 1e-9)
    banned = {_bare(key) for key in (chain.from_iterable(MASTER_KEYS.values()) if exclude is None else exclude)}
    wanted = round(len(rows) * frac / (1 - frac))
    added: list[Row] = []
    for index in torch.randperm(len(rows), generator=generator).tolist():
        if len(added) == wanted:
            break
        row = rows[index]
        opener = splitter(row.text).strip()
        answer = "" if row.answer is None else str(row.answer).rpartition("####")[2]  # GSM8K: the part after ####
        if opener not in ("", row.text.strip()) and _bare(opener) not in banned and not states(opener, answer):
            added.append(replace(row.with_completion(opener), columns={**row.columns, label: negative}))
    if len(added) < wanted:
        raise ValueError(
            f"add_truncated_negatives: {wanted} negatives are wanted for frac={frac}, but only {len(added)} of "
            f"{len(rows)} completions have an opener that is not excluded and does not state the answer. "
            "Lower frac, or pass a splitter."
        )
    return [*rows, *added]


def _bare(text: str) -> str:
    """Return an opener in lower case without outer space and end marks, to compare openers by."""
    text = text.strip().casefold()
    return text.rstrip(".,:;!?…。 ") or text
