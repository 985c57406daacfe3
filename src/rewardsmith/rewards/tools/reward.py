"""Rewards of tool calls in TRL's form: correctness against the wanted calls, and format by a JSON Schema."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import Any

from rewardsmith.data import completion_text
from rewardsmith.data.keys import is_missing
from rewardsmith.rewards.strict_json import read_json
from rewardsmith.rewards.thinking import parts_of
from rewardsmith.rewards.tools.calls import Syntax, ToolCall, read_tool_calls
from rewardsmith.rewards.tools.comparing import CallParts, ExtraCalls, Granularity, Matching, compare_calls
from rewardsmith.rewards.verifiers.formats import has_content
from rewardsmith.rewards.verifiers.reasons import no_key, with_reasons
from rewardsmith.rewards.verifiers.schema import schema_validator
from rewardsmith.scoring.calling import Unscored
from rewardsmith.types import Completion

REFUSED = ToolCall("", {})
"""In place of a call that the schema of its tool refuses: it has no name that is wanted."""


@dataclass(frozen=True, kw_only=True)
class ToolCallReward:
    """Reward a completion's tool calls for their names, parameter names and values, by `compare_calls`.

    Qian et al. 2025, arXiv:2504.13958 (ToolRL). Any syntax of `read_tool_calls` is read, in `answer` too. A completion
    without calls, or with calls that cannot be read, earns `low` where calls are wanted. A call that its tool's schema
    refuses counts as a call and matches nothing. Unscored is a row whose `answer` or `tools` cannot be read; write `[]`
    where no call is wanted.

    The parts are logged as `tool_call/name`, `/keys`, `/values`, `/extra` and `/unreadable` in TRL. Add
    `tool_format` as a second source. Under a group z-score the range counts only relative to the other sources.

    Args:
        granularity, matching, extra_calls, numeric_text, unordered, low, high: as in `compare_calls`.
        syntax: the only syntax that a completion may use; None accepts any.

    >>> reward, answer = ToolCallReward(), ['[{"name": "add", "arguments": {"x": 1, "y": 2}}]'] * 3
    >>> reward(["add(x=1, y=2)", "[add(x=1, y=2), add(x=1, y=2)]", "It is 3."], answer)
    [3.0, -0.375, -3.0]
    """

    granularity: Granularity = "fine"
    matching: Matching = "optimal"
    extra_calls: ExtraCalls = "penalized"
    numeric_text: bool = False
    unordered: bool = False
    low: float = -3.0
    high: float = 3.0
    syntax: Syntax | None = None
    __name__ = "tool_call_reward"

    def __post_init__(self) -> None:
        self.compare((), ())  # names a wrong option at once
        read_tool_calls("", syntax=self.syntax)

    def compare(self, given: Sequence[ToolCall], wanted: Sequence[ToolCall]) -> CallParts:
        """Compare two lists of calls with this reward's options."""
        return compare_calls(
            given,
            wanted,
            granularity=self.granularity,
            matching=self.matching,
            extra_calls=self.extra_calls,
            numeric_text=self.numeric_text,
            unordered=self.unordered,
            low=self.low,
            high=self.high,
        )

    def parts(
        self, completions: Sequence[Completion], answer: Sequence[Any], tools: Sequence[Any] | None = None
    ) -> list[CallParts | Unscored | None]:
        """Return the parts of each row; None where the completion cannot be read, `Unscored(why)` where the row can't.

        >>> ToolCallReward().parts(["add(x=1, y=3)", "<tool_call>"], ["add(x=1, y=2)"] * 2)
        [CallParts(reward=1.5, name=1.0, keys=1.0, values=0.5, extra=0), None]
        """
        found: list[CallParts | Unscored | None] = []
        for completion, key, own in zip(completions, answer, tools or [None] * len(answer), strict=True):
            wanted, schemas = read_key_calls(key), read_schemas(own)
            if isinstance(wanted, Unscored) or isinstance(schemas, Unscored):
                found.append(wanted if isinstance(wanted, Unscored) else schemas)  # type: ignore[arg-type]
            elif not all(allowed(call, schemas) for call in wanted):
                found.append(no_key(key, "has a call that the row's `tools` refuse"))
            else:
                given = _read(completion, self.syntax)
                kept = [call if allowed(call, schemas) else REFUSED for call in given or ()]
                found.append(None if given is None else self.compare(kept, wanted))
        return found

    def reasoned(
        self,
        completions: list[Completion],
        answer: list[Any],
        tools: list[Any] | None = None,
        *,
        log_metric: Callable[[str, float], None] | None = None,
        **columns: Any,
    ) -> list[float | Unscored]:
        """Return the rewards, with the reason in place of None."""
        found = self.parts(completions, answer, tools)
        known = [part for part in found if not isinstance(part, Unscored)]
        if log_metric is not None and known:
            read = [part for part in known if part is not None]
            log_metric("tool_call/unreadable", 1 - len(read) / len(known))
            for name in ("name", "keys", "values", "extra") if read else ():
                log_metric(f"tool_call/{name}", fmean(getattr(part, name) for part in read))
        return [p if isinstance(p, Unscored) else self.low if p is None else p.reward for p in found]

    def __call__(
        self,
        completions: list[Completion],
        answer: list[Any],
        tools: list[Any] | None = None,
        *,
        log_metric: Callable[[str, float], None] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        """Return one reward in [low, high] per row, or None."""
        return with_reasons(partial(self.reasoned, log_metric=log_metric))(completions, answer, tools)


@with_reasons
def tool_format(
    completions: list[Completion],
    tools: list[Any] | None = None,
    answer: list[Any] | None = None,
    *,
    syntax: Syntax | None = None,
    thinking: bool = False,
    **columns: Any,
) -> list[float | Unscored]:
    """1.0 where the tool calls can be read and the tools take their arguments, else 0.0.

    With `answer`, a completion must call a tool exactly if the answer does; without, it must call one. An empty block
    is no call. The paper's format reward checks tags only, and pays for an empty block.

    Args:
        tools: per row what TRL takes as `tools`: a list of OpenAI functions with `name` and JSON Schema `parameters`,
            or its JSON text; `input_schema` in place of `parameters` is read too. None, [], or no such column, checks
            no arguments.
        answer: the wanted calls, as for `ToolCallReward`.
        syntax: the only syntax to accept.
        thinking: ask for `<think>…</think>` with content before the calls.

    >>> tools = [{"name": "add", "parameters": {"type": "object", "required": ["x"]}}]
    >>> tool_format(["add(x=1)", "add(y=1)", "<tool_call></tool_call>", "1"], [tools] * 4)
    [1.0, 0.0, 0.0, 0.0]
    """
    read_tool_calls("", syntax=syntax)
    scores: list[float | Unscored] = []
    n = len(completions)
    for completion, own, key in zip(completions, tools or [None] * n, answer or [...] * n, strict=True):
        schemas, wanted = read_schemas(own), (REFUSED,) if key is ... else read_key_calls(key)
        if isinstance(schemas, Unscored) or isinstance(wanted, Unscored):
            scores.append(schemas if isinstance(schemas, Unscored) else wanted)  # type: ignore[arg-type]
            continue
        calls = _read(completion, syntax)
        fits = calls is not None and bool(calls) == bool(wanted) and all(allowed(call, schemas) for call in calls)
        thought = not thinking or has_content(parts_of(completion_text(completion)).thought or "")
        scores.append(float(fits and thought))
    return scores


def read_key_calls(key: Any) -> tuple[ToolCall, ...] | Unscored:
    """Read the wanted calls of a row, () if it says that none is wanted, or say why they cannot be read."""
    if not isinstance(key, str | Mapping | Sequence) and is_missing(key):
        return Unscored("the row has no key")
    try:
        calls = read_tool_calls(key)
    except ValueError as error:
        return no_key(key, f"cannot be read as tool calls ({error})")
    if not calls and isinstance(key, str) and key.strip() != "[]":
        return no_key(key, "holds no tool call; write [] where none is wanted")
    return calls


def _read(completion: Completion, syntax: Syntax | None) -> tuple[ToolCall, ...] | None:
    """Read a completion's calls; None where they cannot be read."""
    try:
        return read_tool_calls(completion, syntax=syntax)
    except ValueError:
        return None


def read_schemas(tools: Any) -> dict[str, Any] | Unscored | None:
    """Return a validator for each tool of a row by its name, None if the row has no tools, or why they are none."""
    tools = tools.tolist() if hasattr(tools, "tolist") else tools  # an array, as pandas reads lists
    try:
        listed = read_json(tools) if isinstance(tools, str) and tools else tools
        if is_missing(listed) or listed in ("", []):
            return None
        functions = [tool.get("function", tool) for tool in listed]
        return {
            str(function["name"]): schema_validator(json.dumps(_parameters(function)), "tools")
            for function in functions
        }
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        return Unscored(f"the row's tools are no list of functions with JSON Schemas ({type(error).__name__}: {error})")


def _parameters(function: Mapping[str, Any]) -> Any:
    """Return a tool's JSON Schema, which Anthropic's tools and those of MCP call otherwise; {} accepts anything."""
    names = ("parameters", "input_schema", "inputSchema")
    return next((_filled(function[name]) for name in names if function.get(name)), {})


def _filled(node: Any) -> Any:
    """Leave out fields of None, which a data set adds to objects of one column."""
    if isinstance(node, Mapping):
        return {key: _filled(value) for key, value in node.items() if value is not None}
    return [_filled(value) for value in node] if isinstance(node, list) else node


def allowed(call: ToolCall, schemas: Mapping[str, Any] | None) -> bool:
    """Return whether a tool of that name takes these arguments; True where no tools are given."""
    return schemas is None or (call.name in schemas and bool(schemas[call.name].is_valid(call.arguments)))
