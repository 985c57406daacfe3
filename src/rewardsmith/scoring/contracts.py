"""Read the signatures of published rewards as TRL's contract: `f(prompts, completions, **columns)`.

TRL calls a reward once per batch; the others are called once per row, so their rows fail one at a time.

    trl            f(prompts?, completions?, completion_ids?, **columns) -> one number or None per row
    plain          f(prompt, completion, **columns) -> number or None
    verl           compute_score(data_source, solution_str, ground_truth, extra_info=None) -> number or {"score": ...}
    openrlhf       reward_func(queries, prompts, labels) -> {"rewards": ...} or tensor; a query is prompt + completion
    reasoning-gym  dataset.score_answer(answer, entry) -> number
    process        f(prompts?, completions?, steps, **columns) -> per row a list of numbers, one per step

A process reward has the parameters of a TRL reward; it differs in returning step scores (`process_target`). Per-row
contracts get prompts and completions as plain text. All but reasoning-gym may be async.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import takewhile
from typing import Any, Literal, NamedTuple

from rewardsmith.data import completion_text, text_of
from rewardsmith.data.rows import ANSWER_NAMES
from rewardsmith.describe import describe
from rewardsmith.errors import TargetError
from rewardsmith.scoring.sync_async import Calls, SyncOrAsync, sync_or_async
from rewardsmith.types import Completion, Text

Contract = Literal["trl", "plain", "verl", "openrlhf", "reasoning-gym", "process"]

PROMPT_NAMES = ("prompt", "question", "query", "instruction", "problem")
COMPLETION_NAMES = ("completion", "response", "output", "generation", "text")
ANSWER_PARAMETERS = frozenset(
    (
        *ANSWER_NAMES,
        *(name + "s" for name in ANSWER_NAMES),
        *("expected", "expected_answer", "correct_answer", "gold_answer", "gold_answers"),
        *("reference_solution", "reference_solutions"),
    )
)
"""Parameter names that receive the `answer` column if the rows have no column of that name."""

_GIVEN: dict[Contract, tuple[str, ...]] = {
    "trl": ("prompts", "completions", "completion_ids", "trainer_state", "log_extra", "log_metric"),
    "plain": (*PROMPT_NAMES, *COMPLETION_NAMES),
    "verl": ("data_source", "solution_str", "ground_truth", "extra_info"),
    "openrlhf": ("queries", "prompts", "labels"),
    "reasoning-gym": ("answer",),
}
ACCEPTED = (
    "TRL f(completions, **columns), plain f(prompt, completion), "
    "verl f(data_source, solution_str, ground_truth, extra_info=None), OpenRLHF f(queries, prompts, labels)"
)


class Signature(NamedTuple):
    """The arguments that a function accepts.

    positional: its positional-only parameters, in order.
    keywords: the names it takes by keyword.
    required: the names without a default.
    takes_any: whether it has `**kwargs`.
    """

    positional: tuple[str, ...]
    keywords: frozenset[str]
    required: tuple[str, ...]
    takes_any: bool

    def bind(self, available: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Return positional and keyword arguments: all available ones that the function accepts."""
        positional = [available[name] for name in takewhile(available.__contains__, self.positional)]
        keywords = {
            name: value
            for name, value in available.items()
            if name in self.keywords or (self.takes_any and name not in self.positional)
        }
        return positional, keywords

    def aliases(self, present: Collection[str]) -> list[str]:
        """Return the parameters that mean the reference answer, under a name that `present` lacks."""
        if "answer" not in present:
            return []
        named = (*self.positional, *self.keywords)
        wanted = self.required if "answer" in named else named
        return [name for name in wanted if name in ANSWER_PARAMETERS and name not in present]


def signature_of(function: Callable[..., Any]) -> Signature:
    """Return the signature of `function` or of its `__call__`.

    >>> signature_of(lambda completions, solution, **columns: [])
    Signature(positional=(), keywords=frozenset({...}), required=('completions', 'solution'), takes_any=True)
    """
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError) as error:
        raise TargetError(
            f"signature_of: {name_of(function)} has no signature ({error}). Wrap it in a Python function: {ACCEPTED}."
        ) from error
    kinds = inspect.Parameter
    return Signature(
        positional=tuple(p.name for p in parameters if p.kind is kinds.POSITIONAL_ONLY),
        keywords=frozenset(p.name for p in parameters if p.kind in (kinds.POSITIONAL_OR_KEYWORD, kinds.KEYWORD_ONLY)),
        required=tuple(
            p.name
            for p in parameters
            if p.default is kinds.empty and p.kind not in (kinds.VAR_KEYWORD, kinds.VAR_POSITIONAL)
        ),
        takes_any=any(p.kind is kinds.VAR_KEYWORD for p in parameters),
    )


def name_of(function: Any) -> str:
    """Return a readable name: the function's or its class's, with the arguments that `partial` has bound.

    >>> name_of(partial(sorted, reverse=True))
    'sorted(reverse=True)'
    """
    return describe(function, show=repr)


def is_async(function: Any) -> bool:
    """Return whether calling `function` gives a coroutine; looks through `partial`, methods and callable objects."""
    while isinstance(function, partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def contract_of(function: Callable[..., Any]) -> Contract:
    """Return the contract of `function`, by the names of its parameters.

    >>> contract_of(lambda data_source, solution_str, ground_truth, extra_info=None: 1.0)
    'verl'

    Raises:
        TargetError: no contract fits.
    """
    if isinstance(function, PerRow):
        return "trl"
    signature = signature_of(function)
    names = {*signature.positional, *signature.keywords}
    if "solution_str" in names:
        return "verl"
    if "queries" in names:
        return "openrlhf"
    if names & {"completions", "completion_ids"} or (signature.takes_any and not signature.required):
        return "trl"
    if names & set(COMPLETION_NAMES):
        return "plain"
    if names & {"prompts", "steps"}:
        return "trl"
    listed = ", ".join((*signature.positional, *sorted(signature.keywords))) or "nothing"
    raise TargetError(
        f"contract_of: {name_of(function)} takes ({listed}), which is no reward signature we know: {ACCEPTED}. "
        "Rename its parameters to one of these; if it is a factory, call it: `module:factory(option=1)`."
    )


@dataclass(frozen=True)
class PerRow(SyncOrAsync):
    """A function of one row as a TRL reward; `call` and `value` are for callers that score row by row.

    If the function is async, the rows of a call run concurrently.
    """

    function: Callable[..., Any]
    contract: Contract
    signature: Signature = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "signature", signature_of(self.function))
        self.become(is_async=is_async(self.function))

    @property
    def __name__(self) -> str:  # TRL names its metrics after it
        return name_of(self.function)

    def call(self, prompt: Text, completion: Completion | None, columns: Mapping[str, Any]) -> Any:
        """Return the function's own result for one row, or its coroutine."""
        asked, answered = text_of(prompt), completion_text(completion)
        if self.contract == "reasoning-gym":
            return self.function(answer=answered, entry=columns["entry"])
        if self.contract == "openrlhf":
            label = columns.get("label") if columns.get("answer") is None else columns["answer"]
            return self.function([asked + answered], [asked], [label])
        if self.contract == "verl":
            truth = columns.get("ground_truth")
            if truth is None and isinstance(columns.get("reward_model"), Mapping):
                truth = columns["reward_model"].get("ground_truth")
            extra_info = columns.get("extra_info")
            given = {
                "data_source": columns.get("data_source") or "",
                "solution_str": answered,
                "ground_truth": columns.get("answer") if truth is None else truth,
                "extra_info": {} if extra_info is None else extra_info,
            }
        else:
            given = {**dict.fromkeys(PROMPT_NAMES, asked), **columns, **dict.fromkeys(COMPLETION_NAMES, answered)}
            given["prompt"] = asked
            given |= dict.fromkeys(self.signature.aliases(given), columns.get("answer"))
            if self.signature.takes_any:  # of the names for a prompt or completion, **kwargs gets the usual two
                spare = {*PROMPT_NAMES[1:], *COMPLETION_NAMES[1:]}.difference(columns, self.signature.keywords)
                given = {name: value for name, value in given.items() if name not in spare}
        positional, keywords = self.signature.bind(given)
        return self.function(*positional, **keywords)

    def value(self, result: Any) -> Any:
        """Return the reward inside a result: a verl dict's `score`, an OpenRLHF dict's only `rewards`."""
        if self.contract == "verl" and isinstance(result, Mapping) and "score" in result:
            return result["score"]
        if self.contract == "openrlhf":
            rewards = result["rewards"] if isinstance(result, Mapping) and "rewards" in result else result
            rewards = rewards.tolist() if hasattr(rewards, "tolist") else rewards
            return rewards[0] if isinstance(rewards, list | tuple) and len(rewards) == 1 else rewards
        return result

    @sync_or_async
    def __call__(self, *, prompts: list[Text], completions: list[Completion], **columns: Any) -> Calls:
        # TRL also passes arguments that are no columns: trainer_state, log_extra, log_metric.
        n = len(completions)
        lists = {name: v for name, v in columns.items() if isinstance(v, list | tuple) and len(v) == n}
        rows = [{name: values[i] for name, values in lists.items()} for i in range(n)]
        results = yield [partial(self.call, *row) for row in zip(prompts, completions, rows, strict=True)]
        return [self.value(result) for result in results]


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


def check_columns(reward: Callable[..., Any], columns: Collection[str]) -> None:
    """Raise TargetError where `reward` needs a parameter that neither its contract nor a column provides."""
    contract: Contract = reward.contract if isinstance(reward, PerRow) else "trl"
    signature = reward.signature if isinstance(reward, PerRow) else signature_of(reward)
    given = {*_GIVEN[contract], *(columns if contract in ("trl", "plain", "reasoning-gym") else ())}
    aliased = signature.aliases({*given, *columns}) if contract in ("trl", "plain") else []
    missing = [name for name in signature.required if name not in given and name not in aliased]
    if missing and contract != "openrlhf":
        raise TargetError(
            f"check_columns: {name_of(reward)} requires {', '.join(f'`{name}`' for name in missing)}, but no column "
            f"has that name (columns: {', '.join(['prompt', 'completion', *sorted(columns)])}). "
            "Add the column to the rows, or bind the argument with functools.partial."
        )
