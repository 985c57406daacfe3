"""Find the columns of a record that hold its prompt, completion and reference answer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache, partial
from typing import Any

from rewardsmith.data.keys import answers_in, is_missing, value_at
from rewardsmith.errors import RowsError
from rewardsmith.types import Text

PROMPT_NAMES = ("question", "problem", "query", "instruction", "input", "user_prompt")
"""Column names of the prompt in published data sets, where `prompt` is missing."""
COMPLETION_NAMES = ("response", "generation", "model_output", "prediction")
"""Column names of a completion in published data sets, where `completion` is missing."""
_STATED = (
    "ground_truth", "reference_answer", "final_answer", "expected_answer", "expected_output", "correct_answer",
    "gold_answer", "golden_answers", "answers",
)  # fmt: skip
_LOOSE = ("target", "targets", "reference", "references", "label", "expected", "ideal")
ANSWER_NAMES = ("answer", *_STATED, "solution", *_LOOSE)
"""Column names of the reference answer in published data sets and rewards, best first."""
_RANKS = (_STATED, ("solution",), (*_LOOSE, "gold"))
"""Names of the answer where `answer` is missing; two of one rank that differ are an error."""
ANSWER_COLUMNS = frozenset((*ANSWER_NAMES, "reward_model", "gold"))
_VERL = "reward_model.ground_truth"
RIGHT_NAMES = ("accepted", "correct", "is_correct")
"""Columns that say by true or false whether a completion is right, where `gold` is missing; a `label` may, too."""


_KNOWN = ("prompt", "messages", *PROMPT_NAMES, "completion", *COMPLETION_NAMES, *ANSWER_NAMES, "gold", *RIGHT_NAMES)
_joined = partial(re.sub, r"[\s_]", "")


@lru_cache(maxsize=256)
def respelled(names: tuple[Any, ...]) -> Mapping[str, str]:
    """Return known names that the columns lack → columns with the name up to case, spaces and underscores.

    >>> respelled(("Question", "Final Answer", "id"))
    {'question': 'Question', 'final_answer': 'Final Answer'}
    """
    known = {_joined(name): name for name in _KNOWN if name not in names}
    others = {name: _joined(name).casefold() for name in names if isinstance(name, str) and name not in _KNOWN}
    return {known[folded]: name for name, folded in others.items() if folded in known}


def flag(name: str) -> str:
    """Return an option as written at the command line and in Python.

    >>> flag("answer_column")
    '`--answer-column` (in Python `answer_column`)'
    """
    return f"`--{name.replace('_', '-')}` (in Python `{name}`)"


def prompt_of(record: Mapping[str, Any], column: str | None, place: str) -> tuple[Text, Text | None]:
    """Return the prompt, and the completion if the prompt's column holds one; `place` begins an error."""
    if column is not None:
        found = {column: text} if (text := as_text(value_at(record, column))) is not None else {}
    elif (text := as_text(record.get("prompt"))) is not None:
        return text, None
    else:
        found = {name: text for name in PROMPT_NAMES if (text := as_text(record.get(name))) is not None}
        instruction, given = found.get("instruction"), found.get("input")
        if isinstance(instruction, str) and isinstance(given, str):  # Alpaca's columns
            del found["input"]
            found["instruction"] = f"{instruction}\n\n{given}" if given.strip() else instruction
        if not found and (text := as_text(record.get("messages"))) is not None:
            found["messages"] = text
    if not found:
        missing = "`prompt`" if column is None else f"prompt at {column!r}"
        raise RowsError(
            f"{place} has no usable {missing} (columns: {', '.join(map(str, record)) or 'none'}). "
            f"It must be a string or a list of messages. Name the column that holds it with {flag('prompt_column')}."
        )
    _refuse_several(found, "prompt", place)
    (text, *_) = found.values()
    if isinstance(text, str) or column == "prompt":
        return text, None
    last = len(text)
    while last and text[last - 1].get("role") == "assistant":
        last -= 1
    return (text, None) if last in (0, len(text)) else (text[:last], text[last:])


def completion_of(record: Mapping[str, Any], said: Any, column: str | None, place: str) -> Text | None:
    """Return the completion; `said` is that of the column `completion` or of the prompt's."""
    if column is not None:
        return as_text(value_at(record, column))
    if said is not None:
        return said if isinstance(said, str) else as_text(said)
    found = {name: text for name in COMPLETION_NAMES if (text := as_text(record.get(name))) is not None}
    _refuse_several(found, "completion", place)
    return next(iter(found.values()), None)


def answer_column_of(columns: Mapping[str, Any], completed: bool, place: str) -> str:
    """Return the path of the reference answer; `completed`: whether the record has a completion, even an empty one."""
    if columns.get("answer") is not None:
        return "answer"
    truth = value_at(columns, _VERL) if isinstance(columns.get("reward_model"), Mapping) else None  # verl's schema
    for names in _RANKS:
        found = {name: columns[name] for name in names if not is_missing(columns.get(name))}
        if completed and isinstance(found.get("label"), bool):  # whether the completion is right
            del found["label"]
        if completed and "gold" in found and (len(found) > 1 or _is_score(found["gold"], place)):
            del found["gold"]
        if names is _STATED and not is_missing(truth):
            found[_VERL] = truth
        if found:
            texts = {name: answers_in(value).texts or str(value) for name, value in found.items()}
            _refuse_several(texts, "answer", place)
            return next(iter(found))
    return "answer"


def _is_score(gold: Any, place: str) -> bool:
    """Return whether `gold` beside a completion is its score and not the right answer."""
    if not isinstance(gold, str):
        return isinstance(gold, int | float)
    if gold.strip().lower() in ("", "0", "1", "0.0", "1.0", "true", "false"):
        return True
    if re.fullmatch(r"[-+\d.]+", gold):
        raise RowsError(
            f"{place} has a completion and `gold` {gold!r}, which may be its score or the right answer. If it is the "
            f"answer, name it with {flag('answer_column')}. Write a score as a number, not as a text."
        )
    return False


def _refuse_several(found: Mapping[str, Any], what: str, place: str) -> None:
    if len({str(value) for value in found.values()}) > 1:
        raise RowsError(
            f"{place} has several columns that may be its {what} and differ: {', '.join(found)}. "
            f"Name one with {flag(what + '_column')}."
        )


def as_text(value: Any) -> Text | None:
    """Return a string, or a list of messages as dicts; None for anything else."""
    if isinstance(value, str):
        return value
    if hasattr(value, "tolist"):
        value = value.tolist()
    if (
        isinstance(value, list)
        and value
        and all(isinstance(m, Mapping) and {"role", "content"} & set(m) for m in value)
    ):
        return [dict(message) for message in value]
    return None
