"""Verifier of mathematical equality: math-verify's parser and comparison, behind guards."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from rewardsmith.errors import missing_extra
from rewardsmith.rewards.verifiers.answers import plain_text
from rewardsmith.rewards.verifiers.final_answer import final_answer
from rewardsmith.rewards.verifiers.formulas import Formula, Value, read_formula
from rewardsmith.rewards.verifiers.numerals import read_quantity, same_quantity, simplified
from rewardsmith.rewards.verifiers.reasons import by_key, no_key, with_reasons
from rewardsmith.scoring.calling import Unscored
from rewardsmith.types import Completion

MAX_CHARS = 300
MAX_BITS = 256
"""Expressions whose exact value could need more bits are not evaluated."""
MAX_OPERATIONS = 60

_FUNCTIONS = frozenset(
    re.findall(r"\w+", "sqrt sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh log ln exp pi")
)
_COMMANDS = _FUNCTIONS | frozenset(
    re.findall(
        r"\w+",
        "frac dfrac tfrac cfrac cdot times div infty begin end emptyset varnothing mathbb alpha beta gamma delta "
        "epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi rho sigma tau phi varphi chi psi omega "
        "Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega",
    )
)
_ENVIRONMENT = re.compile(r"\\(?:begin|end)\{[bpv]?matrix\}|\\mathbb\{[A-Z]\}")
# Adjacent digits, which latex2sympy adds or multiplies; primes, which it drops; others that it drops or cannot bound.
_TREACHEROUS = re.compile(r"[0-9]\s*\{|\}\s*[0-9.]|[0-9]\s+[0-9.]|['%!&$#@\"]|[0-9]{60}|\.[0-9]*\.|[^\x20-\x7e]")
_SYMBOLS = str.maketrans({"π": r"\pi ", "∞": r"\infty ", "×": r"\times ", "·": r"\cdot ", "∅": r"\emptyset "})
_DECIMAL = re.compile(r"(\^?)([0-9]*)\.([0-9]+)")


@with_reasons
def math_equal(completions: list[Completion], answer: list[Any], **columns: Any) -> list[float | Unscored]:
    """1.0 where the completion commits to the mathematics in `answer`, else 0.0.

    `final_answer` finds the answer, so math-verify never searches the completion. Two numerals are compared as
    rationals, words as text, and lists, sets, tuples, intervals, unions and chains of relations by their parts, with
    the brackets of the key. Only single expressions go to math-verify. They are accepted if the difference is zero to
    90 digits at two points and math-verify agrees.

    Differs: math-verify accepts `13 = 12` for 12, {1, 2} for (1, 2), 9% for 9, 0.0000002 for 0.0000001, 0.333333 for
    1/3 and `neve` for `even`, and its time limit works on the main thread only. Here none of these is equal, and limits
    on the formula's size replace the clock, so that a verdict does not depend on thread, machine or load. If the key is
    a numeral, `5+7` and `\\sqrt{144}` are unfinished work and no answer. Equivalent expressions are accepted in any
    form, so a task such as "expand (x+1)²" also needs a check of the form.

    Args:
        answer: the keys, plain or as a solution that ends in one.

    Returns:
        One value per row; None where `answer` cannot be read.

    >>> math_equal([r"$\\frac{\\sqrt{12}}{2}$", "$13=12$", "$(2, 1)$"], [r"\\sqrt{3}", "12", "(1,2)"])
    [1.0, 0.0, 0.0]
    """
    _engine()
    return by_key(completions, answer, _score)


def _score(text: str, answer: str) -> float | Unscored:
    key = final_answer(answer)
    formula = None if key is None or len(key) > MAX_CHARS else read_formula(key)
    if formula is None or not _readable(formula):
        return no_key(answer, "cannot be read as mathematics")
    committed = final_answer(text)
    given = None if committed is None or len(committed) > MAX_CHARS else read_formula(committed)
    return float(given is not None and _equal(formula, given))


def _readable(formula: Formula) -> bool:
    if not isinstance(formula, Value):
        return all(_readable(part) for part in formula.parts)
    return read_quantity(formula.text) is not None or _is_words(formula.text) or _parsed(formula.text) is not None


def _equal(key: Formula, given: Formula) -> bool:
    assigned_key, assigned_given = _assigned(key), _assigned(given)
    if assigned_given is not None and assigned_key is None and getattr(key, "kind", "") != "chain":
        return _equal(key, assigned_given)
    if assigned_key is not None and getattr(given, "kind", "") != "chain":
        return _equal(assigned_key, given)
    if isinstance(key, Value) or isinstance(given, Value):
        return isinstance(key, Value) and isinstance(given, Value) and _same_value(key.text, given.text)
    kinds = {key.kind, given.kind}
    comparable = len(kinds) == 1 or kinds == {"list", "set"}
    if not comparable or len(key.parts) != len(given.parts) or key.marks != given.marks:
        return False
    left = list(given.parts)
    for part in key.parts:
        others = left if key.kind in ("list", "set", "union") else left[:1]  # in any order, or in this one
        found = next((index for index, other in enumerate(others) if _equal(part, other)), None)
        if found is None:
            return False
        left.pop(found)
    return True


def _assigned(formula: Formula) -> Formula | None:
    """Return the right side of `x = …` with one variable on the left, else None."""
    if isinstance(formula, Value) or formula.kind != "chain" or formula.marks != ("=",):
        return None
    left = formula.parts[0]
    named = isinstance(left, Value) and re.fullmatch(r"[A-Za-z](?:_\{?[A-Za-z0-9]{1,8}\}?)?(?:\([a-z]\))?", left.text)
    return formula.parts[1] if named else None


def _same_value(key: str, given: str) -> bool:
    quantity = read_quantity(key)
    if quantity is not None:
        other = read_quantity(given)
        return other is not None and same_quantity(quantity, other)
    if _is_words(key) or _is_words(given):
        return plain_text(simplified(key)) == plain_text(simplified(given))
    if _letters(key) != _letters(given):
        return False
    one, two = _parsed(key), _parsed(given)
    return one is not None and two is not None and _same_expression(one, two)


def _is_words(text: str) -> bool:
    """Return whether `text` holds a word that is no function: a parser reads `even` as e·v·e·n."""
    bare = re.sub(r"\\[a-zA-Z]+", " ", _ENVIRONMENT.sub(" ", simplified(text)))
    return any(word not in _FUNCTIONS for word in re.findall(r"[^\W\d_]{3,}", bare))


def _letters(text: str) -> frozenset[str]:
    """Return the variables as spelled, because latex2sympy reads `X` as x; e and i are constants."""
    bare = re.sub(r"\\[a-zA-Z]+", " ", _ENVIRONMENT.sub(" ", simplified(text)))
    bare = re.sub(r"[A-Za-z]{2,}", lambda word: " " if word[0] in _FUNCTIONS else word[0], bare)
    return frozenset(re.findall(r"[A-Za-z]", bare)) - {"e", "i"}


@lru_cache(maxsize=1)
def _engine() -> tuple[Callable[..., Any], Callable[..., Any], Any, Callable[..., Any]]:
    try:
        from latex2sympy2_extended.latex2sympy2 import NormalizationConfig, latex2sympy, normalize_latex
        from math_verify.grader import sympy_expr_eq
    except ImportError as error:
        raise missing_extra("math_equal", "math", error) from error
    plain = NormalizationConfig(
        basic_latex=True, units=False, malformed_operators=True, nits=False, boxed="none", equations=False
    )
    return latex2sympy, normalize_latex, plain, sympy_expr_eq


@lru_cache(maxsize=4096)
def _parsed(text: str) -> Any:
    """Return the sympy expression or matrix of `text` if it is safe to evaluate, else None."""
    text = simplified(text).translate(_SYMBOLS)
    text = _DECIMAL.sub(_as_fraction, text)
    commands = set(re.findall(r"\\([a-zA-Z]+)", text))
    bare = _ENVIRONMENT.sub("", text)
    bare = bare.replace("&", ",") if bare != text else bare
    # Numeric fractions and braced powers become a letter, because their digits are next to braces.
    bare = re.sub(r"\\[dtc]?frac\{[0-9]+\}\{[0-9]+\}|[\^_]\{[^{}]*\}|_[0-9a-zA-Z]", "", bare)
    if not text or len(text) > MAX_CHARS or commands - _COMMANDS or _TREACHEROUS.search(bare):
        return None
    from math_verify.grader import should_treat_as_complex
    from sympy import Basic, Expr, ImmutableMatrix, MatrixBase

    latex2sympy, normalize_latex, plain, _ = _engine()
    try:
        latex = normalize_latex(text, config=plain)
        parsed = latex2sympy(
            latex, is_real=not should_treat_as_complex(latex), convert_degrees=False, normalization_config=None
        )
        if isinstance(parsed, MatrixBase):
            return ImmutableMatrix(parsed) if sum(_bits(entry) for entry in parsed) <= MAX_BITS else None
        sound = isinstance(parsed, Expr) and _count(parsed) <= MAX_OPERATIONS and _bits(parsed) <= MAX_BITS
        return parsed if sound or (isinstance(parsed, Basic) and parsed.is_empty is True) else None
    except Exception:  # the parser raises bare exceptions of many kinds
        return None


def _as_fraction(decimal: re.Match[str]) -> str:
    """Return an exact spelling of a decimal, which the parser would read as a float."""
    power, whole, decimals = decimal.groups()
    fraction = rf"\frac{{{whole}{decimals}}}{{1{'0' * len(decimals)}}}"
    return f"^{{{fraction}}}" if power else fraction


def _count(expression: Any) -> int:
    return 1 + sum(_count(argument) for argument in expression.args)


def _bits(expression: Any) -> float:
    """Return an upper bound on the bits that the expression's evaluation holds."""
    if expression.is_Rational:
        return float(abs(expression.p).bit_length() + expression.q.bit_length())
    if expression.is_Pow or expression.func.__name__ == "exp":
        base, power = expression.as_base_exp()
        return _bits(power) + (4.0 if base == expression else _bits(base)) * max(1.0, _size(power))
    if expression.func.__name__ in ("factorial", "factorial2", "binomial", "Sum", "Product", "Integral", "Limit"):
        return float("inf")
    return 8.0 + sum(_bits(argument) for argument in expression.args)


def _size(expression: Any) -> float:
    """Return an upper bound on an exponent's absolute value at the points of `_vanishes`; infinite if unsure."""
    if expression.is_Rational:
        return float(abs(expression)) if expression.q < 10**9 and abs(expression.p) < 10**9 else float("inf")
    if expression.is_Symbol or expression.is_NumberSymbol:
        return 8.0
    if expression.is_Add:
        return sum(_size(argument) for argument in expression.args)
    if expression.is_Mul:
        return math.prod(_size(argument) for argument in expression.args)
    if expression.is_Pow and expression.exp.is_Integer and 0 < expression.exp < 9:
        return _size(expression.base) ** int(expression.exp)
    return float("inf")


def _same_expression(key: Any, given: Any) -> bool:
    from sympy import Expr, MatrixBase, simplify

    try:
        if isinstance(key, MatrixBase) or isinstance(given, MatrixBase):
            if not (isinstance(key, MatrixBase) and isinstance(given, MatrixBase) and key.shape == given.shape):
                return False
            return all(_same_expression(one, two) for one, two in zip(key, given, strict=True))
        if not (isinstance(key, Expr) and isinstance(given, Expr)):
            return bool(key == given)
        # math-verify compares a lone symbol by its spelling only, so `_vanishes` may also decide
        return _vanishes(key, given) and bool(_engine()[3](key, given, 6, 15) or simplify(key - given) == 0)
    except Exception:  # sympy raises bare exceptions of many kinds on odd but valid input
        return False


def _vanishes(key: Any, given: Any) -> bool:
    """Return whether the two agree to 90 digits at two rational points, or are the same infinity."""
    from sympy import Rational

    if key.is_infinite or given.is_infinite:
        return bool(key == given)
    symbols = sorted(key.free_symbols | given.free_symbols, key=str)
    for offset in (0, 7):
        point = {symbol: Rational(1009 + 211 * (n + offset), 997) for n, symbol in enumerate(symbols)}
        difference = (key.subs(point).doit() - given.subs(point).doit()).evalf(50, maxn=120)
        if not (difference.is_number and difference.is_finite and abs(difference) < Rational(1, 10**90)):
            return False
    return True
