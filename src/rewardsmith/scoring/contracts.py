"""Call contracts: which parameters an engine passes to a reward, how a row fills them, how its result is read.

`CONTRACTS` is the table. A function's contract is the first whose marks are among its parameters and which can fill
them. `scoring.called` calls it, so that the rest of the library sees TRL's `f(prompts, completions, **columns)`.

A batch contract is called once per batch. The others are called once per row, so their rows fail one at a time. All but
reasoning-gym may be async. A process reward has the parameters of a TRL reward; it differs in returning step scores
(`process_target`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import takewhile
from operator import attrgetter, methodcaller
from typing import Any, NamedTuple

from rewardsmith.data.column_names import ANSWER_NAMES
from rewardsmith.describe import describe
from rewardsmith.errors import TargetError
from rewardsmith.scoring.arguments import Call, Options, Parser

PROMPT_NAMES = ("prompt", "question", "query", "instruction", "problem", "prompt_str", "input")
COMPLETION_NAMES = (
    *("completion", "response", "output", "generation", "text", "model_output", "model_response", "predict_str"),
    *("predict", "prediction", "pred", "generated_text", "llm_solution", "llm_output", "response_str", "output_text"),
    *("solution_text", "candidate", "reply", "result", "solution_str"),
)
ANSWER_PARAMETERS = frozenset(
    (
        *ANSWER_NAMES,
        *(name + "s" for name in ANSWER_NAMES),
        *("reference_solution", "reference_solutions", "gt", "gt_answer", "test_cases"),
    )
)
"""Parameter names that receive the `answer` column if the rows have no column of that name."""
SCORES = ("score", "reward", "overall", "value", "rewards")
"""Keys or attributes of a result that hold the score, best first."""
ACCEPTED = (
    "TRL f(completions, **columns), plain f(prompt, completion, answer), verl f(data_source, solution_str, "
    "ground_truth, extra_info=None), or another of docs/audit.md"
)


Fillers = Mapping[str, Callable[[Call], Any]]


@dataclass(frozen=True)
class Contract:
    """How an engine calls a reward.

    shown: the signature, for messages.
    marks: sets of parameter names. A function with all names of one set is called so, unless it has one of `unless`.
    gives: parameter → its value for a row.
    shared: parameter → its value for a whole call.
    lacking: parameter → what it gets if it has no default and no column has its name.
    batch: called once per batch, with a list for each of `gives`.
    columns: the row's columns are passed too.
    usual: those of `gives` that `**kwargs` receives; empty for all.
    positional: passed by position, in this order.
    forms: of prompt and completion, best first; the next is tried if the reward cannot read the one before.
    scores: as `SCORES`.
    """

    name: str
    shown: str
    marks: tuple[set[str], ...]
    gives: Fillers
    shared: Mapping[str, Callable[[], Any]] = field(default_factory=dict)
    lacking: Fillers = field(default_factory=dict)
    unless: Collection[str] = ()
    batch: bool = False
    columns: bool = False
    usual: Collection[str] = ()
    positional: tuple[str, ...] = ()
    forms: tuple[str, ...] = ("given",)
    scores: tuple[str, ...] = SCORES

    def missing(self, signature: Signature, columns: Collection[str] = ()) -> list[str]:
        """Return the parameters without a default that neither the engine nor a column fills."""
        given = {*self.gives, *self.shared, *self.lacking}
        if self.columns:
            answer = () if {"ground_truth", "reward_model"}.isdisjoint(columns) else ("answer",)
            given |= {*columns, *signature.aliases({*given, *columns, *answer}), *answer}
        return [name for name in signature.required[len(self.positional) :] if name not in given]


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


def column_or_prompt(name: str) -> Callable[[Call], Any]:
    """Return a filler: the column of that name, else the prompt."""
    return lambda row: row.column(name, row.prompt)


# fmt: off
ASKED, TEXT, PROMPT, COMPLETION = map(attrgetter, ("asked", "text", "prompt", "completion"))
EXTRA: Fillers = {"data_source": lambda row: row.columns.get("data_source") or "",
                  "extra_info": lambda row: row.column("extra_info", {})}
VERL: Fillers = {"solution_str": Call.sequence, "ground_truth": Call.truth, **EXTRA}
VERIFIERS: Fillers = {"prompt": PROMPT, "completion": COMPLETION, "answer": methodcaller("key", ""),
                      "state": Call.state, "info": lambda row: row.column("info", {}),
                      "task": methodcaller("column", "task", "default")}
EITHER = ("given", "messages", "text")
CONTRACTS = (
    Contract("areal", "AReaL f(prompt, completions, prompt_ids, completion_ids, **row)",
             ({"prompt", "completions"}, {"prompt_ids"}), unless=("prompts",), columns=True,
             gives={"prompt": ASKED, "completions": TEXT, "prompt_ids": Call.prompt_ids,
                    "completion_ids": Call.completion_ids}),
    Contract("verl-batch", "verl f(data_sources, solution_strs, ground_truths, extra_infos)", ({"solution_strs"},),
             batch=True, gives={f"{name}s": fill for name, fill in VERL.items()}),
    Contract("verl", "verl f(data_source, solution_str, ground_truth, extra_info=None)", ({"solution_str"},),
             gives=VERL, lacking=dict.fromkeys(("reward_router_address", "reward_model_tokenizer"), lambda row: None)),
    Contract("easyr1-batch", "EasyR1 f(reward_inputs)", ({"reward_inputs"},), batch=True,
             positional=("reward_inputs",), gives={"reward_inputs": Call.reward_input}),
    Contract("easyr1", "EasyR1 f(reward_input)", ({"reward_input"},),
             positional=("reward_input",), gives={"reward_input": Call.reward_input}),
    Contract("openrlhf", "OpenRLHF f(queries, prompts, labels)", ({"queries"},),  # it passes lists of one row
             positional=("queries", "prompts", "labels"), scores=("rewards", *SCORES),
             gives={"queries": lambda row: [row.asked + row.text], "prompts": lambda row: [row.asked],
                    "labels": lambda row: [row.key()]}),
    Contract("slime-batch", "slime and miles f(args, samples)", ({"args", "samples"},), batch=True,
             positional=("args", "samples"), shared={"args": Options}, gives={"samples": Call.sample}),
    Contract("slime", "slime and miles f(args, sample)", ({"args", "sample"},),
             positional=("args", "sample"), shared={"args": Options}, gives={"sample": Call.sample}),
    Contract("rllm", "rLLM f(task_info, action)", ({"task_info"},),
             gives={"task_info": Call.task_info, "action": TEXT}),
    Contract("rllm-episode", "rLLM f(task, episode)", ({"task", "episode"},),
             gives={"task": Call.task, "episode": Call.episode}),
    Contract("ragen", "RAGEN f(action, ground_truth) or f(prediction, label)",
             ({"action", "ground_truth"}, {"prediction", "label"}), scores=(*SCORES, "is_correct"),
             gives={"action": TEXT, "prediction": TEXT, "ground_truth": Call.truth, "label": Call.key}),
    Contract("verifiers-group", "verifiers f(prompts, completions, answers, states)",
             ({"answers", "states"}, {"answers", "infos"}), batch=True, forms=EITHER, shared={"parser": Parser},
             gives={f"{name}s": fill for name, fill in VERIFIERS.items()}),
    Contract("verifiers", "verifiers f(prompt, completion, answer, state, parser, info, task)",
             ({"parser"}, {"state"}),
             unless={"completions", "target", "action", "obs", *COMPLETION_NAMES[1:]},
             columns=True, forms=EITHER, shared={"parser": Parser}, gives=VERIFIERS),
    Contract("eval-protocol", "eval-protocol f(messages, ground_truth, **columns)", ({"messages"},),
             unless={"completions", *COMPLETION_NAMES}, columns=True,
             gives={"messages": Call.messages, "ground_truth": Call.truth,
                    "original_messages": lambda row: row.messages()[:-1]}),
    Contract("trl", "TRL f(completions, **columns)",
             ({"completions"}, {"completion_ids"}, {"environments"}, {"trainer_state"}), batch=True, columns=True,
             shared=dict.fromkeys(("trainer_state", "log_extra", "log_metric"), Options),  # calling.Caller's are used
             gives={"prompts": PROMPT, "completions": COMPLETION, "completion_ids": Call.completion_ids}),
    Contract("plain", "plain f(prompt, completion, answer)", tuple({name} for name in COMPLETION_NAMES), columns=True,
             usual=("prompt", "completion"), forms=("text", "messages"),
             lacking={**EXTRA, "info": VERIFIERS["info"], "task": VERIFIERS["task"]},
             gives={"prompt": PROMPT, **{name: column_or_prompt(name) for name in PROMPT_NAMES[1:]},
                    **dict.fromkeys(COMPLETION_NAMES, COMPLETION)}),
    Contract("reasoning-gym", "reasoning-gym score_answer(answer, entry)", (), columns=True, gives={"answer": TEXT}),
)
# fmt: on
TABLE = {contract.name: contract for contract in CONTRACTS}
ANSWERED = frozenset(TABLE) - {"areal", "eval-protocol", "plain", "trl", "verifiers", "verifiers-group"}
"""Contracts whose engine passes a ground truth to every reward."""


def contract_of(function: Callable[..., Any]) -> str:
    """Return the name of a function's contract: the first of its marks that can fill its parameters.

    >>> contract_of(lambda data_source, solution_str, ground_truth, extra_info=None: 1.0)
    'verl'

    Raises:
        TargetError: no contract fits.
    """
    signature = signature_of(function)
    names = {*signature.positional, *signature.keywords}
    if "completions" in names and inspect.signature(function).parameters["completions"].annotation in (str, "str"):
        return "areal"  # its completions are those of one row
    marked = [c for c in CONTRACTS if any(mark <= names for mark in c.marks) and names.isdisjoint(c.unless)]
    if marked:
        filled = (contract.name for contract in marked if contract.columns or not contract.missing(signature))
        return next(filled, marked[0].name)
    if names & {"prompts", "steps"} or (signature.takes_any and not signature.required):
        return "trl"
    nearest = max(
        (contract for contract in CONTRACTS if contract.marks),
        key=lambda contract: (len(names & contract.gives.keys()), -len(contract.missing(signature))),
    )
    hint = ACCEPTED
    if names & nearest.gives.keys():
        missing = [f"`{name}`" for name in nearest.missing(signature) if name not in ANSWER_PARAMETERS]
        lacks = f"does not pass {', '.join(missing)}" if missing else "passes a completion, but no parameter takes it"
        hint = f"nearest is {nearest.shown}, which {lacks}"
    listed = ", ".join((*signature.positional, *sorted(signature.keywords))) or "nothing"
    raise TargetError(
        f"contract_of: {name_of(function)} takes ({listed}), which is no reward signature we know: {hint}. "
        "Rename its parameters, or bind an option, `module:name(option=1)`; if it is a factory, call it so."
    )


def check(name: str, called: str, signature: Signature, columns: Collection[str]) -> None:
    """Raise TargetError if the reward `name`, in the contract `called`, needs a parameter that nothing provides."""
    contract = TABLE[called]
    if missing := contract.missing(signature, columns):
        listed = ", ".join(f"`{parameter}`" for parameter in missing)
        lacks = f"but no column has that name (columns: {', '.join(['prompt', 'completion', *sorted(columns)])})"
        remedy = "Add the column to the rows, or bind the argument with functools.partial"
        if not contract.columns:
            lacks, remedy = f"which {contract.shown} does not pass", "Bind the argument with functools.partial"
        raise TargetError(
            f"check_columns: {name} requires {listed}, {lacks}. "
            f"{remedy}, at the command line as `module:name({missing[0]}=...)`."
        )
