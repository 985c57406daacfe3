"""Find the columns that a reward's code reads, to tell verifiers from rewards of format or style."""

from __future__ import annotations

import dis
import inspect
from collections.abc import Iterator, Sequence
from types import CodeType
from typing import Any

from rewardsmith.data import Row
from rewardsmith.describe import function_of, keywords_of
from rewardsmith.scoring import Target
from rewardsmith.scoring.contracts import ANSWER_PARAMETERS, ANSWERED, COMPLETION_NAMES, PROMPT_NAMES, signature_of

WHOLE_ROWS = frozenset(
    (
        *("extra_info", "extra_infos", "reward_input", "reward_inputs", "entry", "sample", "samples", "task_info"),
        *("info", "infos", "state", "states"),
    )
)
"""Parameters that hold a whole row, or a part of it in which an answer may stand."""
_TEXTS = (*PROMPT_NAMES, *COMPLETION_NAMES)
NOT_ANSWERS = frozenset({*_TEXTS, *(name + "s" for name in _TEXTS), "queries", "messages", "source", "data_source"})


def columns_read(reward: Any) -> frozenset[str]:
    """Return the parameters that a reward uses, and the keys that it takes out of its keywords; "**" is all of them.

    Without Python code, these are all its parameters.

    >>> def style(completions, answer, **columns):
    ...     return [len(text) / columns["most"] for text in completions]
    >>> sorted(columns_read(style))
    ['completions', 'most']
    """
    function = getattr(reward, "function", reward)
    bound, plain = keywords_of(function), inspect.unwrap(function_of(function))
    names = inspect.signature(plain).parameters
    code = getattr(plain if inspect.isroutine(plain) else type(plain).__call__, "__code__", None)
    if not isinstance(code, CodeType):
        return frozenset(names) - bound.keys()
    keywords = next((name for name, given in names.items() if given.kind is given.VAR_KEYWORD), "")
    read: set[str] = set()
    for steps in _instructions(code):
        for place, step in enumerate(steps):
            loaded = step.argval if isinstance(step.argval, tuple) else (step.argval,)
            if "LOAD" not in step.opname or step.opname == "LOAD_CONST":
                continue
            read.update(name for name in loaded if name in names and name != keywords)
            if keywords and keywords in loaded and step.opname != "LOAD_CLOSURE":
                following = [one for one in steps[place + 1 : place + 4] if one.opname not in ("CACHE", "PRECALL")]
                keys = [one.argval for one in following[:2] if isinstance(one.argval, str) and "CONST" in one.opname]
                read.add(keys[0] if keys else "**")
    return frozenset(read) - bound.keys()


def _instructions(code: CodeType) -> Iterator[list[dis.Instruction]]:
    """Return the instructions of a function, and of those inside it."""
    yield list(dis.get_instructions(code))
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _instructions(constant)


def reads_answers(target: Target, rows: Sequence[Row] = ()) -> bool:
    """Return whether the reward reads a reference answer, by its contract or its code.

    A reward that hands on all columns of rows with answers may read one.
    """
    keys = {*ANSWER_PARAMETERS, *WHOLE_ROWS, *(row.answer_column.partition(".")[0] for row in rows)}
    read, held = columns_read(target.reward), (row.answers for row in rows)
    if read & keys or ("**" in read and any(own.texts or own.why for own in held)):
        return True
    # An engine hands over a ground truth in any case. Only a parameter of a known name is seen to be unused.
    signature = signature_of(getattr(target.reward, "function", target.reward))
    return target.contract in ANSWERED and not keys & {*signature.positional, *signature.keywords}


def unnamed_answer(target: Target, rows: Sequence[Row]) -> str:
    """Return a column that the reward reads and that holds another text in most rows, as an answer would; else ""."""
    read = columns_read(target.reward)
    for name in dict.fromkeys(name for row in rows[:64] for name in row.columns):
        values = [row.columns.get(name) for row in rows]
        texts = {str(value) for value in values if isinstance(value, str | list | dict) and value}
        if name in read - NOT_ANSWERS and not name.endswith(("id", "index")) and 2 * len(texts) > len(rows) > 1:
            return name
    return ""
