"""Audit a reward of tool calls: the key's calls in the usual syntaxes, wrong calls, and what a careless match pays."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from rewardsmith.auditing.asking import Building, Prepared, Probe, Subject, rows_within
from rewardsmith.auditing.baseline import CONDUCT_ROWS, MOST_ITEMS, PROBED, Baseline, Item, Sizes, build_baseline
from rewardsmith.auditing.causes import by_parts
from rewardsmith.auditing.columns_read import reads_answers
from rewardsmith.auditing.forecast import calls_of
from rewardsmith.auditing.probes import keys, tool_calls
from rewardsmith.auditing.subjects.code import USUAL
from rewardsmith.auditing.texts import THINK, AnswerFormat
from rewardsmith.data import Row
from rewardsmith.equivalence.calls import Call, calls_in, written, wrong_calls
from rewardsmith.scoring import Scorer
from rewardsmith.scoring.score_rows import resolve_form

CALLS_PER_ROW, CALLS_PER_PROBED, MOST_READ = 60, 70, 4096
PROBES: tuple[Probe, ...] = (
    Probe("answer_key", "Are the right calls accepted?", keys.answer_key),
    Probe("near_miss", "Are calls with a wrong value, argument or name refused?", keys.near_miss),
    Probe("constant_answer", "Are the same calls refused on most prompts?", keys.constant_answer),
    Probe("other_answer", "Are the calls of other prompts refused?", keys.other_answer),
    Probe("extra_calls", tool_calls.EXTRA.question, tool_calls.extra_calls),
    *(Probe(one.name, one.question, one) for one in (tool_calls.DUPLICATE, tool_calls.TYPES, tool_calls.ORDER)),
    *USUAL,
)
_MESSAGE = '{"role": "assistant", "content": "", "tool_calls": ['


def _object(call: Call, field: str = "arguments", message: bool = False) -> str:
    given = json.dumps(call.arguments) if message else call.arguments
    own = {"name": call.name, field: given}
    return json.dumps({"type": "function", "function": own} if message else own, ensure_ascii=False)


def _python(call: Call) -> str:
    return f"{call.name}({', '.join(f'{key}={value!r}' for key, value in call.arguments.items())})"


def _format(name: str, before: str, one: Callable[[Call], str], between: str, after: str) -> AnswerFormat:
    """Make the format that writes the calls of a JSON text; any other text stands in their place."""
    return AnswerFormat(name, lambda text: f"{before}{between.join(map(one, calls_in(text))) or text}{after}")


_PARAMETERS, _TAG, _END = partial(_object, field="parameters"), "<tool_call>\n", "\n</tool_call>"
CALL_FORMATS = (
    _format("tool_call tags", _TAG, _object, f"{_END}\n{_TAG}", _END),
    _format("JSON list", "[", _object, ", ", "]"),
    _format("JSON objects of parameters on lines", "", _PARAMETERS, "\n", ""),
    _format("JSON list in a code block", "```json\n[", _object, ", ", "]\n```"),
    _format("Python calls", "[", _python, ", ", "]"),
    _format("<|python_tag|>", "<|python_tag|>", _PARAMETERS, "; ", ""),
    _format("[TOOL_CALLS]", "[TOOL_CALLS] [", _object, ", ", "]"),
    _format("messages", _MESSAGE, partial(_object, message=True), ", ", "]}"),
    _format("think, then tool_call tags", THINK + _TAG, _object, f"{_END}\n{_TAG}", _END),
    _format("think, then one tool_call tag", THINK + _TAG, _object, "\n", _END),
    _format("think, then one tool_call tag of parameters", THINK + _TAG, _PARAMETERS, "\n", _END),
)


def _in_tags(row: Row) -> bool:
    return row.text == CALL_FORMATS[0].wrap(written(tool_calls.key_calls(row)))


class CallRow(Row):
    """A row whose completion is a message with `tool_calls` where its text spells one and its prompt is messages."""

    __slots__ = ()

    def with_completion(self, text: str) -> Row:
        """Return this row with a text, or with the message that it spells, as its completion."""
        row = super().with_completion(text)
        completion: Any = row.completion
        with suppress(ValueError):  # words stand after it
            if not isinstance(self.prompt, str) and text.startswith(_MESSAGE):
                completion = [json.loads(text)]
        return CallRow(self.prompt, completion, self.columns, self.answer_column)

    @property
    def text(self) -> str:
        """The completion's text, or the text that spells its message."""
        said: Any = self.completion
        return json.dumps(said[0]) if isinstance(said, list) and said[0].get("tool_calls") else super().text


def with_calls(plain: Subject, *, budget: int, seed: int) -> Subject:
    """Return the audit of a reward of tool calls, if most prompts' keys are calls that it pays; else `plain`.

    Args:
        plain: the audit of the reward on prompts.
    """
    rows = [row for row in plain.rows if isinstance(row, Row)]
    by_prompt = {row.prompt_text: row for row in rows[:: 1 + len(rows) // MOST_READ]}.values()
    known = [(row, calls) for row in by_prompt if (calls := tool_calls.key_calls(row))]
    if 2 * len(known) <= len(by_prompt) or not reads_answers(plain.targets[""], [row for row, _ in known]):
        return plain

    def building(scorers: Mapping[str, Scorer], alpha: float) -> Building[Baseline]:
        rng, probed = random.Random(seed), min(max(budget // 400, 1), PROBED)
        left = budget - CALLS_PER_PROBED * (probed + 1)  # formats, conduct and odd input
        size = rows_within(left, calls_per_row=CALLS_PER_ROW, least=1, most=min(MOST_ITEMS, len(known)))
        chosen, items = rng.sample(known, size), []
        formed = resolve_form(scorers[""], [row for row, _ in chosen]).rows
        for k, (row, (_, calls)) in enumerate(zip(formed, chosen, strict=True)):
            other: list[Call] = next((own for _, own in (*chosen[k + 1 :], *chosen[:k]) if own != calls), [])
            asked = CallRow(row.prompt, row.completion, row.columns, row.answer_column)
            items.append(Item(asked, written(calls), "calls", tuple(map(written, wrong_calls(calls, other)))))
        sizes = Sizes(size, probed=probed, conduct=min(CONDUCT_ROWS, 3 * probed))
        how: dict[str, Any] = {"rng": rng, "size": sizes, "alpha": alpha, "given": (items, CALL_FORMATS)}
        return (yield from build_baseline([item.row for item in items], reads_answers=True, **how))

    def expect(scorers: Mapping[str, Scorer], alpha: float) -> int:
        return calls_of(building(scorers, alpha), PROBES, _in_tags)

    def prepare(scorers: Mapping[str, Scorer], alpha: float) -> Building[Prepared]:
        baseline = yield from building(scorers, alpha)
        if not baseline.verifier:
            return (yield from plain.prepare(scorers, alpha))
        return Prepared(
            kind="reward of tool calls",
            n_rows=len(rows),
            honest=baseline.conduct.rows,
            questions=[(probe, baseline) for probe in PROBES],
            levels=baseline.levels,
            reads=baseline.accepted,
            grouped=lambda findings, sent: by_parts(findings),
        )

    return plain._replace(prepare=prepare, expect=expect)
