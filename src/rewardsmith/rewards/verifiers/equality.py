"""Compare a given answer with a key: one rule for each kind of key."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from rewardsmith.rewards.verifiers.evaluation import proportional, same_value
from rewardsmith.rewards.verifiers.nodes import DEGREE, MINUS, Node, number, symbols, times, without
from rewardsmith.rewards.verifiers.numerals import factors_of, named, numeral
from rewardsmith.rewards.verifiers.reals import reals, same_reals
from rewardsmith.rewards.verifiers.units import Unit


class Rules(NamedTuple):
    """The options of one comparison. seed: where expressions are evaluated. budget: the steps left."""

    require_unit: bool
    refuse: frozenset[str]
    seed: str
    budget: list[int]


_MIRROR = {"<": ">", "≤": "≥", ">": "<", "≥": "≤"}
_DEGREES = (("degree", 1),)


def equal(key: Node, given: Node, rules: Rules) -> bool:  # noqa: PLR0911
    """Return whether `given` is the answer `key`."""
    if key == given:
        return True
    (key_name, key_value), (given_name, given_value) = named(key, rules.budget), named(given, rules.budget)
    worked = given.op == "chain" and (len(given.args) > 2 or not given_name) and given_value != given
    if worked and "worked" in rules.refuse:
        return False
    if not (key_name and given_name and key_name != given_name) and (key_value, given_value) != (key, given):
        if equal(key_value, given_value, rules):
            return True
        if key_name and not symbols(key_value):  # x = 2 is solved, and 2x = 4 is unfinished
            return False
    if _COMPARE.get(key.op, _same_measured)(key, given, rules):
        return True
    if key.op not in ("chain", "const", "union", "bracket", "list") or (
        "inequality" in rules.refuse and key.op != given.op
    ):
        return False
    one, other = reals(key), reals(given)
    return one is not None and other is not None and same_reals(one, other)


def _same_text(key: Node, given: Node, rules: Rules) -> bool:
    return given.op == "text" and key.marks == given.marks


def _same_choice(key: Node, given: Node, rules: Rules) -> bool:
    """Compare option letters; a value may follow, without another capital and equal to the key's if there is one."""
    if given.op != "choice" or key.marks != given.marks:
        return False
    if any(part.op in ("text", "choice", "list") or any(map(str.isupper, symbols(part))) for part in given.args):
        return bool(key.args) and key == given
    return not (key.args and given.args) or equal(key.args[0], given.args[0], rules)


def _same_time(key: Node, given: Node, rules: Rules) -> bool:
    """Compare times of day; am or pm is part of the answer, except from 13:00 on."""
    both = given.op == "time" and key.marks[0] == given.marks[0]
    return both and (bool(key.marks[1]) == bool(given.marks[1]) or key.marks[0] >= 13 * 3600)


def _in_order(key: tuple[Node, ...], given: tuple[Node, ...], rules: Rules) -> bool:
    return len(key) == len(given) and all(equal(one, other, rules) for one, other in zip(key, given, strict=True))


def _same_parts(key: Node, given: Node, rules: Rules) -> bool:
    """Compare parts in order, within the same brackets; `x=2, y=4` counts where its variables are in order."""
    if given.op == "system" and key.marks == ("(", ")") and "assignment" not in rules.refuse:
        return list(given.marks) == sorted(given.marks) and _in_order(key.args, given.args, rules)
    return (key.op, key.marks) == (given.op, given.marks) and _in_order(key.args, given.args, rules)


def _same_system(key: Node, given: Node, rules: Rules) -> bool:
    """Compare the value of each variable; a tuple counts where the variables of the key are in order."""
    if given.op == "bracket" and given.marks == ("(", ")") and "assignment" not in rules.refuse:
        return list(key.marks) == sorted(key.marks) and _in_order(key.args, given.args, rules)
    if given.op == "chain" and given.args[0].op == given.args[-1].op == "bracket":  # (x, y) = (2, 4)
        names = tuple(part.marks[0] for part in given.args[0].args if part.op == "sym")
        given = Node("system", given.args[-1].args, names)
    if given.op != "system" or len(given.marks) != len(given.args) or set(key.marks) != set(given.marks):
        return False
    said = dict(zip(given.marks, given.args, strict=True))
    return all(equal(part, said[name], rules) for name, part in zip(key.marks, key.args, strict=True))


def _same_members(key: Node, given: Node, rules: Rules) -> bool:
    """Compare the members of lists and sets in any order."""
    if given.op not in ("list", "set") or len(key.args) != len(given.args):
        return False
    left = list(given.args)
    for part in key.args:
        found = next((index for index, other in enumerate(left) if equal(part, other, rules)), None)
        if found is None:
            return False
        left.pop(found)
    return True


def _same_relation(key: Node, given: Node, rules: Rules) -> bool:
    """Compare equations by their solutions, inequalities also by their direction, ratios by their value."""
    if given.op != "chain" or len(key.marks) != len(given.marks):
        return False
    if set(key.marks) == set(given.marks) == {":"}:
        pairs = [(numeral(one), numeral(other)) for one, other in zip(key.args, given.args, strict=True)]
        ratios = {one / other if one and other else None for one, other in pairs}
        return len(ratios) == 1 and None not in ratios
    odd = ("list", "set", "bracket", "matrix", "text", "unit", "const")
    mark, said = key.marks[0], given.marks[0]
    if len(key.marks) == 1 and mark in "=≠<≤>≥" and not any(part.op in odd for part in (*key.args, *given.args)):
        one, other = (Node("+", (node.args[0], times(MINUS, node.args[1]))) for node in (key, given))
        if _MIRROR.get(mark) == said:
            other = times(MINUS, other)
        elif mark != said:
            return False
        same = proportional(one, other, rules.seed, rules.budget, positive=mark in _MIRROR)
        return same or (mark == "=" and any(_times_a_variable(*pair, rules) for pair in ((one, other), (other, one))))
    return key.marks == given.marks and _in_order(key.args, given.args, rules)


def _times_a_variable(whole: Node, part: Node, rules: Rules) -> bool:
    """Return whether whole = x · part, and x = 0 solves nothing, so that xy − 12 = 0 is the equation y − 12/x = 0."""
    for name in symbols(whole):
        if proportional(whole, times(part, Node("sym", (), (name,))), rules.seed, rules.budget):
            left, fixed = without(whole, frozenset((name,))), without(whole, symbols(whole))
            zero = same_value(fixed, number(0), rules.seed, rules.budget)
            return not zero and same_value(left, fixed, rules.seed, rules.budget)
    return False


def _same_congruence(key: Node, given: Node, rules: Rules) -> bool:
    """Compare x ≡ a (mod m): the same variable and modulus, and remainders that differ by a multiple of it."""
    if (given.op, given.marks, len(key.args), len(given.args)) != ("congruence", key.marks, 3, 3):
        return False
    a, m, b, n = (numeral(node.args[index]) for node in (key, given) for index in (1, 2))
    if key.args[0] != given.args[0] or a is None or b is None or not m or m != n:
        return False
    return (a - b) % m == 0


def cells_of(node: Node) -> tuple[int, tuple[Node, ...]] | None:
    """Return the width and the entries of a matrix, also of a number times one and of nested brackets."""
    if node.op == "matrix":
        return node.marks[0], node.args
    widths = {len(part.args) for part in node.args if part.op == "bracket" and part.marks == ("[", "]")}
    if node.op == "bracket" and node.marks == ("[", "]") and len(widths) == 1:
        rows = [part.args for part in node.args if part.op == "bracket"]
        return (widths.pop(), tuple(cell for row in rows for cell in row)) if len(rows) == len(node.args) else None
    if node.op in ("*", "/") and len(node.args) == 2:
        left, right = (cells_of(part) for part in node.args)
        found, factor = (left, node.args[1]) if left else (right, node.args[0])
        if found and not (left and right) and (left or node.op == "*"):
            return found[0], tuple(Node(node.op, (entry, factor)) for entry in found[1])
    return None


def _same_measured(key: Node, given: Node, rules: Rules) -> bool:
    """Compare expressions with their units; a numeral must be given as one, other expressions in any form."""
    one, other = cells_of(key), cells_of(given)
    if one or other:
        pairs = list(zip(one[1], other[1], strict=False)) if one and other and one[0] == other[0] else []
        same = bool(one and other and len(one[1]) == len(other[1]) == len(pairs))
        return same and all(same_value(a, b, rules.seed, rules.budget) for a, b in pairs)
    unit, second = (node.marks[0] if node.op == "unit" else Unit() for node in (key, given))
    key, given = (node.args[0] if node.op == "unit" else node for node in (key, given))
    if key.op in _COMPARE or given.op in _COMPARE:
        return False
    if (unit.powers == _DEGREES) != (second.powers == _DEGREES):
        turned, said_turned = (
            times(DEGREE, n) if u.powers == _DEGREES else n for n, u in ((key, unit), (given, second))
        )
        known = {unit.powers, second.powers} <= {_DEGREES, (("radian", 1),), ()}
        demanded = rules.require_unit and unit.powers and not second.powers
        if known and not demanded and same_value(turned, said_turned, rules.seed, rules.budget):
            return True
    factors = factors_of(unit, second, require_unit=rules.require_unit)
    if factors is None:
        return False
    exact, said = numeral(key), numeral(given)
    if exact is not None:
        return said is not None and exact * factors[0] == said * factors[1]
    key, given = (node if f == 1 else times(number(f), node) for node, f in ((key, factors[0]), (given, factors[1])))
    return same_value(key, given, rules.seed, rules.budget)


_COMPARE: dict[str, Callable[[Node, Node, Rules], bool]] = {
    "text": _same_text, "choice": _same_choice, "time": _same_time, "bracket": _same_parts, "union": _same_parts,
    "system": _same_system, "list": _same_members, "set": _same_members, "chain": _same_relation,
    "congruence": _same_congruence, "base": lambda key, given, rules: key == given,
}  # fmt: skip
