"""Verifier of mathematical equality: what kind of answer the key is, and one comparison for each kind."""

from __future__ import annotations

import re
from collections.abc import Collection
from fractions import Fraction
from functools import lru_cache
from typing import Any, Literal, get_args

from rewardsmith.rewards.verifiers.equality import Rules, cells_of, equal
from rewardsmith.rewards.verifiers.evaluation import TooLargeError, UndefinedError, infinite, values
from rewardsmith.rewards.verifiers.final_answer import final_answer
from rewardsmith.rewards.verifiers.formulas import read_formula
from rewardsmith.rewards.verifiers.nodes import Node
from rewardsmith.rewards.verifiers.numerals import named, numeral
from rewardsmith.rewards.verifiers.reasons import by_key, no_key, with_reasons
from rewardsmith.rewards.verifiers.spelling import UnreadableError, is_word, tokens
from rewardsmith.scoring.calling import Unscored
from rewardsmith.types import Completion

Kind = Literal[
    "number", "expression", "equation", "inequality", "interval", "set", "list", "tuple", "matrix", "ratio",
    "congruence", "base", "time", "choice", "text",
]  # fmt: skip
Policy = Literal["inequality", "assignment", "worked"]

STEPS = 30_000
"""Steps of evaluation that a row may take: about half a second."""
_CHOICE = re.compile(r"\( (?P<round>[A-Z]) \)(?: (?P<rest>.+))?|(?P<bare>[A-Z])(?: [.):](?: (?P<remark>.+))?)?")
_TIME = re.compile(r"([0-9]{1,2})(?: ?: ?([0-9]{2}))?(?: ?: ?([0-9]{2}))? ?(?:([ap]) ?\.? ?m ?\.?)?", re.I)
_BASE = re.compile(r"\(?((?=[A-F]*[0-9]|[A-F]{2,}\)?_\{?\(?16)[0-9A-F]+)\)?_\{?\(?([0-9]{1,2})\)?\}?", re.IGNORECASE)
_WORDS = {"empty set": "∅", "the empty set": "∅", "all real numbers": "ℝ", "all reals": "ℝ", "real numbers": "ℝ"}


@with_reasons
def math_equal(
    completions: list[Completion],
    answer: list[Any],
    *,
    require_unit: bool = False,
    refuse: Collection[Policy] = (),
    **columns: Any,
) -> list[float | Unscored]:
    """1.0 where the completion commits to the mathematics in `answer`, else 0.0.

    `final_answer` finds the answer, `kind_of` says what the key is, and each kind has its own comparison (the table is
    in docs/verifiers.md). The same text is always equal. Rational values are compared exactly. Other expressions are
    equal if they agree to at least 50 digits wherever the key has a value, at six points drawn from a hash of the key.
    Sizes are bounded and there is no clock, so a verdict does not depend on thread, machine or load.

    If the key is a numeral, `5+7` and `\\sqrt{144}` are unfinished work and no answer. Equivalent expressions are
    accepted in any form, so a task such as "expand (x+1)²" also needs a check of the form.

    Args:
        answer: the keys, plain or as a solution that ends in one.
        require_unit: refuse an answer without the unit of its key; otherwise a known unit may be missing.
        refuse: spellings to refuse. "inequality": `0 < x < 2` for `(0, 2)` and the reverse; "assignment": `x=2, y=4`
            for `(2, 4)` and the reverse; "worked": `2+2=4` for 4.

    Returns:
        One value per row; None where `answer` cannot be read.

    >>> math_equal([r"$\\frac{\\sqrt{12}}{2}$", "$13=12$", "$(2, 1)$"], [r"\\sqrt{3}", "12", "(1,2)"])
    [1.0, 0.0, 0.0]
    """
    unknown = set(refuse) - set(get_args(Policy))
    if isinstance(refuse, str) or unknown:
        raise ValueError(f"math_equal: refuse is {refuse!r}. Pass a list of {', '.join(get_args(Policy))}.")

    def score(text: str, key: str) -> float | Unscored:
        return _score(text, key, require_unit, frozenset(refuse))

    return by_key(completions, answer, score)


def kind_of(key: str) -> Kind | None:
    """Return what kind of answer `key` is, or None where it cannot be read.

    >>> [kind_of(key) for key in ("12 cm", "2\\\\sqrt{3}", "y=2x", "(1, 2]", "63_8", "3:45 pm", "even", "\\\\foo")]
    ['number', 'expression', 'equation', 'interval', 'base', 'time', 'text', None]
    """
    try:
        return _kind(_read(key))
    except UnreadableError:
        return None


def _kind(node: Node) -> Kind:
    plain: dict[str, Kind] = {
        "list": "list", "set": "set", "matrix": "matrix", "congruence": "congruence", "base": "base", "time": "time",
        "choice": "choice", "text": "text", "union": "interval",
    }  # fmt: skip
    if node.op == "list" and all(part.op == "chain" and set(part.marks) != {"="} for part in node.args):
        return "inequality"
    if node.op in plain:
        return plain[node.op]
    if node.op == "bracket":
        return "tuple" if node.marks == ("(", ")") else "interval"
    if node.op == "chain":
        return "ratio" if ":" in node.marks else "equation" if set(node.marks) == {"="} else "inequality"
    return "expression" if numeral(node.args[0] if node.op == "unit" else node) is None else "number"


@lru_cache(maxsize=1024)
def _read(text: str) -> Node:
    """Return the answer as a tree; raise `UnreadableError` where it is neither mathematics nor words."""
    flat = _canonical(text)
    time = _TIME.fullmatch(flat)
    if time and (time[2] or time[4]) and int(time[1]) < 25 and int(time[2] or 0) < 60 and int(time[3] or 0) < 60:
        hour, half = int(time[1]), (time[4] or "").lower()
        if half and not 1 <= hour <= 12:
            raise UnreadableError("no time of a day")
        seconds = (hour % 12 + 12 * (half == "p") if half else hour) * 3600 + int(time[2] or 0) * 60 + int(time[3] or 0)
        return Node("time", (), (Fraction(seconds), half))
    choice = _CHOICE.fullmatch(flat)
    if choice:
        rest = choice["rest"] or choice["remark"] or ""
        if rest.startswith(("and ", "or ", ", ", "; ", "/ ")):
            raise UnreadableError("several options")
        return Node("choice", (_read(rest),) if rest else (), (choice["round"] or choice["bare"],))
    base = _BASE.fullmatch(flat.replace(" ", ""))
    if base and 2 <= int(base[2]) <= 36:
        try:
            value = Fraction(int(base[1], int(base[2])))
            return Node("base", (), (value, int(base[2]))) if base[2] != "10" else Node("num", (), (value,))
        except ValueError:
            pass
    if flat.lower() in _WORDS:
        return Node("const", (), (_WORDS[flat.lower()],))
    try:
        return _with_names(read_formula(text))
    except UnreadableError:
        read = tokens(text)
        letters = any(is_word(token) or (token.kind == "letters" and not token.text.isascii()) for token in read)
        if not letters or any(token.text.startswith("\\") or token.text in ("{", "}", "_", "^") for token in read):
            raise
        return Node("text", (), (flat.lower(),))


def _canonical(text: str) -> str:
    """Return the tokens of `text` between single spaces: the same for texts that differ in look only."""
    return " ".join(token.text for token in tokens(text)[:-2])


def _with_names(node: Node) -> Node:
    """Return a list that sets several variables as a system, whose marks are the variables."""
    if node.op == "chain" and node.marks == ("∈",) and node.args[1].op == "set":  # x ∈ {1, 2} is x = 1 or x = 2
        return Node("list", tuple(Node("chain", (node.args[0], one), ("=",)) for one in node.args[1].args), ("or",))
    if node.op != "list" or not node.marks or "or" in node.marks:
        return node
    parts = [named(part, [STEPS]) for part in node.args]
    names = tuple(name for name, _ in parts)
    if all(names) and len({name.partition("_")[0] for name in names}) == len(names):
        return Node("system", tuple(value for _, value in parts), names)
    return node


def _score(text: str, answer: str, require_unit: bool, refuse: frozenset[str]) -> float | Unscored:
    key, committed = final_answer(answer, sentences=True), final_answer(text, sentences=True)
    if key is None and not re.search(r"\s", answer.strip()):
        key = answer.strip()  # a numeral of many digits
    if key is None:
        return no_key(answer, "cannot be read as mathematics")
    if committed is not None and _alike(key, committed):
        return 1.0
    rules = Rules(require_unit, refuse, key, [STEPS])
    try:
        wanted = _checked(key)
    except (UnreadableError, TooLargeError, UndefinedError):
        return 1.0 if committed and _same_tree(key, committed) else no_key(answer, "cannot be read as mathematics")
    try:
        return float(committed is not None and _accepts(wanted, _read(committed), key, committed, rules))
    except (UnreadableError, TooLargeError, UndefinedError):
        return 0.0


def _same_tree(key: str, given: str) -> bool:
    try:
        return _read(key) == _read(given)
    except UnreadableError:
        return False


def _alike(key: str, given: str) -> bool:
    if key == given:
        return True
    try:
        return _canonical(key) == _canonical(given)
    except UnreadableError:
        return False


@lru_cache(maxsize=1024)
def _checked(key: str) -> Node:
    """Return the key as a tree; raise where one of its values cannot be evaluated."""
    node = _read(key)
    budget = [STEPS]

    def check(part: Node) -> None:
        if part.op in ("text", "time", "choice", "base") or infinite(part):
            return
        if part.op in ("list", "set", "bracket", "chain", "union", "matrix", "congruence", "system", "unit"):
            for inner in part.args:
                check(inner)
        elif part.op == "const" and part.marks[0] in "∅ℝℤℚℕℂ":
            return
        elif not cells_of(part) and not any(values((part,), key, budget)):
            raise UndefinedError("no value at any point")

    check(node)
    return node


def _accepts(key: Node, given: Node, key_text: str, given_text: str, rules: Rules) -> bool:
    if equal(key, given, rules):
        return True
    one, other = _attached(key_text), _attached(given_text)  # 3m may be 3 meters where the other says so
    stated = rules._replace(require_unit=True)
    return (one is not None and given.op == "unit" and equal(one, given, stated)) or (
        other is not None and key.op == "unit" and equal(key, other, stated)
    )


def _attached(text: str) -> Node | None:
    try:
        node = read_formula(text, attached=True)
    except UnreadableError:
        return None
    return node if node.op == "unit" else None
