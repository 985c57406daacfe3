"""Tell whether a reward reads a reference answer, as verifiers do and rewards of format or style do not."""

from __future__ import annotations

from collections.abc import Sequence

from rewardsmith.data import Row
from rewardsmith.data.column_names import ANSWER_NAMES
from rewardsmith.scoring import Target
from rewardsmith.scoring.code import columns_read, strings_in
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


def reads_answers(target: Target, rows: Sequence[Row] = ()) -> bool:
    """Return whether the reward reads a reference answer, by its contract or its code.

    A reward that hands on all columns of rows with answers may read one.
    """
    keys = {*ANSWER_PARAMETERS, *WHOLE_ROWS, *(row.answer_column.partition(".")[0] for row in rows)}
    read, held = columns_read(target.reward), (row.answers for row in rows)
    function = getattr(target.reward, "function", target.reward)
    if read & (keys - WHOLE_ROWS) or ("**" in read and any(own.texts or own.why for own in held)):
        return True
    if read & WHOLE_ROWS:  # which part of it, if the code says so
        parts = set(strings_in(function))
        return not parts or bool(parts & {*keys, *ANSWER_NAMES})
    # An engine hands over a ground truth in any case. Only a parameter of a known name is seen to be unused.
    signature = signature_of(function)
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
