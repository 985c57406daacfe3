"""Sets of real numbers: intervals, inequalities of one variable and their unions, in one form."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

from rewardsmith.rewards.verifiers.evaluation import infinite, same_value, values
from rewardsmith.rewards.verifiers.nodes import MINUS, Node, number, symbols, times
from rewardsmith.rewards.verifiers.numerals import name_of

_INFINITY = Node("const", (), ("∞",))
_MINUS = Node("*", (MINUS, _INFINITY))


class Interval(NamedTuple):
    """Two ends and whether they belong to it."""

    low: Node
    high: Node
    has_low: bool
    has_high: bool


class Reals(NamedTuple):
    """A union of intervals from left to right, and the variable that is in it, "" for none."""

    intervals: tuple[Interval, ...]
    name: str = ""


LINE = Interval(_MINUS, _INFINITY, False, False)


def reals(node: Node) -> Reals | None:  # noqa: PLR0911
    """Return the set of real numbers that `node` describes; None where it is something else.

    >>> from rewardsmith.rewards.verifiers.formulas import read_formula
    >>> found = reals(read_formula(r"(-\\infty, 1) \\cup (3, \\infty)"))
    >>> same_reals(found, reals(read_formula("x < 1 or x > 3")))
    True
    """
    if node == Node("const", (), ("ℝ",)):
        return Reals((LINE,))
    if node.op == "bracket" and len(node.args) == 2:
        low, high = node.args
        opened, closed = node.marks[0] == "[", node.marks[1] == "]"
        return _checked([Interval(low, high, opened, closed)], "")
    if node.op == "set":
        return _checked([Interval(part, part, True, True) for part in node.args], "")
    if node.op == "union" and set(node.marks) == {"∪"}:
        return _joined([reals(part) for part in node.args])
    if node.op == "union" and node.marks == ("∖",):
        whole, taken = reals(node.args[0]), reals(node.args[1])
        return _without(taken) if whole == Reals((LINE,)) and taken else None
    if node.op == "list" and "or" in node.marks and all(part.op == "chain" for part in node.args):
        return _joined([reals(part) for part in node.args])
    return _relation(node) if node.op == "chain" else None


def _relation(node: Node) -> Reals | None:
    parts, marks = node.args, node.marks
    if marks == ("∈",):
        inner = reals(parts[1])
        return Reals(inner.intervals, name_of(parts[0])) if inner and parts[0].op == "sym" else None
    if marks == ("≠",) and parts[0].op == "sym":
        return _without(_checked([Interval(parts[1], parts[1], True, True)], name_of(parts[0])))
    if not set(marks) <= {"<", "≤", ">", "≥"}:
        return None
    if len(parts) == 2 and "call" in (parts[0].op, parts[1].op):
        return _distance(*parts, closed=marks == ("≤",)) if set(marks) <= {"<", "≤"} else None
    at = next((n for n, part in enumerate(parts) if part.op == "sym"), -1)
    if at < 0 or len(parts) > 3 or (len(parts) == 3 and at != 1) or len({mark in "<≤" for mark in marks}) > 1:
        return None
    below = parts[at - 1] if at else _MINUS
    above = parts[at + 1] if at + 1 < len(parts) else _INFINITY
    low = at > 0 and marks[at - 1] == "≤"
    high = at + 1 < len(parts) and marks[at] == "≤"
    return _checked([Interval(below, above, low, high)], name_of(parts[at]))


def _distance(low: Node, high: Node, *, closed: bool) -> Reals | None:
    """Read |x − a| < r or r < |x − a|, with ≤ if closed."""
    inside = low.op == "call"
    distance, radius = (low, high) if inside else (high, low)
    terms = distance.args[0].args if distance.args[0].op == "+" else distance.args
    names = [name_of(term) for term in terms if term.op == "sym"]
    if distance.marks != ("abs",) or len(names) != 1 or symbols(distance) != {names[0]}:
        return None
    center = times(MINUS, Node("+", tuple(term for term in terms if term.op != "sym") or (number(0),)))
    left, right = Node("+", (center, times(MINUS, radius))), Node("+", (center, radius))
    if inside:
        return _checked([Interval(left, right, closed, closed)], names[0])
    return _checked([Interval(_MINUS, left, False, closed), Interval(right, _INFINITY, closed, False)], names[0])


def _checked(intervals: list[Interval], name: str) -> Reals | None:
    """Sort and join intervals of constant ends; None where the ends are no real numbers in order."""
    placed = []
    for interval in intervals:
        low, high = _place(interval.low), _place(interval.high)
        if low is None or high is None or low > high or (low == high and not (interval.has_low and interval.has_high)):
            return None
        placed.append((low, not interval.has_low, high, interval))
    placed.sort(key=lambda item: item[:2])
    joined: list[tuple[Any, Interval]] = []
    for low, _, high, interval in placed:
        last = joined[-1] if joined else None
        if last and (low < last[0] or (low == last[0] and (interval.has_low or last[1].has_high))):
            further = high > last[0] or (high == last[0] and interval.has_high)
            end = interval if further else last[1]
            joined[-1] = (max(high, last[0]), Interval(last[1].low, end.high, last[1].has_low, end.has_high))
        else:
            joined.append((high, interval))
    return Reals(tuple(interval for _, interval in joined), name)


def _place(end: Node) -> Any:
    """Return the number at an end, as a float of many digits, ±inf for infinity; None where it is none."""
    sign = infinite(end)
    if sign:
        return sign * float("inf")
    if symbols(end):
        return None
    try:
        ((value,), here) = next(values((end,), "", [2000]))
    except StopIteration:
        return None
    return None if here.floats.im(value) else here.floats.re(value)


def _joined(parts: list[Reals | None]) -> Reals | None:
    names = {part.name for part in parts if part}
    if None in parts or len(names) > 1:
        return None
    return _checked([interval for part in parts if part for interval in part.intervals], names.pop())


def _without(points: Reals | None) -> Reals | None:
    """Return the real line without a few points."""
    if points is None or any(point.low != point.high for point in points.intervals):
        return None
    ends = [_MINUS, *(point.low for point in points.intervals), _INFINITY]
    return Reals(tuple(Interval(low, high, False, False) for low, high in pairwise(ends)), points.name)


def same_reals(key: Reals, given: Reals) -> bool:
    """Return whether two sets of real numbers are equal; two stated variables must agree."""
    if len(key.intervals) != len(given.intervals) or (key.name and given.name and key.name != given.name):
        return False
    return all(
        one[2:] == other[2:]
        and same_value(one.low, other.low, "", [2000])
        and same_value(one.high, other.high, "", [2000])
        for one, other in zip(key.intervals, given.intervals, strict=True)
    )
