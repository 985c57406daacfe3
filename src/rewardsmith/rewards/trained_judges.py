"""Rewards that train a judge: for its verdict, for the stages of its trace, and for the order of a list of answers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import combinations
from typing import Any, NamedTuple

from rewardsmith._check import check_range
from rewardsmith.data import completion_text
from rewardsmith.data.keys import is_missing
from rewardsmith.rewards.judges.branching import CRITERIA, chosen_criteria
from rewardsmith.rewards.judges.verdicts import AB_VERDICT, BOXED_VERDICT, LastVerdict
from rewardsmith.rewards.strict_json import read_json
from rewardsmith.rewards.thinking import after_thinking, parts_of
from rewardsmith.types import Completion

Metric = Callable[[str, float], None]

DEFAULT_BRANCH = partial(chosen_criteria, criteria=tuple(CRITERIA), max_branches=3)
LONG_THOUGHT = 50


def verdict_reward(
    completions: list[Completion],
    label: list[int | None],
    *,
    parser: Callable[[str], int | None] = AB_VERDICT,
    right: float = 1.0,
    wrong: float = -1.0,
    unparsed: float = -1.0,
    log_metric: Metric | None = None,
    **columns: Any,
) -> list[float | None]:
    """Reward a judge whose text ends on the verdict of the label.

        r = right if l̂ = l,  wrong if l̂ ≠ l,  unparsed if there is no l̂

    Chen et al. 2025, arXiv:2505.02387 (RM-R1). The share without a verdict is logged as `verdict_reward/unparsed`,
    because the mean reward does not show it. Put either answer first at random when you make the data.
    Differs: the official code searches the last 80 characters; here the text must end on the verdict.

    Args:
        label: l, the index of the better answer; None or NaN leaves the row unscored, and what is no verdict of the
            parser, such as "A" or an index from 1, is refused.
        parser: the judge's text → l̂, or None.
        unparsed: for a text that ends on no verdict; it must not be unscored, or the judge could choose to be.
        log_metric: given by TRL.

    >>> verdict_reward(["Both are fine. <answer>[[A]]</answer>", "<answer>[[A]]</answer>", "A"], [0, 1, 0])
    [1.0, -1.0, -1.0]
    """
    wanted = _labels("verdict_reward", label, parser)
    verdicts = [parser(completion_text(completion)) for completion in completions]
    _log(log_metric, "verdict_reward/unparsed", [verdict is None for verdict in verdicts])
    values = [unparsed if v is None else right if v == k else wrong for v, k in zip(verdicts, wanted, strict=True)]
    return [None if k is None else value for k, value in zip(wanted, values, strict=True)]


def staged_verdict_reward(
    completions: list[Completion],
    label: list[int | None],
    *,
    branch: Callable[[str], object] = DEFAULT_BRANCH,
    parser: Callable[[str], int | None] = BOXED_VERDICT,
    right: float = 0.0,
    wrong: float = -1.0,
    malformed: float = -2.0,
    log_metric: Metric | None = None,
    **columns: Any,
) -> list[float | None]:
    """Reward a judge that first selects criteria and then gives a verdict, by one number for both turns.

        R = right if ẑ = z,  wrong if ẑ ≠ z,  malformed if either turn cannot be read

    Jiao et al. 2025, arXiv:2510.23596 (BR-RM). The share that cannot be read is logged as `staged_verdict/malformed`.
    Differs: official code pays −100 for a malformed trace, and one such trace in a group makes the z-score of a wrong
    verdict positive. Give `advantages.gated_format` the same `malformed`, and its size no longer matters.

    Args:
        label: z, the index of the better answer, as in `verdict_reward`.
        branch: the first assistant turn → anything true if it selects criteria, by default as `BranchRethinkJudge`
            asks for them. A completion without two assistant turns is malformed.
        parser: the last assistant turn → ẑ, or None.
        log_metric: given by TRL.

    >>> said = ["<criteria>logic</criteria>", r"So \\boxed{2}"]
    >>> turns = [{"role": "assistant", "content": text} for text in said]
    >>> staged_verdict_reward([turns, turns[1:], [turns[0], turns[0]]], [1, 0, 1])
    [0.0, -2.0, -2.0]
    """
    wanted = _labels("staged_verdict_reward", label, parser)
    verdicts: list[int | None] = []
    for completion in completions:
        messages = [] if isinstance(completion, str) else completion
        turns = [completion_text([turn]) for turn in messages if turn.get("role") == "assistant"]
        verdicts.append(parser(turns[-1]) if len(turns) > 1 and branch(turns[0]) else None)
    _log(log_metric, "staged_verdict/malformed", [verdict is None for verdict in verdicts])
    values = [malformed if v is None else right if v == k else wrong for v, k in zip(verdicts, wanted, strict=True)]
    return [None if key is None else value for key, value in zip(wanted, values, strict=True)]


def weighted_pair_order_reward(
    predicted: Sequence[Sequence[float | None]],
    consensus: Sequence[Sequence[float | None]],
    *,
    tie_cost: float = 0.5,
    base_weight: float = 1.0,
) -> list[float | None]:
    """Reward scores of a list of answers for the order in which they put its pairs.

        R = 1 − Σ_{i<j} p_ij / Σ_{i<j} w_ij        w_ij = base_weight + |s*_i − s*_j|
        p_ij = w_ij if s and s* order the pair in opposite ways, or s lacks one of the two;
               tie_cost · w_ij if only s ties;  0 otherwise

    Yu et al. 2025, arXiv:2506.03637 (RewardAnything). Differs: the official scorer leaves out pairs without a score
    and pays 1 for an empty list. Here every pair of the list counts. A judge that gives all answers one score still
    earns 1 − tie_cost or more, so watch the rate of ties.

    Args:
        predicted: (B, n) scores s; None or NaN where the judge gave none.
        consensus: (B, n) scores s*; an answer of None or NaN is no part of its list.
        tie_cost: in [0, 1].

    Returns:
        (B,) rewards in [0, 1]; None where fewer than two answers have a consensus.

    >>> weighted_pair_order_reward([[5, 3, 1], [5, 5, 5], [None, None, None]], [[3, 2, 1]] * 3)
    [1.0, 0.5, 0.0]
    """
    check_range("weighted_pair_order_reward", "tie_cost", tie_cost, 0.0, 1.0)
    check_range("weighted_pair_order_reward", "base_weight", base_weight, 0.0, math.inf)
    rewards: list[float | None] = []
    for given, wanted in zip(predicted, consensus, strict=True):
        rated = [(_number(s), g) for s, t in zip(given, wanted, strict=True) if (g := _number(t)) is not None]
        cost = total = 0.0
        for (s, s_star), (t, t_star) in combinations(rated, 2):
            weight = base_weight + abs(s_star - t_star)
            total += weight
            if s is None or t is None or (s - t) * (s_star - t_star) < 0:
                cost += weight
            elif s == t and s_star != t_star:
                cost += tie_cost * weight
        rewards.append(1.0 - cost / total if total else None)
    return rewards


def list_order_reward(
    completions: list[Completion],
    consensus: list[Mapping[str, float | None]],
    *,
    tie_cost: float = 0.5,
    base_weight: float = 1.0,
    log_metric: Metric | None = None,
    **columns: Any,
) -> list[float | None]:
    """Reward a judge's `scores` for a list of answers by `weighted_pair_order_reward`.

    The text after the thinking must be strict JSON and nothing else: repaired JSON may mean something else. Logged are
    the shares of texts that are not strict JSON (`list_order/unparsed`), that would be after cutting out the brackets
    (`list_order/lenient`), and of lists whose scores are all equal (`list_order/tied`).

    Args:
        consensus: name of an answer → s*; a name with None or NaN is no part of the row, as data sets fill their
            columns. None in place of the mapping leaves the row unscored.
        log_metric: given by TRL.

    >>> list_order_reward(['{"scores": {"a": 4, "b": 2}, "best-to-worst": ["a", "b"]}', "{}"], [{"a": 5, "b": 1}] * 2)
    [1.0, 0.0]
    """
    read = [_list_of(completion_text(completion)) for completion in completions]
    strict = [_scores(one.document) if one.strict else {} for one in read]
    _log(log_metric, "list_order/unparsed", [not one.strict for one in read])
    _log(log_metric, "list_order/lenient", [one.document is not None and not one.strict for one in read])
    _log(log_metric, "list_order/tied", [len(found) > 1 and len(set(found.values())) == 1 for found in strict])
    named = [_consensus("list_order_reward", row) for row in consensus]
    return weighted_pair_order_reward(
        [[found.get(name) for name in row] for found, row in zip(strict, named, strict=True)],
        [list(row.values()) for row in named],
        tie_cost=tie_cost,
        base_weight=base_weight,
    )


def list_format_reward(
    completions: list[Completion], consensus: list[Mapping[str, float | None]], **columns: Any
) -> list[float | None]:
    """Reward the format of a judge's scores for a list, in five parts of 0.2.

    Thinking (0.15, and 0.05 if it has more than 50 characters); strict JSON after it (0.15 if brackets had to be cut
    out); the keys `scores` and `best-to-worst` (0.1 each); the share of the answers scored; the share of pairs whose
    place in `best-to-worst` does not contradict the scores. Yu et al. 2025, arXiv:2506.03637.
    Differs: an invented name lowers the share of answers, and an order of other names than the scored ones earns 0.

    Args:
        consensus: as in `list_order_reward`; only the names are used. A row without any is unscored.

    >>> reply = '<think>b rambles</think>{"scores": {"a": 4, "b": 2}, "best-to-worst": ["a", "b"]}'
    >>> list_format_reward([reply, "{}"], [{"a": 5, "b": 1}] * 2)
    [0.95, 0.2]
    """
    rewards: list[float | None] = []
    for completion, row in zip(completions, consensus, strict=True):
        text = completion_text(completion)
        thought, (document, strict) = (parts_of(text).thought or "").strip(), _list_of(text)
        names = set(_consensus("list_format_reward", row))
        if not names:
            rewards.append(None)
            continue
        found, order = _scores(document), (document or {}).get("best-to-worst")
        parts = [0.0 if not thought else 0.20 if len(thought) > LONG_THOUGHT else 0.15]
        parts.append(0.0 if document is None else 0.20 if strict else 0.15)
        parts += [0.1 * isinstance((document or {}).get("scores"), dict), 0.1 * isinstance(order, list)]
        parts.append(0.2 * len(names & set(found)) / max(1, len(names | set(found))))
        listed = order if isinstance(order, list) and all(isinstance(name, str) for name in order) else []
        if len(listed) > 1 and sorted(listed) == sorted(found):
            kept = [better >= worse for better, worse in combinations([found[name] for name in listed], 2)]
            parts.append(0.2 * sum(kept) / len(kept))
        rewards.append(round(math.fsum(parts), 12))
    return rewards


def _labels(caller: str, label: Sequence[Any], parser: Callable[[str], int | None]) -> list[int | None]:
    """Return each row's index, None where it is missing; raise ValueError where the parser can never give it."""
    verdicts = set(parser.marks.values()) if isinstance(parser, LastVerdict) else None
    found: list[int | None] = []
    for value in label:
        number = None if is_missing(value) else _number(value)
        if not is_missing(value) and (number is None or int(number) != number or (verdicts and number not in verdicts)):
            known = f"is one of {sorted(verdicts)}" if verdicts else "is a whole number"
            raise ValueError(
                f"{caller}: the label {value!r} can never be right, because a verdict {known}. Give the index of the "
                "better answer, 0 for the first."
            )
        found.append(None if number is None else int(number))
    return found


def _consensus(caller: str, row: Any) -> dict[str, float]:
    """Return the scores of a row's consensus that are numbers, by name; {} where it has none."""
    if is_missing(row):
        return {}
    if not isinstance(row, Mapping):
        raise ValueError(f"{caller}: the consensus {str(row)[:80]!r} is no mapping. Give each row {{name: score}}.")
    return {name: number for name, value in row.items() if (number := _number(value)) is not None}


class _List(NamedTuple):
    document: dict[str, Any] | None
    strict: bool


def _list_of(text: str) -> _List:
    """Return the JSON object after the thinking, and whether it stands alone."""
    shown = (after_thinking(text) or "").strip()
    cut = shown[shown.find("{") : shown.rfind("}") + 1]
    try:
        document = read_json(cut)
    except (ValueError, RecursionError):
        document = None
    return _List(document, cut == shown) if isinstance(document, dict) else _List(None, False)


def _scores(document: dict[str, Any] | None) -> dict[str, float]:
    """Return the scores that are numbers, by name."""
    given = (document or {}).get("scores")
    pairs = given.items() if isinstance(given, dict) else ()
    return {name: number for name, value in pairs if (number := _number(value)) is not None}


def _number(value: Any) -> float | None:
    """Return a finite number as a float; None for None, NaN, bools and anything else."""
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def _log(log_metric: Metric | None, name: str, happened: list[bool]) -> None:
    if log_metric is not None and happened:
        log_metric(name, sum(happened) / len(happened))
