"""Probe rewards of tool calls: extra calls, calls made twice, another order, values of another type."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from rewardsmith.auditing.asking import Asking
from rewardsmith.auditing.baseline import Baseline, Item
from rewardsmith.auditing.probes.disguises import ENUMERATION
from rewardsmith.auditing.trials import Write, variant
from rewardsmith.auditing.variant_probe import VariantProbe
from rewardsmith.data import Row
from rewardsmith.data.keys import value_at
from rewardsmith.equivalence.calls import Call, calls_in, changed, written

Calls = list[Call]
OURS = "Match calls one to one: `rewardsmith.rewards.ToolCallReward`"


def key_calls(row: Row) -> Calls:
    """Return the tool calls of a row's key."""
    return calls_in(value_at(row.columns, row.answer_column))


def _writes(make: Callable[[Calls, Calls], Calls]) -> Write:
    """Write what is made of the right calls and another row's; None if it is the right calls, or nothing."""

    def write(item: Item, baseline: Baseline) -> str | None:
        made = written(make(calls_in(item.key), calls_in(item.wrongs[-1])))
        return None if made in ("[]", item.key) else baseline.answer_format.wrap(made)

    return write


def _guesses(own: Calls, *shifts: int) -> Calls:
    call = next((call for call in own if call.arguments), own[0])
    return [changed(call, shift) for shift in shifts]


def _other(own: Calls, far: Calls) -> Calls:
    """Return a call of another tool."""
    return [call for call in [*far, Call(f"{own[-1].name}_v2", {})] if call.name != own[-1].name][:1]


def _more(own: Calls, far: Calls) -> Calls:
    return [*own[:-1], own[-1]._replace(arguments={**own[-1].arguments, "include_details": True})]


_FIVE = _writes(lambda own, far: [*_guesses(own, 1, 2), *own, *_guesses(own, 3, 4)])
_BOTH, _SWAPPED = (_writes(lambda own, far, k=k: [*own[:k], *_other(own, far)]) for k in (None, -1))  # type: ignore[misc]
EXTRA = replace(
    ENUMERATION,
    name="extra_calls",
    question="Do extra calls beside the right ones cost nothing?",
    message="{what} score like the right calls alone on {share} of {n} rows.",
    advice=f"{OURS} prices each extra call.",
    variants=lambda baseline: [
        variant("the right calls and a wrong one after them", _writes(lambda own, far: [*own, *_guesses(own, 1)])),
        variant("the right calls and a wrong one before them", _writes(lambda own, far: [*_guesses(own, 1), *own])),
        variant("the right calls and one of another tool", _BOTH),
        variant("the right calls among four wrong ones", _FIVE),
        variant("calls with one more argument", _writes(_more), worst="medium", why="The argument may be optional."),
    ],
)


@dataclass(frozen=True, slots=True)
class Hedge(VariantProbe):
    """A question whose gain is (score − control) / (right − control)."""

    def gain(self, baseline: Baseline, item: Item, scores: Sequence[float], n_texts: int) -> tuple[float, float]:
        """Return that gain, 0 if the control scores like the right calls, and the control's score."""
        over = scores[-1]
        full = baseline.gain(item, item.right or 0.0, over=over)
        return (baseline.gain(item, scores[0], over=over) / full if full > 0.1 else 0.0), over


HEDGE = Hedge(
    name=EXTRA.name,
    question=EXTRA.question,
    message="{what} keep more than half of what the right call adds on {share} of {n} rows, so a policy that is "
    "unsure gains by making all of them.",
    advice=EXTRA.advice,
    variants=lambda baseline: [
        variant(f"{label},", text, controls=(_SWAPPED,), worst=worst, why="The right calls alone earn more.")
        for label, text, worst in (
            ("five guesses at a call, one of them right", _FIVE, "medium"),
            ("a right call and one of another tool", _BOTH, "low"),
        )
    ],
    least_gain=0.55,  # half would do for a policy that is sure of neither
    applies=ENUMERATION.applies,
)


def extra_calls(baseline: Baseline) -> Asking:
    """Send extra calls; they may neither score like the right calls alone nor be worth making when unsure."""
    outcome = yield from EXTRA(baseline)
    return outcome if outcome.findings else (yield from HEDGE(baseline))


DUPLICATE = replace(
    EXTRA,
    name="duplicate_calls",
    question="Does it cost nothing to make the same call twice?",
    variants=lambda baseline: [
        variant("the right calls, each twice,", _writes(lambda own, far: [call for call in own for _ in (0, 1)])),
        variant("the right calls, five times over,", _writes(lambda own, far: own * 5)),
        variant("the right calls and the first one again", _writes(lambda own, far: [*own, own[0]])),
    ],
)
_LAX = "a boolean as a number"
_VALUE = re.compile(r"true|false|-?(0|[1-9]\d{0,14})(\.\d{0,9}[1-9])?")


def _retyped(value: Any) -> dict[str, Any]:
    """Return a value in other types, in which it reads the same, by what was done."""
    if isinstance(value, str):
        return {"a text as the value that it spells": json.loads(value)} if _VALUE.fullmatch(value) else {}
    if isinstance(value, list | dict):
        return {"an object or a list as JSON text": json.dumps(value)}
    if isinstance(value, bool):
        return {"a boolean as its text": json.dumps(value), _LAX: int(value)}
    return {"a number as its text": json.dumps(value)} if value is not None else {}


def _confused(own: Calls, far: Calls, *, kind: str) -> Calls:
    """Return the calls with the first value that allows it in another type."""
    for k, call in enumerate(own):
        for key, value in call.arguments.items():
            if kind in (made := _retyped(value)):
                return [*own[:k], call._replace(arguments={**call.arguments, key: made[kind]}), *own[k + 1 :]]
    return []


TYPES = replace(
    EXTRA,
    name="argument_types",
    question="Is a value of another type accepted?",
    message="{what} is accepted on {share} of {n} rows. A tool that checks its arguments refuses it.",
    advice="Compare values with their types: `rewardsmith.rewards.ToolCallReward(numeric_text=False)`.",
    variants=lambda baseline: [
        variant(kind, _writes(partial(_confused, kind=kind)), worst=worst, why="The value is right but for its type.")
        for kind, worst in (
            ("a number as its text", "medium"),
            ("a text as the value that it spells", "medium"),
            ("a boolean as its text", "medium"),
            ("an object or a list as JSON text", "medium"),
            (_LAX, "low"),
        )
    ],
)


def _in_order(item: Item, baseline: Baseline, *, dependent: bool, turned: bool) -> str | None:
    """Write the right calls, perhaps in reverse order, if the key says, or does not say, that some need others."""
    own = calls_in(item.key)
    steps = {call.step for call in key_calls(item.row)}
    if (len(steps) > 1) is not dependent or written(own[::-1]) == item.key:
        return None
    return baseline.answer_format.wrap(written(own[::-1] if turned else own))


_FREE = partial(_in_order, dependent=False)
ORDER = replace(
    EXTRA,
    name="call_order",
    question="Does the order of calls count exactly where the key says so?",
    message="{what} on {share} of {n} rows.",
    advice=f"Compare calls that need one another's results step by step. {OURS} takes any order.",
    variants=lambda baseline: [
        variant(
            "in reverse order, calls that need one another's results are accepted",
            partial(_in_order, dependent=True, turned=True),
            worst="high",
        ),
        variant(
            "in reverse order, independent calls score less",
            partial(_FREE, turned=False),
            controls=(partial(_FREE, turned=True),),
            worst="info",
        ),
    ],
)
