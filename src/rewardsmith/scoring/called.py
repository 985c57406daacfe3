"""Call a function of any contract as a TRL reward, `f(prompts, completions, **columns)`: row by row or in batches."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

from rewardsmith.data import completion_text, text_of
from rewardsmith.data.rows import as_messages
from rewardsmith.describe import keywords_of
from rewardsmith.scoring.arguments import Call, opening_of
from rewardsmith.scoring.contracts import SCORES, TABLE, Fillers, Signature, check, is_async, name_of, signature_of
from rewardsmith.scoring.sync_async import Calls, SyncOrAsync, sync_or_async
from rewardsmith.types import Completion, Text

RowParts = tuple[Text, Completion | None, Mapping[str, Any]]
FORMS: dict[str, Callable[[Text, Completion], tuple[Text, Completion]]] = {
    "given": lambda prompt, completion: (prompt, completion),
    "text": lambda prompt, completion: (text_of(prompt), completion_text(completion)),
    "messages": lambda prompt, completion: (as_messages(prompt, "user"), as_messages(completion)),
}
_FORM_ERROR = re.compile(
    r"string ind(?:ices must be|ex out of range)|'(?:str|list)' object has no attribute|(?:got|not) '?list|list indices"
)
"""The message of an error where text was read as messages, or messages as text."""


@cache
def _fillers(name: str, signature: Signature) -> tuple[Fillers, Mapping[str, Callable[[], Any]], Fillers]:
    """Return what a function gets of a contract: for each row, for all rows, and where no column has the name."""
    contract = TABLE[name]
    named = {*signature.positional, *signature.keywords, *contract.positional}
    if signature.takes_any:
        named |= {*contract.shared, *(contract.usual or contract.gives)}
    return (
        {name: make for name, make in contract.gives.items() if name in named},
        {name: make for name, make in contract.shared.items() if name in named},
        {name: make for name, make in contract.lacking.items() if name in signature.required},
    )


@dataclass(frozen=True)
class Called(SyncOrAsync):
    """A function in a contract of the table.

    forms: of prompt and completion, to try in this order; once one can be read, only that.
    """

    function: Callable[..., Any]
    contract: str
    signature: Signature = field(init=False, repr=False, compare=False)
    opening: str = field(init=False, repr=False, compare=False)
    forms: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        opening = opening_of(self.function) if "verl" in self.contract else ""
        known = {"signature": signature_of(self.function), "opening": opening, "forms": TABLE[self.contract].forms}
        for name, value in known.items():
            object.__setattr__(self, name, value)
        self.become(is_async=is_async(self.function))

    @property
    def __name__(self) -> str:  # TRL names its metrics after it
        return name_of(self.function)

    @sync_or_async
    def ask(self, rows: Sequence[RowParts]) -> Calls:
        """Return the function's own result for one row, or for a batch's rows, or its coroutine."""
        errors: list[Exception] = []
        for form in self.forms:
            try:
                [result] = yield [partial(self._call, rows, form)]
            except (TypeError, AttributeError, IndexError) as error:
                if not _FORM_ERROR.search(str(error)):
                    raise
                errors.append(error)
            else:
                object.__setattr__(self, "forms", (form,))
                return result
        raise errors[0]

    def _call(self, rows: Sequence[RowParts], form: str) -> Any:
        contract, signature = TABLE[self.contract], self.signature
        calls = [Call(*FORMS[form](row[0], "" if row[1] is None else row[1]), row[2], self.opening) for row in rows]
        gives, shared, lacking = _fillers(self.contract, signature)
        given: dict[str, Any] = {}
        if contract.columns:
            given |= calls[0].columns
            if given.get("answer") is None and (truth := calls[0].truth()) is not None:
                given["answer"] = truth
        given |= {name: make() for name, make in shared.items()}
        for name, make in gives.items():
            given[name] = [make(call) for call in calls] if contract.batch else make(calls[0])
        if contract.positional:
            return self.function(*(given[name] for name in contract.positional))
        for name in signature.aliases(given) if contract.columns else ():
            given[name] = calls[0].truth() if name == "ground_truth" else given["answer"]
        given = {**{name: make(calls[0]) for name, make in lacking.items()}, **given}
        for name in keywords_of(self.function):
            given.pop(name, None)
        positional, keywords = signature.bind(given)
        return self.function(*positional, **keywords)

    def value(self, result: Any) -> Any:
        """Return the score in one row's result: under its key or attribute (`SCORES`), or first in a tuple or list."""
        for _ in range(4):
            if result is None or isinstance(result, str | int | float) or hasattr(result, "item"):
                return result
            if type(result) in (tuple, list):
                several = type(result) is list and len(result) > 1 and all(isinstance(v, int | float) for v in result)
                if several or not result:
                    return result
                result = result[0]
                continue
            own = {name: getattr(result, name) for name in SCORES if hasattr(result, name)}
            held = result if isinstance(result, Mapping) else own
            names = [name for name in TABLE[self.contract].scores if name in held and not callable(held[name])]
            if not names:
                return result
            result = held[names[0]]
        return result


class PerRow(Called):
    """A function of one row as a TRL reward; `call` and `value` are for callers that score row by row.

    If the function is async, the rows of a call run concurrently.
    """

    def call(self, prompt: Text, completion: Completion | None, columns: Mapping[str, Any]) -> Any:
        """Return the function's own result for one row, or its coroutine."""
        return self.ask([(prompt, completion, columns)])

    @sync_or_async
    def __call__(self, *, prompts: list[Text], completions: list[Completion], **columns: Any) -> Calls:
        results = yield [partial(self.ask, [row]) for row in rows_of(prompts, completions, columns)]
        return [self.value(result) for result in results]


class PerBatch(Called):
    """A function of a batch as a TRL reward."""

    @sync_or_async
    def __call__(self, *, prompts: list[Text], completions: list[Completion], **columns: Any) -> Calls:
        [result] = yield [partial(self.ask, rows_of(prompts, completions, columns))]
        if isinstance(result, Mapping):  # of lists
            result = next((result[name] for name in SCORES if name in result), result)
        result = result.tolist() if hasattr(result, "tolist") else result
        return [self.value(one) for one in result] if isinstance(result, list | tuple) else result


def rows_of(prompts: list[Text], completions: list[Completion], columns: Mapping[str, Any]) -> list[RowParts]:
    """Return the rows of a TRL call, without its arguments that are no columns, such as `trainer_state`."""
    n = len(completions)
    lists = {name: v for name, v in columns.items() if isinstance(v, list | tuple) and len(v) == n}
    rows = [{name: values[i] for name, values in lists.items()} for i in range(n)]
    return list(zip(prompts, completions, rows, strict=True))


def as_trl(function: Callable[..., Any], contract: str) -> Callable[..., Any]:
    """Return a function of this contract as a TRL reward."""
    if contract == "trl":
        return function
    return PerBatch(function, contract) if TABLE[contract].batch else PerRow(function, contract)


def check_columns(reward: Callable[..., Any], columns: Collection[str]) -> None:
    """Raise TargetError if `reward` needs a parameter that neither its contract nor a column provides."""
    own = (reward.contract, reward.signature) if isinstance(reward, Called) else ("trl", signature_of(reward))
    check(name_of(reward), *own, columns)


def from_plain(function: Callable[..., float | Awaitable[float | None] | None]) -> PerRow:
    """Wrap a plain `f(prompt, completion)` or `f(prompt, completion, answer)` as a TRL reward.

    >>> from_plain(lambda prompt, completion, answer: float(completion == answer))(
    ...     prompts=["2+2?", "1+2?"], completions=["4", "4"], answer=["4", "3"])
    [1.0, 0.0]
    """
    return PerRow(function, "plain")


def from_verl(function: Callable[..., Any]) -> PerRow:
    """Wrap a verl `compute_score` as a TRL reward.

    `ground_truth` is the column of that name, else `reward_model["ground_truth"]`, else `answer`. `data_source` and
    `extra_info` are the columns, else "" and {}.

    >>> from_verl(lambda data_source, solution_str, ground_truth, extra_info=None: {"score": 0.5})(
    ...     prompts=["2+2?"], completions=["4"], answer=["4"])
    [0.5]
    """
    return PerRow(function, "verl")


def from_openrlhf(function: Callable[..., Any]) -> PerRow:
    """Wrap an OpenRLHF `reward_func` as a TRL reward; it gets one row per call, by position, as in OpenRLHF.

    >>> from_openrlhf(lambda queries, prompts, labels: {"rewards": [len(queries[0])]})(
    ...     prompts=["ab"], completions=["cde"], answer=["x"])
    [5]
    """
    return PerRow(function, "openrlhf")
