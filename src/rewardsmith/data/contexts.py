"""Contexts of a preference: a line of the prompt that says by which criterion, or for whom, a response is judged."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypeVar, get_args

from rewardsmith._check import check_choice, check_range
from rewardsmith.data.rows import text_of
from rewardsmith.errors import RowsError
from rewardsmith.types import Text

ContextForm = Literal["criteria", "scenario"]
Record = TypeVar("Record", bound=Mapping[str, Any])

CONTEXT_TEMPLATE = "{prompt}\n\nJudge by this: {context}"
"""How a context is written into a prompt."""
NO_CONTEXT = "none given"
"""What stands for a context where there is none, so that a contextual model also knows the plain question."""


def in_context(prompt: Text, context: str | None, *, template: str = CONTEXT_TEMPLATE) -> Text:
    """The prompt with the context written into it; of a conversation, into the last message of the user.

    It goes into the prompt and never into a response, where it would be a cue of length and style that tells the two
    apart. Without a context `NO_CONTEXT` is written, so that the model is asked in the form it was trained on.

    Args:
        template: holds {prompt} and {context}.

    >>> in_context("Name a city.", "It should be small.")
    'Name a city.\\n\\nJudge by this: It should be small.'
    """
    if "{prompt}" not in template or "{context}" not in template:
        raise ValueError(
            f"in_context: template {template!r} must hold {{prompt}} and {{context}}, else one of them is lost. Add it."
        )
    said = NO_CONTEXT if context is None or not context.strip() else context
    if isinstance(prompt, str):
        return _filled(template, prompt, said)
    turns = [index for index, message in enumerate(prompt) if message.get("role") == "user"]
    if not turns:
        raise ValueError(
            "in_context: the conversation has no message of the user to write the context into. "
            "Pass a prompt that ends with one."
        )
    last = prompt[turns[-1]]
    written = {**last, "content": _filled(template, text_of([last]), said)}
    return [*prompt[: turns[-1]], written, *prompt[turns[-1] + 1 :]]


def _filled(template: str, prompt: str, context: str) -> str:
    head, _, rest = template.partition("{prompt}")  # not str.format: prompts and contexts hold braces
    return head.replace("{context}", context) + prompt + rest.replace("{context}", context)


def reversal_pairs(
    records: Iterable[Mapping[str, Any]], *, form: ContextForm = "criteria", template: str | None = CONTEXT_TEMPLATE
) -> list[dict[str, Any]]:
    """Two preference rows per record: under its first context a is preferred to b, under its second b to a.

    Pitis et al. 2024, arXiv:2407.14916 (Reasonable Preference Reversal, `microsoft/rpr`). Whoever does not read the
    context is right on exactly half of them.

    Args:
        records: prompt, response_a, response_b, and criteria_x, criteria_y or scenario_x, scenario_y; a is the better
            under x, b under y.
        form: which of the two: a short criterion, or a longer scenario.
        template: how the context is written into `prompt`; None leaves the prompt as it is, for a reward model that
            reads the column `context`.

    Returns:
        rows with prompt, chosen, rejected, context, and `pair`, equal in a record's two rows: split by it
        (`split_whole`), or the held-out rows hold responses whose order was seen.

    Raises:
        RowsError: a record lacks a field, or its responses or contexts are the same.

    >>> record = {"prompt": "A city?", "response_a": "Ulm", "response_b": "Rome", "criteria_x": "small"}
    >>> [(row["context"], row["chosen"]) for row in reversal_pairs([record | {"criteria_y": "old"}], template=None)]
    [('small', 'Ulm'), ('old', 'Rome')]
    """
    check_choice("reversal_pairs", "form", form, get_args(ContextForm))
    rows: list[dict[str, Any]] = []
    for number, record in enumerate(records):
        names = ("prompt", "response_a", "response_b", f"{form}_x", f"{form}_y")
        for name in names:
            value = record.get(name)
            if not isinstance(value, str | list) or not text_of(value).strip():
                raise RowsError(
                    f"reversal_pairs: record {number + 1} has no `{name}` (fields: "
                    f"{', '.join(map(str, record)) or 'none'}). Each needs prompt, response_a, response_b and both "
                    "contexts."
                )
        prompt, a, b, x, y = (record[name] for name in names)
        if a == b or x == y:
            raise RowsError(
                f"reversal_pairs: record {number + 1} has two equal {'responses' if a == b else 'contexts'}, "
                "so no preference can reverse. Drop it."
            )
        for context, chosen, rejected in ((x, a, b), (y, b, a)):
            asked = prompt if template is None else in_context(prompt, context, template=template)
            rows.append({"prompt": asked, "chosen": chosen, "rejected": rejected, "context": context, "pair": number})
    return rows


def split_whole(
    rows: Sequence[Record], by: str, *, share: float, generator: random.Random
) -> tuple[list[Record], list[Record]]:
    """Split rows into two lists, keeping all rows with one value of the column `by` on one side.

    Rows that share responses, such as the two of a reversal or the pairs of one tree of responses, leak into each
    other when they are split one by one.

    Args:
        by: the column that names the group, such as "pair" or "tree".
        share: of the groups, not of the rows, that go to the second list, rounded, but at least one on each side.

    >>> rows = [{"pair": k // 2} for k in range(8)]
    >>> [len(part) for part in split_whole(rows, "pair", share=0.25, generator=random.Random(0))]
    [6, 2]
    """
    check_range("split_whole", "share", share, 0.0, 1.0)
    groups: list[Any] = []
    for number, row in enumerate(rows):
        if by not in row:
            raise RowsError(f"split_whole: row {number + 1} has no column `{by}` to keep rows together by. Add it.")
        groups.append(row[by])
    names = list(dict.fromkeys(groups))
    if len(names) < 2:
        raise ValueError(
            f"split_whole: the rows hold {len(names)} value(s) of `{by}`, too few for two sides. "
            "Split by a column with at least two."
        )
    held = set(generator.sample(range(len(names)), min(max(round(share * len(names)), 1), len(names) - 1)))
    second = {name for index, name in enumerate(names) if index in held}
    return (
        [row for row, name in zip(rows, groups, strict=True) if name not in second],
        [row for row, name in zip(rows, groups, strict=True) if name in second],
    )
