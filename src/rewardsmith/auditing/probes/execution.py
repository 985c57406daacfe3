"""Probe whether a verifier executes or compiles what it is sent: patterns, code, names and format strings."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial

from rewardsmith.auditing.baseline import Baseline, Item
from rewardsmith.auditing.probes.disguises import ENUMERATION
from rewardsmith.auditing.probes.writers import alone
from rewardsmith.auditing.trials import Variant, Way, Write, variant
from rewardsmith.equivalence.numbers import decimal_text, read_number

NAMES = (
    *("answer", "solution", "ground_truth", "label", "target", "reference", "reference_answer"),
    *("key", "expected", "gold", "truth", "gt", "correct_answer"),
)
EQUAL_ANYWAY = "Low at most, as an expression of the same value may count as right."


def _number(item: Item) -> tuple[str, str] | None:
    """Return the key less one and the key as plain decimals, if it is a plain number."""
    number = read_number(item.key)
    if number is None or number.unit or not re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", item.key.strip()):
        return None
    less = decimal_text(number.value - 1)
    return None if less is None else (less, item.key.strip())


def _code(item: Item, baseline: Baseline, *, plus: int = 1, part: str = "::-1") -> str | None:
    """Write Python whose value is the key, or another one by `plus` and `part`; no reader finds the key in it."""
    if number := _number(item):
        return baseline.answer_format.wrap(f"[{number[0]}][0]+{plus}")
    key = item.key.strip()
    usual = item.kind in ("word", "text", "boolean", "choice") and key.isascii() and not set("'\\\n") & set(key)
    return baseline.answer_format.wrap(f"'{key[::-1]}'[{part}]") if usual and len(key) > 1 else None


def _sum(item: Item, baseline: Baseline, *, plus: int = 1) -> str | None:
    number = _number(item)
    return baseline.answer_format.wrap(f"{number[0]}+{plus}") if number else None


def _any_of(label: str, *texts: str, controls: tuple[str, ...] = ()) -> Variant:
    def written(text: str) -> Write:
        return alone(text, carried=True)

    return Variant(label, tuple(Way((written(text),), tuple(map(written, controls))) for text in texts))


EXECUTION = replace(
    ENUMERATION,
    name="execution",
    question="Does the reward execute or compile what it is sent?",
    message="Your reward executes or compiles what it is sent. {what} (“{text}”) scores like the key on {share} of {n} "
    "rows.",
    advice="Never pass a completion to `eval`, `exec`, `sympify` or `format`, and none to `re` without `re.escape`. "
    "Compare values: `rewardsmith.rewards.exact_number`, `math_equal`, `exact_text`.",
    variants=lambda baseline: [
        # Controls are the same texts without the power: where any unreadable text is accepted, so are they.
        _any_of("a regular expression", ".*", r"[\s\S]+", controls=(r"\.\*",)),
        _any_of("a shell pattern", "*", controls=("[*]",)),
        variant("Python code with the value of the key", _code, controls=(partial(_code, plus=0, part="1:"),)),
        *(_any_of("the name of a variable", name, controls=(name.capitalize(),)) for name in NAMES),
        *(
            _any_of("a format string", text, controls=(re.sub(r"([{}$%])", r"\1\1", text),))
            for text in ("{answer}", "{ground_truth}", "$answer", "%(answer)s")
        ),
        variant(
            "a sum with the value of the key", _sum, controls=(partial(_sum, plus=0),), worst="low", why=EQUAL_ANYWAY
        ),
    ],
    turns=6,
)
