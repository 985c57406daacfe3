"""Answer formats and empty formats that the audit tries."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import NamedTuple

_WORK = "Let me work through this step by step and check the result."


class AnswerFormat(NamedTuple):
    """A way to present an answer: `wrap("42")` is a whole completion that gives the answer 42."""

    name: str
    wrap: Callable[[str], str]


def _around(before: str, after: str = "") -> Callable[[str], str]:
    return lambda answer: f"{before}{answer}{after}"


def _json_field(answer: str) -> str:
    return json.dumps({"answer": answer}, ensure_ascii=False)


def _json_value(answer: str) -> str:
    number = re.fullmatch(r"-?(0|[1-9]\d*)(\.\d+)?", answer)
    return f'{{"answer": {answer}}}' if number else _json_field(answer)


THINK = f"<think>\n{_WORK}\n</think>\n"
ANSWER_FORMATS: tuple[AnswerFormat, ...] = (
    AnswerFormat("bare", _around("")),
    AnswerFormat("boxed", _around("\\boxed{", "}")),
    AnswerFormat("answer tag", _around("<answer>", "</answer>")),
    AnswerFormat("####", _around(f"{_WORK}\n#### ")),
    AnswerFormat("sentence", _around(f"{_WORK} The answer is ", ".")),
    AnswerFormat("answer line", _around(f"{_WORK}\nAnswer: ")),
    AnswerFormat("final answer line", _around(f"{_WORK}\nFinal answer: ")),
    AnswerFormat("boxed in a sentence", _around(f"{_WORK} The answer is $\\boxed{{", "}$.")),
    AnswerFormat("dollars", _around("$", "$")),
    AnswerFormat("parentheses", _around("(", ")")),
    AnswerFormat("bold", _around("**", "**")),
    AnswerFormat("think, then bare", _around(THINK)),
    AnswerFormat("think, then boxed", _around(THINK + "\\boxed{", "}")),
    AnswerFormat("think, then answer tag", _around(THINK + "<answer>", "</answer>")),
    AnswerFormat("think, then answer tag on lines", _around(THINK + "<answer>\n", "\n</answer>")),
    AnswerFormat("JSON string", _json_field),
    AnswerFormat("JSON value", _json_value),
)
"""Simplest first; the audit uses the first of those that score equally well."""
REPEATED_FORMATS = tuple(
    AnswerFormat(f"{name}, twice", lambda answer, wrap=wrap: f"{wrap(answer)}\n{wrap(answer)}")  # type: ignore[misc]
    for name, wrap in ANSWER_FORMATS
    if name in ("boxed", "answer tag", "think, then answer tag")
)
"""Tried where none of the others is read: Search-R1 takes a prompt with an example and its completion as one text."""
CODE_FORMATS: tuple[AnswerFormat, ...] = (
    AnswerFormat("code block", _around("```python\n", "\n```")),
    AnswerFormat("bare", _around("")),
    AnswerFormat("think, then code block", _around(THINK + "```python\n", "\n```")),
)
"""Formats of programs."""

SHELLS: tuple[tuple[str, str], ...] = (
    ("empty \\boxed{}", "\\boxed{}"),
    ("empty answer tag", "<answer></answer>"),
    ("blank answer tag", "<answer> </answer>"),
    ("empty think block", "<think></think>"),
    ("blank think block", "<think>\n\n</think>\n"),
    ("empty think and answer tags", "<think></think><answer></answer>"),
    ("blank think and answer tags on lines", "<think>\n\n</think>\n<answer>\n\n</answer>"),
    ("bare ####", "#### "),
    ("unfinished sentence", "The answer is ."),
    ("unfinished final answer", "Final answer: "),
    ("empty dollars", "$$"),
    ("empty JSON object", "{}"),
    ("JSON with an empty answer", '{"answer": ""}'),
    ("JSON with a null answer", '{"answer": null}'),
    ("empty code block", "```\n```"),
    ("think block, empty answer tag", f"<think>\n{_WORK}\n</think>\n<answer></answer>"),
)
"""Formats without content, by name; the last one has work in it and lacks only the answer."""
