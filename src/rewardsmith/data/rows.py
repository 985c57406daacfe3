"""Rows: a prompt, perhaps a completion, and any further columns, in TRL's standard or conversational form."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rewardsmith.data.keys import is_missing, only_text
from rewardsmith.data.records import name_of, records_of
from rewardsmith.errors import RowsError
from rewardsmith.types import Text

if TYPE_CHECKING:
    import torch

Rows = str | Path | Iterable[Any]
"""Sources of rows: file, folder, hub name, `datasets.Dataset`, DataFrame, or an iterable of mappings or `Row`s."""
ANSWER_NAMES = ("answer", "solution", "ground_truth", "label", "target", "reference", "reference_answer")
"""Column names of the reference answer in published data sets and rewards, best first."""
_ANSWER_COLUMNS = frozenset((*ANSWER_NAMES, "reward_model"))


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
    """One prompt with an optional completion and further columns (`answer`, `gold`, `group`, `source`, ...)."""

    prompt: Text
    completion: Text | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)

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
        """The reference answer as text; for a dict or list the only text or number in it, else None."""
        return only_text(self.columns.get("answer"))

    def with_completion(self, text: str) -> Row:
        """Return this row with `text` as its completion, in the form (string or messages) of its prompt."""
        completion: Text = text if isinstance(self.prompt, str) else [{"role": "assistant", "content": text}]
        return Row(self.prompt, completion, self.columns)  # `replace` takes three times as long

    def conversational(self) -> Row:
        """Return this row in conversational form; a conversational row is returned unchanged."""
        completion = None if self.completion is None else as_messages(self.completion)
        return replace(self, prompt=as_messages(self.prompt, "user"), completion=completion)


def read_rows(source: Rows, *, limit: int | None = None) -> list[Row]:
    """Read rows from a `.jsonl`, `.json`, `.parquet` or `.csv` file, a folder of such files, a `datasets.Dataset` (in
    memory, saved or on the hub), a pandas DataFrame or an iterable of mappings; `Row`s stay unchanged.

    Every row needs `prompt`; `completion` is optional; all other fields become columns. If a row has no `answer` but a
    column like `solution` or `ground_truth` (`ANSWER_NAMES`), or verl's `reward_model["ground_truth"]`, that value is
    also its `answer`. An `answer` of NaN becomes None.

    Raises:
        RowsError: the source is missing, of another kind, cannot be parsed or holds no rows, or a row has no prompt.
    """
    return rows_of(islice(records_of("read_rows", source), limit), name_of(source))


def rows_of(records: Iterable[Any], name: str) -> list[Row]:
    """Return each record of the source called `name` as a row."""
    rows = [as_row(record, where=f"row {n} of {name}") for n, record in enumerate(records, start=1)]
    if not rows:
        raise RowsError(f"read_rows: {name} holds no rows. Each row needs at least a `prompt`.")
    return rows


def as_rows(rows: Rows) -> list[Row]:
    """Return a list of rows unchanged, even an empty one; read anything else as `read_rows` does."""
    listed = list(rows) if isinstance(rows, list | tuple) else None
    return listed if listed is not None and all(isinstance(row, Row) for row in listed) else read_rows(rows)


def as_row(record: Any, *, where: str, caller: str = "read_rows") -> Row:
    """Read one record as a row, as `read_rows` does.

    Raises:
        RowsError: with `caller` as its name; `where` is the record's place.
    """
    if isinstance(record, Row):
        return record
    if type(record) is not dict and not isinstance(record, Mapping):  # the first test is fast
        raise RowsError(f"{caller}: {where} is a {type(record).__name__}. It must be an object with a `prompt`.")
    prompt, completion = record.get("prompt"), record.get("completion")
    prompt = prompt if type(prompt) is str else _text(prompt)
    completion = completion if type(completion) is str else _text(completion)
    if prompt is None:
        raise RowsError(
            f"{caller}: {where} has no usable `prompt` (columns: {', '.join(map(str, record)) or 'none'}). "
            "It must be a string or a list of messages; rename the column that holds it."
        )
    columns = {str(key): value for key, value in record.items() if key not in ("prompt", "completion")}
    if columns.keys().isdisjoint(_ANSWER_COLUMNS):
        return Row(prompt, completion, columns)
    for name in ANSWER_NAMES:
        if name in columns and is_missing(columns[name]):
            columns[name] = None
    if columns.get("answer") is None:
        answer = next((columns[name] for name in ANSWER_NAMES if columns.get(name) is not None), None)
        if answer is None and isinstance(columns.get("reward_model"), Mapping):  # verl's Parquet schema
            answer = columns["reward_model"].get("ground_truth")
        if not is_missing(answer):
            columns["answer"] = answer
    return Row(prompt=prompt, completion=completion, columns=columns)


def _text(value: Any) -> Text | None:
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


_END_TOKEN = re.compile(
    r"<[|\uff5c][A-Za-z][\w\u2581-]{0,40}[|\uff5c]>|</s>|<eos>|<pad>|<end_of_turn>|<end_of_utterance>"
)


def without_end_tokens(text: str) -> str:
    """Return `text` without the special tokens that end a turn, such as `<|im_end|>`, `<|eot_id|>` and `</s>`.

    A decoder that keeps special tokens, as OpenRLHF's does, leaves them after the answer. Only tokens at the very end
    are removed, and a text of nothing else is unchanged.

    >>> without_end_tokens("The answer is 7.<|im_end|>\\n<|endoftext|>")
    'The answer is 7.'
    """
    end = len(text.rstrip())
    first = end
    while end and text[end - 1] == ">":
        start = text.rfind("<", max(0, end - 48), end)
        if start < 0 or not _END_TOKEN.fullmatch(text, start, end):
            break
        end = start
        while end and text[end - 1].isspace():
            end -= 1
    return text[:end] if 0 < end < first else text


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
