"""Rewards of judges equal their equations by brute force, and pay none of the known exploits."""

import itertools
import json
import math

import pytest

from rewardsmith.rewards import (
    list_format_reward,
    list_order_reward,
    staged_verdict_reward,
    verdict_reward,
    weighted_pair_order_reward,
)

NAN = math.nan
A, B = "<answer>[[A]]</answer>", "<answer>[[B]]</answer>"


def logger():
    seen = {}
    return seen, lambda name, value: seen.update({name: value})


@pytest.mark.parametrize(
    ("text", "pays"),
    [
        (f"The second is wrong. {A}", 1.0),
        (B, -1.0),
        (f"{A} {B}", -1.0),  # both tags: the last one is the verdict
        (f"{B} {A}", 1.0),
        (f"{A}" + " because of its rigor" * 9, -3.0),  # an opinion that goes on
        (f"<think>{A}", -3.0),  # thinking that never ends
        ("[[A]]", -3.0),
        ("", -3.0),
        ("<answer>[[A]] or [[B]]</answer>", -3.0),
    ],
)
def test_a_verdict_is_paid_only_where_the_text_ends_on_it(text, pays):
    assert verdict_reward([text], [0], unparsed=-3.0) == [pays]


def test_the_share_without_a_verdict_is_logged_apart_from_the_wrong_ones():
    seen, log = logger()
    chat = [{"role": "assistant", "content": A}]
    assert verdict_reward([chat, B, "none", "none"], [0, 0, 0, None], log_metric=log) == [1.0, -1.0, -1.0, None]
    assert seen == {"verdict_reward/unparsed": 0.5}
    assert verdict_reward([], [], log_metric=log) == []


@pytest.mark.parametrize("reward", [verdict_reward, staged_verdict_reward])
def test_a_label_that_no_verdict_can_meet_is_refused_and_an_empty_one_is_unscored(reward):
    assert reward([A] * 2, [NAN, None]) == [None, None]
    assert verdict_reward([A, B], [0.0, 1.0]) == [1.0, 1.0]  # a column with an empty cell holds floats
    for label in ("A", "0", 2, 0.5, True):
        with pytest.raises(
            ValueError, match=r"label .* can never be right, because a verdict is one of \[0, 1\]\. Give"
        ):
            reward([A], [label])
    with pytest.raises(ValueError, match="because a verdict is a whole number"):
        reward([A], ["A"], parser=lambda text: 0)


@pytest.mark.parametrize("reward", [list_order_reward, list_format_reward])
def test_a_row_without_a_consensus_is_unscored(reward):
    said = '{"scores": {"a": 4, "b": 2}, "best-to-worst": ["a", "b"]}'
    rows = [None, {"a": None}, {"a": 5, "b": 1, "c": NAN}, {"a": 5, "b": 1}]
    empty, lone, filled, plain = reward([said] * 4, rows)
    assert (empty, lone) == (None, None)
    assert filled == plain
    with pytest.raises(ValueError, match=r"the consensus .* is no mapping"):
        reward([said], ['{"a": 5}'])


def turns(*texts):
    between = {"role": "user", "content": r"Now judge. \boxed{1}"}
    said = [{"role": "assistant", "content": text} for text in texts]
    return [message for one in said for message in (one, between)][:-1]


def test_a_staged_verdict_needs_both_turns():
    seen, log = logger()
    rows = [
        turns("<criteria>logic; safety</criteria>", r"\boxed{1}"),
        turns("<criteria>logic; safety</criteria>", r"\boxed{2}"),
        turns("", r"\boxed{1}"),  # no criteria: the released parser of turn 1 never fails
        turns("<criteria>logic; safety</criteria>", r"\boxed{3}"),  # the released code takes any integer
        turns(r"<criteria>logic</criteria> \boxed{1}"),  # one turn only
        turns(r"\boxed{1}", "no verdict"),
        r"<criteria>logic</criteria> \boxed{1}",  # no turns at all
        turns("<criteria>taste</criteria>", r"\boxed{1}"),
    ]
    got = staged_verdict_reward(rows, [0] * 8, malformed=-9.0, log_metric=log)
    assert got == [0.0, -1.0, -9.0, -9.0, -9.0, -9.0, -9.0, -9.0]
    assert seen == {"staged_verdict/malformed": pytest.approx(6 / 8)}
    strict = staged_verdict_reward(rows[:1] * 2, [0, None], branch=lambda text: "tone" in text)
    assert strict == [-2.0, None]


def brute(scores, consensus, tie=0.5, base=1.0):
    """The equation pair by pair, over ordered pairs, each counted once."""
    paid = total = 0.0
    for i in range(len(scores)):
        for j in range(i):
            weight = base + abs(consensus[i] - consensus[j])
            order = (scores[i] > scores[j]) - (scores[i] < scores[j])
            wanted = (consensus[i] > consensus[j]) - (consensus[i] < consensus[j])
            share = 1.0 if order * wanted >= 0 else 0.0
            if order == 0 and wanted != 0:
                share = 1 - tie
            paid, total = paid + weight * share, total + weight
    return paid / total


def test_pair_order_equals_brute_force_on_every_list_of_three():
    lists = list(itertools.product([1, 2, 3], repeat=3))
    pairs = list(itertools.product(lists, lists))
    got = weighted_pair_order_reward([p for p, _ in pairs], [g for _, g in pairs], tie_cost=0.3, base_weight=0.7)
    assert got == pytest.approx([brute(p, g, 0.3, 0.7) for p, g in pairs])


def test_a_pair_without_a_score_costs_all_of_its_weight():
    """Weights of (5, 3, 1): 3, 5, 3. Without the third score only the first pair earns: 3/11."""
    got = weighted_pair_order_reward([[5, 4, None], [5, NAN, NAN], [None] * 3], [[5, 3, 1]] * 3)
    assert got == pytest.approx([3 / 11, 0.0, 0.0])
    assert weighted_pair_order_reward([[1, 2], [1, 2]], [[3, None], [3, NAN]]) == [None, None]
    with pytest.raises(ValueError, match=r"weighted_pair_order_reward: tie_cost is 2.*outside"):
        weighted_pair_order_reward([[1]], [[1]], tie_cost=2)
    with pytest.raises(ValueError, match=r"weighted_pair_order_reward: base_weight is -1.*outside"):
        weighted_pair_order_reward([[1]], [[1]], base_weight=-1)


CONSENSUS = {"m1": 5, "m2": 3, "m3": 1, "other row": None}


def reply(scores, order=("m1", "m2", "m3"), think="<think>short</think>"):
    return think + json.dumps({"scores": scores, "best-to-worst": list(order)})


@pytest.mark.parametrize(
    ("text", "pays"),
    [
        (reply({"m1": 4, "m2": 3, "m3": 2}), 1.0),
        (reply({"m1": 1, "m2": 1, "m3": 1}), 0.5),
        (reply({}), 0.0),  # the released scorer pays 1.0 for these three
        (reply({"model-1": 5, "model-2": 4}), 0.0),
        (reply({"m1": 5}), 0.0),
        (reply({"m1": "5", "m2": True, "m3": None}), 0.0),
        ("```json\n" + reply({"m1": 4, "m2": 3, "m3": 2}, think="") + "\n```", 0.0),
        ("{'scores': {'m1': 4, 'm2': 3, 'm3': 2}}", 0.0),
        ('{"scores": {"m1": 1, "m1": 4, "m2": 3, "m3": 2}}', 0.0),  # which of the two counts?
        ('{"scores": {"m1": 1' + "0" * 400 + ', "m2": 3, "m3": 2}}', 3 / 11),
        ("", 0.0),
    ],
)
def test_a_list_is_paid_for_strict_json_with_the_names_of_the_row(text, pays):
    assert list_order_reward([text], [CONSENSUS]) == [pytest.approx(pays)]


def test_lenient_parses_and_ties_are_logged_apart():
    seen, log = logger()
    tied, good = reply({"m1": 1, "m2": 1, "m3": 1}), reply({"m1": 4, "m2": 3, "m3": 2})
    assert list_order_reward([tied, good, f"Here: {good} Done.", "none"], [CONSENSUS] * 4, log_metric=log)[3] == 0.0
    assert seen == {"list_order/unparsed": 0.5, "list_order/lenient": 0.25, "list_order/tied": 0.25}


@pytest.mark.parametrize(
    ("text", "pays"),
    [
        (reply({"m1": 4, "m2": 3, "m3": 2}, think="<think>" + "a b " * 20 + "</think>"), 1.0),
        (reply({"m1": 4, "m2": 3, "m3": 2}), 0.95),
        (reply({"m1": 4, "m2": 3, "m3": 2}, think=""), 0.8),
        (reply({"m1": 4, "m2": 3, "m3": 2}) + " Done.", 0.9),
        (reply({"m1": 2, "m2": 3, "m3": 4}), 0.75),  # the order says the opposite of the scores
        (reply({"m1": 4, "m2": 2, "m3": 3}), 0.95 - 0.2 / 3),  # one pair of three
        (reply({"m1": 4, "m2": 3}), 0.75 - 0.2 / 3),  # two of three answers, and another order
        (reply({"m1": 4, "m2": 3, "m3": 2, "m4": 1}), 0.15 + 0.2 + 0.2 + 0.2 * 3 / 4),
        (reply({"m1": 4, "m2": 3, "m3": 2}, order=[["m1"]]), 0.75),
        ("{}", 0.2),
        ("[1]", 0.0),
        ("", 0.0),
    ],
)
def test_the_format_is_paid_in_five_parts(text, pays):
    assert list_format_reward([text], [CONSENSUS]) == [pytest.approx(pays)]
