"""The tree of an answer."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, NamedTuple


class Node(NamedTuple):
    """One operation. args: its parts. marks: what else it holds, such as a value, a name, relations or brackets."""

    op: str
    args: tuple[Node, ...] = ()
    marks: tuple[Any, ...] = ()


def number(value: Fraction | int) -> Node:
    """Return the node of a rational number."""
    return Node("num", (), (Fraction(value),))


def symbols(node: Node) -> frozenset[str]:
    """Return the names of the free variables."""
    if node.op == "sym":
        return frozenset(node.marks)
    inner = frozenset().union(*(symbols(part) for part in node.args))
    return inner - set(node.marks) if node.op in ("sum", "prod") else inner


def without(node: Node, names: frozenset[str]) -> Node:
    """Return the node with 0 for these variables."""
    if node.op == "sym":
        return number(0) if node.marks[0] in names else node
    return node._replace(args=tuple(without(part, names) for part in node.args))


def times(left: Node, right: Node) -> Node:
    """Return the product; a unit stays outside."""
    if right.op == "unit" and left.op in ("num", "sign"):
        return Node("unit", (times(left, right.args[0]),), right.marks)
    return Node("*", (*left.args, right) if left.op == "*" else (left, right))


MINUS = number(-1)
DEGREE = Node("/", (Node("const", (), ("π",)), number(180)))


def radians(node: Node) -> Node:
    """Return degrees as a number, and other nodes unchanged."""
    degrees = node.op == "unit" and node.marks[0].powers == (("degree", 1),)
    return times(node.args[0], DEGREE) if degrees else node


def is_d(node: Node) -> bool:
    """Return whether the node is d or begins with it, as in `dy`."""
    return node.marks == ("d",) or (node.op == "*" and is_d(node.args[0]))


def is_plain(node: Node) -> bool:
    """Return whether the node is a number, maybe with a sign or factors."""
    return node.op == "num" or (node.op == "*" and all(is_plain(part) for part in node.args))
