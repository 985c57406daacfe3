"""Evaluate expressions at fixed points: exactly where the value is rational, otherwise to many digits.

Sizes are bounded and no clock is used, so that a verdict does not depend on thread, machine or load.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from fractions import Fraction
from hashlib import sha256
from typing import Any

from rewardsmith.rewards.verifiers.nodes import Node, symbols

POINTS = 6
MAX_BITS = 200_000
MAX_DIGITS = 1000
MAX_SIZE = 100_000
_local = threading.local()


class TooLargeError(ValueError):
    """The value takes more digits or steps than are spent on an answer."""


class UndefinedError(ValueError):
    """The expression has no value at this point."""


class Evaluation:
    """Evaluates expressions at one point. budget: the steps left, shared by all that is done for a row."""

    def __init__(self, point: dict[str, Fraction], digits: float, budget: list[int], principal: bool) -> None:
        self.point, self.digits, self.budget, self.principal = point, digits, budget, principal
        self.magnitude = -(10**9)  # in bits, of the largest term of a sum: cancellation loses as many

    @property
    def floats(self) -> Any:
        """Return the arithmetic of this thread, at the precision of this point."""
        if self.digits > MAX_DIGITS:
            raise TooLargeError("too many digits")
        if not hasattr(_local, "context"):
            from mpmath.ctx_mp import MPContext  # type: ignore[import-untyped]

            _local.context = MPContext()
        _local.context.dps = int(self.digits) + 15
        return _local.context

    def spend(self, steps: int) -> None:
        """Take `steps` off the budget."""
        self.budget[0] -= steps
        if self.budget[0] < 0:
            raise TooLargeError("too many steps")

    def of(self, node: Node) -> Any:
        """Return the value of `node`: a Fraction where it is rational, else a float of many digits."""
        if node.op not in _OPERATIONS:
            raise UndefinedError(f"{node.op} has no value")
        value = _OPERATIONS[node.op](self, node)
        self.spend(1 + (_bits(value) ** 2 // 10**7 if isinstance(value, Fraction) else int(self.digits) // 50))
        if not isinstance(value, Fraction) and not self.floats.isfinite(value):
            raise UndefinedError("infinite")
        return value

    def each(self, node: Node) -> list[Any]:
        """Return the values of the parts of `node`."""
        return [self.of(part) for part in node.args]

    def real(self, value: Any) -> Any:
        """Return a real value as a float of many digits."""
        if self.floats.im(value):
            raise UndefinedError("order of complex numbers")
        return self.floats.re(value)


def _bits(value: Fraction) -> int:
    bits = value.numerator.bit_length() + value.denominator.bit_length()
    if bits > MAX_BITS:
        raise TooLargeError("too many bits")
    return bits


def _constant(here: Evaluation, node: Node) -> Any:
    name = node.marks[0]
    if name not in "πei":
        raise UndefinedError(f"{name} has no value")
    return here.floats.mpc(0, 1) if name == "i" else +here.floats.pi if name == "π" else +here.floats.e


def _sum(here: Evaluation, node: Node) -> Any:
    terms = here.each(node)
    total = sum(terms[1:], terms[0])
    if not isinstance(total, Fraction):
        here.magnitude = max(here.magnitude, *(here.floats.mag(term) for term in terms if term))
    return total


def _quotient(here: Evaluation, node: Node) -> Any:
    above, below = here.each(node)
    if below == 0:
        raise UndefinedError("a division by zero")
    return above * (1 / below)


def _power(here: Evaluation, node: Node) -> Any:
    base, power = here.each(node)
    if node.op == "root":
        if power == 0:
            raise UndefinedError("a root of degree zero")
        power = 1 / power
    return _raised(here, base, power)


def _raised(here: Evaluation, base: Any, power: Any) -> Any:
    rational = isinstance(power, Fraction)
    if base == 0:
        if not rational or power <= 0:
            raise UndefinedError("zero to a power that is not positive")
        return Fraction(0)
    if isinstance(base, Fraction) and rational and power.denominator == 1:
        bits = max(abs(base.numerator), base.denominator).bit_length()
        if abs(power) * bits > MAX_BITS and abs(base) != 1:
            raise TooLargeError("too large a power")
        return base ** int(power)
    floats = here.floats
    odd = rational and power.denominator % 2 and not here.principal
    if odd and floats.im(base) == 0 and floats.re(base) < 0:  # the real root of a negative number
        return (-1) ** (power.numerator % 2) * _raised(here, -base, power)
    size = power * floats.log(base)
    if abs(size) > MAX_SIZE:
        raise TooLargeError("too large a power")
    return floats.exp(size)


def _series(here: Evaluation, node: Node) -> Any:
    first, last = here.of(node.args[0]), here.of(node.args[1])
    if not all(isinstance(end, Fraction) and end.denominator == 1 for end in (first, last)) or last - first > 300:
        raise TooLargeError("a sum of too many terms")
    outer, total = here.point, Fraction(node.op == "prod")
    for index in range(int(first), int(last) + 1):
        here.point = {**outer, node.marks[0]: Fraction(index)}
        term = here.of(node.args[2])
        total = total + term if node.op == "sum" else total * term
        here.spend(1 + (_bits(total) if isinstance(total, Fraction) else 0) // 1000)
    here.point = outer
    return total


def _unit(here: Evaluation, node: Node) -> Any:
    if node.marks[0].powers:
        raise UndefinedError("a unit within an expression")
    return here.of(node.args[0]) * node.marks[0].number


def _call(here: Evaluation, node: Node) -> Any:  # noqa: PLR0911
    name = node.marks[0]
    if name == "det":
        return _determinant(here, node.args[0])
    values, floats = here.each(node), here.floats
    if name.endswith("()"):  # an unknown function: another rational map for each name
        drawn = int.from_bytes(sha256(name.encode()).digest()[:4])
        value = sum((n + 1) * value for n, value in enumerate(values))
        return (drawn * value + 7) * (1 / (value * value + drawn % 1009 + 3))
    if name in _WHOLE:
        if not all(isinstance(value, Fraction) and value.denominator == 1 and abs(value) < 10**30 for value in values):
            raise UndefinedError("a function of integers of something else")
        return Fraction(_WHOLE[name](*map(int, values)))
    if name == "abs":
        return abs(values[0])
    if name in ("min", "max", "floor", "ceil", "sgn"):
        ordered = sorted(values, key=here.real)
        whole = {"floor": math.floor, "ceil": math.ceil, "sgn": lambda x: (x > 0) - (x < 0)}
        return ordered[0 if name == "min" else -1] if name in ("min", "max") else Fraction(int(whole[name](values[0])))
    logarithm = name in ("ln", "lg", "log")
    if (logarithm and 0 in values) or (not logarithm and abs(values[0]) > MAX_SIZE):
        raise UndefinedError(f"{name} has no value here, or none that is looked for")
    if name == "log":  # without a base it equals neither ln nor the one to base 10
        return floats.log(values[0]) / (floats.log(values[1]) if len(values) > 1 else floats.sqrt(floats.mpf(7)))
    try:
        known = {"ln": "log", "lg": "log10", "cis": "expj"}
        return getattr(floats, known.get(name, name.replace("arc", "a")))(values[0])
    except (ZeroDivisionError, ValueError) as error:
        raise UndefinedError(f"{name} has no value here") from error


def _determinant(here: Evaluation, matrix: Node) -> Any:
    cells, width = matrix.args, matrix.marks[0] if matrix.op == "matrix" else 0
    if len(cells) != width * width or not 0 < width < 5:
        raise UndefinedError("a determinant of no square matrix, or a large one")
    if width == 1:
        return here.of(cells[0])
    total: Any = Fraction(0)
    for column in range(width):
        rest = tuple(cell for n, cell in enumerate(cells[width:]) if n % width != column)
        minor = _determinant(here, Node("matrix", rest, (width - 1,)))
        total = total + (-1) ** column * here.of(cells[column]) * minor
    return total


def _factorial(n: int, step: int = 1) -> int:
    if not 0 <= n <= 2000:
        raise TooLargeError("too large a factorial, or none")
    return math.prod(range(n, 0, -step))


def _binomial(n: int, k: int) -> int:
    if not (0 <= n <= 5000 and k >= 0):
        raise TooLargeError("too large a binomial, or none")
    return math.comb(n, k)


_WHOLE: dict[str, Callable[..., int]] = {
    "!": _factorial, "!!": lambda n: _factorial(n, 2), "binom": _binomial, "gcd": math.gcd, "lcm": math.lcm,
}  # fmt: skip
_OPERATIONS: dict[str, Callable[[Evaluation, Node], Any]] = {
    "num": lambda here, node: node.marks[0], "base": lambda here, node: node.marks[0], "const": _constant,
    "sym": lambda here, node: here.point[node.marks[0]], "+": _sum, "*": lambda here, node: math.prod(here.each(node)),
    "/": _quotient, "^": _power, "root": _power, "sum": _series, "prod": _series, "unit": _unit, "call": _call,
}  # fmt: skip


def holds(node: Node, *names: str) -> bool:
    """Return whether the tree holds an operation, or a function or constant, of these names."""
    return node.op in names or node.marks[:1] in [(n,) for n in names] or any(holds(part, *names) for part in node.args)


def digits_of(node: Node) -> float:
    """Return an estimate of the digits that a difference between two such expressions may hide behind."""
    inner: float = sum(digits_of(part) for part in node.args)
    if node.op == "num":
        return float(0.302 * (abs(node.marks[0].numerator).bit_length() + node.marks[0].denominator.bit_length() - 2))
    if node.op != "^":
        return inner + 0.5
    power = node.args[1].args[-1] if node.args[1].op == "*" else node.args[1]
    return inner * max(1.0, float(min(abs(power.marks[0]), Fraction(MAX_SIZE)))) if power.op == "num" else 4 * inner + 4


def _coordinate(name: str, seed: str, index: int, integers: bool) -> Fraction:
    """Return the value of a variable at a point; it depends on the key, so that no answer fits all points."""
    drawn = int.from_bytes(sha256(f"{seed}|{name}|{index}".encode()).digest()[:6])
    part = Fraction(1 + drawn % 9972, 9973)
    sizes = (part, 1 + part, -part, 1 + 3 * part, -(1 + 2 * part), part / 2)
    mixed = sizes[index if index < 3 or drawn & 2**40 else (index + drawn // 2**20) % POINTS]
    return Fraction(2 + drawn % 23) if integers else mixed


def _alternates(node: Node) -> bool:
    """Return whether a negative number has a power with a variable, which is then an integer."""
    negative = node.op == "^" and node.args[0].op == "*" and node.args[0].args[0].marks == (Fraction(-1),)
    return bool(negative and symbols(node.args[1])) or any(_alternates(part) for part in node.args)


def values(nodes: tuple[Node, ...], seed: str, budget: list[int]) -> Iterator[tuple[tuple[Any, ...], Evaluation]]:
    """Yield the values of `nodes` at each point where the first has one: the real ones, or if none is real, all."""
    names = sorted(frozenset().union(*(symbols(node) for node in nodes)))
    integers = any(holds(node, "sum", "prod", *_WHOLE) or _alternates(node) for node in nodes)
    principal = any(holds(node, "i", "cis") for node in nodes)
    digits = 50 + sum(digits_of(node) for node in nodes)
    complex_, any_real = [], False
    for index in range(POINTS if names else 1):
        point = {name: _coordinate(name, seed, index, integers) for name in names}
        here, row = Evaluation(point, digits, budget, principal), []
        for node in nodes:
            try:
                row.append(here.of(node))
            except UndefinedError:
                row.append(None)
        if row[0] is None:
            continue
        if principal or isinstance(row[0], Fraction) or not here.floats.im(row[0]):
            any_real = True
            yield tuple(row), here
        else:
            complex_.append((tuple(row), here))
    if not any_real:
        yield from complex_


def _close(one: Any, other: Any, here: Evaluation) -> bool:
    """Return whether two values are equal, exactly or to all digits but those that cancellation may lose."""
    if one is None or other is None or (isinstance(one, Fraction) and isinstance(other, Fraction)):
        return one is not None and bool(one == other)
    mag = here.floats.mag
    difference = one + -1 * other
    return bool(mag(difference) < max(mag(one), mag(other), here.magnitude) - 3.3219 * (here.digits - 15))


def same_value(key: Node, given: Node, seed: str, budget: list[int]) -> bool:
    """Return whether two expressions agree wherever the key has a value."""
    if infinite(key) or infinite(given):
        return infinite(key) == infinite(given)
    compared = False
    for (one, other), here in values((key, given), seed, budget):
        compared = True
        if not _close(one, other, here):
            return False
    return compared


def proportional(key: Node, given: Node, seed: str, budget: list[int], *, positive: bool = False) -> bool:
    """Return whether `given` is `key` times a constant other than zero, which is above zero if `positive`."""
    found = [pair for pair in values((key, given), seed, budget) if pair[0][0] != 0]
    if symbols(key) != symbols(given) or len(found) < 3 or any(not other for (_, other), _ in found):
        return False
    ratios = [other * (1 / one) for (one, other), _ in found]
    here = found[0][1]
    return all(_close(ratio, ratios[0], here) for ratio in ratios) and (not positive or here.real(ratios[0]) > 0)


def infinite(node: Node) -> int:
    """Return 1 or -1 for ∞ with its sign, else 0."""
    if node.op == "*" and len(node.args) == 2 and node.args[0].marks == (Fraction(-1),):
        return -infinite(node.args[1])
    return int(node.op == "const" and node.marks == ("∞",))
