"""The forms in which policies hand over an answer; the audit finds out which of them a reward reads."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import NamedTuple

_WORK = "Let me work through this step by step and check the result."


class Carrier(NamedTuple):
    """A way to present an answer: `wrap("42")` is a whole completion that commits to 42."""

    name: str
    wrap: Callable[[str], str]


def _around(before: str, after: str = "") -> Callable[[str], str]:
    return lambda answer: f"{before}{answer}{after}"


def _json_field(answer: str) -> str:
    return json.dumps({"answer": answer}, ensure_ascii=False)


def _json_value(answer: str) -> str:
    number = re.fullmatch(r"-?(0|[1-9]\d*)(\.\d+)?", answer)
    return f'{{"answer": {answer}}}' if number else _json_field(answer)


_THINK = f"<think>\n{_WORK}\n</think>\n"
CARRIERS: tuple[Carrier, ...] = (
    Carrier("bare", _around("")),
    Carrier("boxed", _around("\\boxed{", "}")),
    Carrier("answer tag", _around("<answer>", "</answer>")),
    Carrier("####", _around(f"{_WORK}\n#### ")),
    Carrier("sentence", _around(f"{_WORK} The answer is ", ".")),
    Carrier("answer line", _around(f"{_WORK}\nAnswer: ")),
    Carrier("final answer line", _around(f"{_WORK}\nFinal answer: ")),
    Carrier("boxed in a sentence", _around(f"{_WORK} The answer is $\\boxed{{", "}$.")),
    Carrier("dollars", _around("$", "$")),
    Carrier("parentheses", _around("(", ")")),
    Carrier("bold", _around("**", "**")),
    Carrier("think, then bare", _around(_THINK)),
    Carrier("think, then boxed", _around(_THINK + "\\boxed{", "}")),
    Carrier("think, then answer tag", _around(_THINK + "<answer>", "</answer>")),
    Carrier("think, then answer tag on lines", _around(_THINK + "<answer>\n", "\n</answer>")),
    Carrier("JSON string", _json_field),
    Carrier("JSON value", _json_value),
)
"""Simplest first: among carriers that are paid alike, the audit uses the first."""

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
"""Formats with nothing in them, by name; the last one has work in it and only the answer is missing."""
