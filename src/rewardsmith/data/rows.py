"""Rows: a prompt, perhaps a completion, and any further columns, in TRL's standard or conversational form."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from rewardsmith.data.column_names import (
    ANSWER_COLUMNS,
    ANSWER_NAMES,
    RIGHT_NAMES,
    answer_column_of,
    completion_of,
    flag,
    prompt_of,
    respelled,
)
from rewardsmith.data.keys import Answers, answers_in, is_missing, value_at
from rewardsmith.data.records import ReadOptions, name_of, selected
from rewardsmith.errors import RowsError
from rewardsmith.types import Text

if TYPE_CHECKING:
    import torch

Rows = str | Path | Iterable[Any]
"""Sources of rows: file, folder, hub name, `datasets.Dataset`, DataFrame, or an iterable of mappings or `Row`s."""


USUAL = ReadOptions()
"""All of the source, and the usual columns."""


def text_of(value: Text | None) -> str:
    """Return the plain text of a prompt or completion: the string itself, or its messages' contents joined by newlines.

    >>> text_of([{"role": "assistant", "content": "4"}])
    '4'
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return "\n".join(_content(message.get("content")) for message in value)


def _content(content: Any) -> str:
    if isinstance(content, list):  # multimodal parts: {"type": "text", "text": ...}
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, Mapping))
    return "" if content is None else str(content)


def as_messages(text: Text, role: str = "assistant") -> Text:
    """Return a text as a list of messages; a list of messages is returned unchanged."""
    return [{"role": role, "content": text}] if isinstance(text, str) else text


def completion_text(value: Any) -> str:
    """Return the text that a completion commits to; of messages, the assistant's text in its last turn.

    Texts of tools and users do not count. Other values give "", because a reward must not raise on them.

    >>> completion_text([{"role": "assistant", "content": "I give up."}, {"role": "tool", "content": "4"}])
    'I give up.'
    """
    if not isinstance(value, list | tuple):
        return value if isinstance(value, str) else ""
    end = len(value)
    while end and not _is_assistant(value[end - 1]):
        end -= 1
    start = end
    while start and _is_assistant(value[start - 1]):
        start -= 1
    return text_of(list(value[start:end]))


def has_text(completion: Any) -> bool:
    """Return whether a completion has a text, even an empty one; None and messages with only tool calls have none.

    >>> has_text(""), has_text(None), has_text([{"role": "assistant", "tool_calls": []}])
    (True, False, False)
    """
    if not isinstance(completion, list):
        return completion is not None
    return any(_is_assistant(message) and message.get("content") is not None for message in completion)


def _is_assistant(message: Any) -> bool:
    return isinstance(message, Mapping) and message.get("role", "assistant") == "assistant"


@dataclass(frozen=True, slots=True)
class Row:
    """One prompt with an optional completion and further columns (`answer`, `gold`, `group`, `source`, ...).

    answer_column: the column of the reference answer, or a dotted path into it.
    """

    prompt: Text
    completion: Text | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)
    answer_column: str = "answer"

    @property
    def prompt_text(self) -> str:
        """The prompt as plain text."""
        return text_of(self.prompt)

    @property
    def text(self) -> str:
        """The completion's text (`completion_text`), empty if there is none."""
        return completion_text(self.completion)

    @property
    def answer(self) -> str | None:
        """The key: the reference answer as text, or the right answer inside a dict or a list, or None (`answers`)."""
        texts = self.answers.texts
        return texts[0] if texts else None

    @property
    def answers(self) -> Answers:
        """All accepted answers, the key first, or the reason why the reference answer holds none."""
        return answers_in(value_at(self.columns, self.answer_column))

    @property
    def gold(self) -> Any:
        """How good the completion truly is: `gold`, or a column such as `correct` that is true or false; else None."""
        if not is_missing(gold := self.columns.get("gold")):
            return None if self.answer_column == "gold" else gold
        label = self.columns.get("label")
        marks = [self.columns.get(name) for name in RIGHT_NAMES] + [label if isinstance(label, bool) else None]
        known = [str(mark).lower() for mark in marks]
        return next((float(mark == "true") for mark in known if mark in ("true", "false")), None)

    def with_completion(self, text: str) -> Row:
        """Return this row with `text` as its completion, in the form (string or messages) of its prompt."""
        completion: Text = text if isinstance(self.prompt, str) else [{"role": "assistant", "content": text}]
        return Row(self.prompt, completion, self.columns, self.answer_column)  # `replace` takes three times as long

    def conversational(self) -> Row:
        """Return this row in conversational form; a conversational row is returned unchanged."""
        completion = None if self.completion is None else as_messages(self.completion)
        return replace(self, prompt=as_messages(self.prompt, "user"), completion=completion)


def read_rows(source: Rows, *, limit: int | None = None, **reading: Unpack[ReadOptions]) -> list[Row]:
    """Read rows from a `.jsonl`, `.json`, `.parquet`, `.arrow` or `.csv` file, a folder of such files, a
    `datasets.Dataset` (in memory, saved or on the hub), a pandas DataFrame or an iterable of mappings; `Row`s stay
    unchanged.

    Every row needs a prompt: `prompt`, one of `PROMPT_NAMES`, or `messages`, whose last turn is the completion if the
    assistant says it. `completion` (or one of `COMPLETION_NAMES`) is optional. All other fields become columns, and
    those under another name stay. If a row has no `answer` but a column of `ANSWER_NAMES`, or verl's
    `reward_model["ground_truth"]`, that value is also its `answer`; so is `gold` if it cannot be the score of a
    completion. An `answer` of NaN becomes None.

    Args:
        limit: read at most this many records.
        reading: `prompt_column`, `answer_column` and `completion_column` name columns, or dotted paths such as
            "reward_model.ground_truth.target". `split` selects one split; `config` and `revision` are of a data set on
            the hub.

    Raises:
        RowsError: the source is missing, of another kind, cannot be parsed or holds no rows, a row has no prompt, or
            two columns could be its prompt or answer.
    """
    return rows_of(islice(selected("read_rows", source, reading), limit), name_of(source), reading)


def rows_of(records: Iterable[Any], name: str, reading: ReadOptions = USUAL) -> list[Row]:
    """Return each record of the source called `name` as a row."""
    rows = [as_row(record, where=f"row {n} of {name}", reading=reading) for n, record in enumerate(records, start=1)]
    if not rows:
        raise RowsError(f"read_rows: {name} holds no rows. Each row needs at least a `prompt`.")
    check_answers("read_rows", name, rows, reading)
    return rows


def check_answers(caller: str, name: str, rows: Iterable[Row], reading: ReadOptions) -> None:
    """Raise RowsError if no row has the named answer column."""
    path, columns = reading.get("answer_column"), dict[str, None]()
    for row in rows:
        if path is None or not is_missing(value_at(row.columns, path)):
            return
        columns.update(dict.fromkeys(row.columns))
    raise RowsError(
        f"{caller}: no row of {name} has an answer at {path!r} (columns: "
        f"{', '.join(columns) or 'none'}). Name another column, or a path into one, with {flag('answer_column')}."
    )


def as_rows(rows: Rows, **reading: Unpack[ReadOptions]) -> list[Row]:
    """Return a list of rows unchanged, even an empty one; read anything else as `read_rows` does."""
    listed = list(rows) if isinstance(rows, list | tuple) and not any(reading.values()) else None
    return listed if listed is not None and all(isinstance(row, Row) for row in listed) else read_rows(rows, **reading)


def as_row(record: Any, *, where: str, caller: str = "read_rows", reading: ReadOptions = USUAL) -> Row:
    """Read one record as a row, as `read_rows` does.

    Raises:
        RowsError: with `caller` as its name; `where` is the record's place.
    """
    if isinstance(record, Row):
        if not any(reading.values()):
            return record
        said = {} if record.completion is None else {"completion": record.completion}
        record = {"prompt": record.prompt, **said, **record.columns}
    if type(record) is not dict and not isinstance(record, Mapping):  # the first test is fast
        raise RowsError(f"{caller}: {where} is a {type(record).__name__}. It must be an object with a `prompt`.")
    if others := respelled(tuple(record)):
        record = {**record, **{known: record[name] for known, name in others.items()}}
    prompt: Any = record.get("prompt")
    completion: Any = record.get("completion")
    column, path, place = reading.get("prompt_column"), reading.get("answer_column"), f"{caller}: {where}"
    if type(prompt) is not str or column is not None:
        prompt, last_turn = prompt_of(record, column, place)
        completion = last_turn if completion is None else completion
    if type(completion) is not str or reading.get("completion_column") is not None:
        completion = completion_of(record, completion, reading.get("completion_column"), place)
    columns = {str(key): value for key, value in record.items() if key not in ("prompt", "completion")}
    if path is None and columns.keys().isdisjoint(ANSWER_COLUMNS):
        return Row(prompt, completion, columns)
    for name in ANSWER_NAMES:
        if name in columns and is_missing(columns[name]):
            columns[name] = None
    path = path or answer_column_of(columns, "completion" in record or completion is not None, place)
    if path.partition(".")[0] != "answer":  # a reward that reads `answer` gets what it holds
        answer = value_at(columns, path)
        if not is_missing(answer):
            columns["answer"] = answer
    return Row(prompt, completion, columns, path)


_END_TOKEN = re.compile(
    r"(<[|\uff5c][A-Za-z][\w\u2581-]{0,40}[|\uff5c]>|</s>|<eos>|<pad>|<end_of_turn>|<end_of_utterance>)\Z"
)


def without_end_tokens(text: str) -> str:
    """Return `text` without the special tokens that end a turn, such as `<|im_end|>`, `<|eot_id|>` and `</s>`.

    A decoder that keeps special tokens, as OpenRLHF's does, leaves them after the answer. Only tokens at the very end
    are removed, and a text of nothing else is unchanged.

    >>> without_end_tokens("The answer is 7.<|im_end|>\\n<|endoftext|>")
    'The answer is 7.'
    """
    rest = whole = text.rstrip()
    while rest.endswith(">") and (match := _END_TOKEN.search(rest, max(0, len(rest) - 48))):
        rest = rest[: match.start()].rstrip()
    return rest if rest and rest != whole else text


def number_columns(columns: Mapping[str, list[Any]], *, device: torch.device | None = None) -> dict[str, Any]:
    """Convert columns of numbers, or of equally many numbers per row, to tensors; keep the others as they are.

    (B,) or (B, M) float32 with NaN for None, bool where all values are.

    >>> number_columns({"gold": [1.0, None], "answer": ["4", "5"]})
    {'gold': tensor([1., nan]), 'answer': ['4', '5']}
    """
    found: dict[str, Any] = {}
    for name, values in columns.items():
        flat = [item for value in values for item in (value if isinstance(value, list) else [value])]
        widths = {len(value) if isinstance(value, list) else -1 for value in values}
        if not flat or len(widths) > 1 or not all(item is None or isinstance(item, int | float) for item in flat):
            found[name] = values
            continue
        from rewardsmith._torch import torch

        if all(isinstance(item, bool) for item in flat):
            found[name] = torch.tensor(values, device=device)
        else:
            filled = [[_known(item) for item in v] if isinstance(v, list) else _known(v) for v in values]
            found[name] = torch.tensor(filled, dtype=torch.float32, device=device)
    return found


def _known(item: float | None) -> float:
    return float("nan") if item is None else float(item)
