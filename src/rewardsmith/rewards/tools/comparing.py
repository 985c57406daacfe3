"""Compare a list of tool calls with the wanted one: names, parameter names and values, under a matching of calls."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from typing import Any, Literal, NamedTuple

from rewardsmith.rewards.strict_json import read_json
from rewardsmith.rewards.tools.calls import ToolCall

Granularity = Literal["fine", "refined", "intermediate", "coarse"]
Matching = Literal["optimal", "greedy"]
ExtraCalls = Literal["penalized", "paper"]


class CallParts(NamedTuple):
    """The reward of a list of calls, and its parts.

    name, keys, values: shares in [0, 1] of right tool names, parameter names and values.
    extra: the number of calls beyond the wanted number.
    """

    reward: float
    name: float
    keys: float
    values: float
    extra: int


def compare_calls(
    given: Sequence[ToolCall],
    wanted: Sequence[ToolCall],
    *,
    granularity: Granularity = "fine",
    matching: Matching = "optimal",
    extra_calls: ExtraCalls = "penalized",
    numeric_text: bool = False,
    unordered: bool = False,
    low: float = -3.0,
    high: float = 3.0,
) -> CallParts:
    """Score the calls P_1 … P_m against the wanted calls G_1 … G_n by their parts.

        R = low + (high − low) · c · S / S_max,    S_max = 1 + Σ_j (1 + |G_j|)
        S = J(names G, names P) + Σ_j [ J(keys G_j, keys P_σj) + #{k : P_σj[k] = G_j[k]} ]
        J(A, B) = |A ∩ B| / |A ∪ B| on multisets, 1 if both are empty;    c = n / max(n, m)

    σ matches each wanted call to another given call of the same name, or to none. Qian et al. 2025, arXiv:2504.13958
    (ToolRL). The order of calls does not count. If no call is wanted, R is the middle of the range.
    Differs: in the paper c is 1, so a right call with a junk call earns 2.25 of 3, and the matching is greedy in the
    order of G, which misses the best one for a tool that is called twice. `extra_calls="paper"` and `matching="greedy"`
    are the paper's. With no call wanted, a call earns `low` unless `extra_calls` is "paper".

    Args:
        granularity: "fine" as above; "refined": each J is 1 if the sets are equal, else 0; "intermediate": each call is
            right or wrong as a whole, S_max = 1 + n; "coarse": the whole list is.
        matching: "optimal" maximizes S; "greedy" takes the best free call for each wanted one in turn.
        numeric_text: the text "3" equals the number 3. Without it they differ. 1.0 always equals 1, True never does.
        unordered: lists are equal in any order of their elements.

    Returns:
        The reward and its parts.

    >>> want = [ToolCall("add", {"x": 1, "y": 2})]
    >>> compare_calls([ToolCall("add", {"x": 1, "y": 3})], want)
    CallParts(reward=1.5, name=1.0, keys=1.0, values=0.5, extra=0)
    >>> compare_calls([*want, ToolCall("add", {})], want, extra_calls="paper").reward
    2.25
    """
    options = (
        ("granularity", granularity, ("fine", "refined", "intermediate", "coarse")),
        ("matching", matching, ("optimal", "greedy")),
        ("extra_calls", extra_calls, ("penalized", "paper")),
    )
    for option, value, known in options:
        if value not in known:
            raise ValueError(f"compare_calls: {option} is {value!r}. Use one of {', '.join(known)}.")
    if not -math.inf < low < high < math.inf:
        raise ValueError(f"compare_calls: low is {low} and high is {high}. Give low < high, both finite.")
    n, m = len(wanted), len(given)
    extra = max(m - n, 0)
    if not n:
        paid = (low + high) / 2 if not m or extra_calls == "paper" else low
        right = float(not m)
        return CallParts(paid, right, right, right, extra)
    calls, goals = (
        [(c.name, {k: _canonical(v, numeric_text, unordered) for k, v in c.arguments.items()}) for c in own]
        for own in (given, wanted)
    )
    whole = [Counter((name, frozenset(arguments.items())) for name, arguments in own) for own in (calls, goals)]
    if granularity == "coarse":
        right = float(whole[0] == whole[1])
        return CallParts(high if right else low, right, right, right, extra)
    names = _jaccard((name for name, _ in goals), (name for name, _ in calls), exact=granularity == "refined")
    if granularity == "intermediate":
        keys = values = sum((whole[0] & whole[1]).values()) / n
        total, share = 1 + n, names + n * keys
    else:
        pairs = _matched(calls, goals, matching, exact=granularity == "refined")
        n_values = sum(len(arguments) for _, arguments in goals)
        keys, values = sum(key for key, _ in pairs) / n, sum(hits for _, hits in pairs) / max(n_values, 1)
        total, share = 1 + n + n_values, names + n * keys + n_values * values
        values = values if n_values else 1.0
    price = 1.0 if extra_calls == "paper" else n / max(n, m)
    return CallParts(low + (high - low) * price * share / total, names, keys, values, extra)


_Call = tuple[str, dict[str, Hashable]]


def _matched(
    calls: Sequence[_Call], goals: Sequence[_Call], matching: Matching, *, exact: bool
) -> list[tuple[float, int]]:
    """Return (J of keys, number of right values) of each matched pair."""
    table = [[_pair(call, goal, exact=exact) for call in calls] for goal in goals]
    if matching == "optimal":
        from scipy.optimize import linear_sum_assignment

        places = linear_sum_assignment([[sum(pair) for pair in row] for row in table], maximize=True) if calls else ()
        return [table[j][i] for j, i in zip(*places, strict=True)]
    free, pairs = dict.fromkeys(range(len(calls))), []
    for row in table:
        best = max(free, key=lambda i: sum(row[i]), default=None)
        if best is not None and sum(row[best]) > 0:
            pairs.append(row[best])
            del free[best]
    return pairs


def _pair(call: _Call, goal: _Call, *, exact: bool) -> tuple[float, int]:
    if call[0] != goal[0]:
        return 0.0, 0
    hits = sum(1 for key, value in goal[1].items() if key in call[1] and call[1][key] == value)
    return _jaccard(goal[1], call[1], exact=exact), hits


def _jaccard(first: Iterable[str], second: Iterable[str], *, exact: bool) -> float:
    a, b = Counter(iter(first)), Counter(iter(second))  # of a dict, Counter would take its values as counts
    if a == b or exact:
        return float(a == b)
    return (a & b).total() / (a | b).total()


def _canonical(value: Any, numeric_text: bool, unordered: bool) -> Hashable:
    """Return a value that equals another one's if the two mean the same."""
    if isinstance(value, dict):
        return "object", frozenset((key, _canonical(own, numeric_text, unordered)) for key, own in value.items())
    if isinstance(value, list):
        items = tuple(_canonical(own, numeric_text, unordered) for own in value)
        return ("list", frozenset(Counter(items).items()) if unordered else items)
    if isinstance(value, str):
        number = _number(value) if numeric_text else None
        return ("text", value) if number is None else ("number", number)
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__, value


def _number(text: str) -> float | int | None:
    """Return the number that a text spells as JSON does."""
    try:
        value = read_json(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
