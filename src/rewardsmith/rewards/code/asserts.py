"""Split `assert f(x) == literal` into a call and a condition on its value, so that the literal stays outside."""

from __future__ import annotations

import ast
import builtins
import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from rewardsmith.rewards.code.comparing import same_value

Condition = Callable[[Any, float], bool]
"""Maps a value and a tolerance to whether the test holds."""


class Call(NamedTuple):
    """A call of the completion's function, and the condition on the value that comes back.

    shown: the expected value, None where there is no single one.
    """

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    holds: Condition
    shown: Any = None


def equal(value: Any, tolerance: float, *, expected: Any, loose: bool = False) -> bool:
    """Hold where the value is the expected one."""
    return same_value(value, expected, tolerance, loose=loose)


def _unequal(value: Any, tolerance: float, *, expected: Any) -> bool:
    return not same_value(value, expected, 0.0)


def _is(value: Any, tolerance: float, *, expected: Any) -> bool:
    return type(value) is type(expected) and value == expected


def _truth(value: Any, tolerance: float, *, expected: bool) -> bool:
    return bool(value) is expected


def _close(value: Any, tolerance: float, *, expected: Any, **how: float) -> bool:
    return math.isclose(value, expected, **how)


def _within(value: Any, tolerance: float, *, expected: Any, bound: float, strict: bool) -> bool:
    return abs(value - expected) < bound or (not strict and abs(value - expected) == bound)


def read_asserts(code: str, *, candidate: str = "") -> list[Call] | None:
    """Return the calls of a test's code, or None if it holds anything but assertions about calls with literals.

    Args:
        candidate: what the function is called in the program, if the test is a `check(candidate)`.

    >>> [call] = read_asserts("assert add(1, 2) == 3")
    >>> call.name, call.args, call.holds(3, 0.0), call.holds(4, 0.0)
    ('add', (1, 2), True, False)
    """
    try:
        body = ast.parse(code).body
        renamed = ""
        checks = [node for node in body if isinstance(node, ast.FunctionDef) and node.name == "check"]
        if candidate and checks:
            renamed = checks[-1].args.args[0].arg
            body = [node for node in body if not _is_check(node)] + checks[-1].body
        calls = [_call(node.test) for node in body if isinstance(node, ast.Assert) and not _is_true(node.test)]
        rest = [node for node in body if not isinstance(node, ast.Assert) and not _is_idle(node)]
    except (SyntaxError, ValueError, TypeError, IndexError, RecursionError, MemoryError):
        return None
    return None if rest or not calls else [c._replace(name=candidate) if c.name == renamed else c for c in calls]


def _is_check(node: ast.stmt) -> bool:
    """Return whether a statement defines or calls `check`."""
    called = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and ast.unparse(node.value.func) == "check"
    return called or (isinstance(node, ast.FunctionDef) and node.name == "check")


def _is_true(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and bool(node.value)


def _is_idle(node: ast.stmt) -> bool:
    """Return whether a statement has no effect on the assertions, such as an import or HumanEval's METADATA."""
    if isinstance(node, ast.Assign):
        return ast.unparse(node.targets[0]) == "METADATA"
    return isinstance(node, ast.Pass | ast.Import | ast.ImportFrom) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    )


def _call(test: ast.expr) -> Call:
    """Read one assertion; ValueError where it has another form."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return _named(test.operand, partial(_truth, expected=False), False)
    if isinstance(test, ast.Compare) and len(test.ops) == 1:
        return _compared(test.left, test.ops[0], test.comparators[0])
    if isinstance(test, ast.Call) and ast.unparse(test.func) in ("math.isclose", "isclose"):
        how = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in test.keywords}
        given, wanted = test.args
        given, wanted = (wanted, given) if isinstance(wanted, ast.Call) else (given, wanted)
        expected = ast.literal_eval(wanted)
        return _named(given, partial(_close, expected=expected, **how), expected)
    return _named(test, partial(_truth, expected=True), True)


def _compared(left: ast.expr, op: ast.cmpop, right: ast.expr) -> Call:
    if isinstance(op, ast.Lt | ast.LtE):  # abs(f(x) - y) < bound
        if not (isinstance(left, ast.Call) and ast.unparse(left.func) == "abs"):
            raise ValueError("another comparison")
        (difference,) = left.args
        if not (isinstance(difference, ast.BinOp) and isinstance(difference.op, ast.Sub)):
            raise ValueError("another comparison")
        given, wanted = difference.left, difference.right
        given, wanted = (wanted, given) if isinstance(wanted, ast.Call) else (given, wanted)
        expected, bound = ast.literal_eval(wanted), ast.literal_eval(right)
        strict = isinstance(op, ast.Lt)
        return _named(given, partial(_within, expected=expected, bound=bound, strict=strict), expected)
    try:
        given, expected = left, ast.literal_eval(right)
    except ValueError:
        given, expected = right, ast.literal_eval(left)
    if isinstance(op, ast.Eq):
        return _named(given, partial(equal, expected=expected), expected)
    if isinstance(op, ast.NotEq):
        return _named(given, partial(_unequal, expected=expected), None)
    if isinstance(op, ast.Is) and (expected is None or isinstance(expected, bool)):
        return _named(given, partial(_is, expected=expected), expected)
    raise ValueError("another comparison")


def _named(node: ast.expr, holds: Condition, shown: Any) -> Call:
    """Read `f(literals)` or `Solution().f(literals)`."""
    if not isinstance(node, ast.Call) or any(isinstance(arg, ast.Starred) for arg in node.args):
        raise ValueError("no plain call")
    name = ast.unparse(node.func)
    if hasattr(builtins, name) or not (isinstance(node.func, ast.Name) or name.startswith("Solution().")):
        raise ValueError("no plain call")
    kwargs = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in node.keywords if keyword.arg}
    if len(kwargs) < len(node.keywords):
        raise ValueError("no plain call")
    return Call(name, tuple(map(ast.literal_eval, node.args)), kwargs, holds, shown)
