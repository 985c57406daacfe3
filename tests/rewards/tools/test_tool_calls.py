"""Tool calls: the syntaxes that are read, what is refused, the score against every matching, and what is not paid."""

import json
import math
import pickle
import random
import warnings
from itertools import permutations

import numpy as np
import pytest

from rewardsmith.rewards import ToolCall, ToolCallReward, compare_calls, read_tool_calls, tool_format
from rewardsmith.scoring.calling import Unscored

CALLS = (ToolCall("add", {"x": 1, "y": "a"}), ToolCall("stop", {}))
ONE, TWO = ('{"name": "add", "arguments": {"x": 1, "y": "a"}}', '{"name": "stop", "arguments": {}}')
WRITTEN = {
    "hermes": f"<think>Hm. <tool_call></think>Wait.\n<tool_call>\n{ONE}\n</tool_call>\n"
    f"<tool_call>{TWO}</tool_call><|im_end|>",
    "hermes in one block": f"<tool_call>{ONE}\n{TWO}</tool_call>",
    "qwen coder": "<tool_call><function=add><parameter=x>\n1\n</parameter>"
    "<parameter=y>a</parameter></function></tool_call>"
    "<tool_call><function=stop></function></tool_call>",
    "llama": '<|python_tag|>{"name": "add", "parameters": {"x": 1, "y": "a"}}; '
    '{"name": "stop", "parameters": {}}<|eom_id|>',
    "llama functions": '<function=add>{"x": 1, "y": "a"}</function><function=stop>{}</function>',
    "mistral": f"[TOOL_CALLS] [{ONE}, {TWO}]",
    "json": f"[{ONE}, {TWO}]",
    "fence": f"```json\n[{ONE}, {TWO}]\n```",
    "python": "[add(x=1, y='a'), stop()]",
}  # fmt: skip


@pytest.mark.parametrize("name", WRITTEN)
def test_the_usual_syntaxes_are_read(name):
    assert read_tool_calls(WRITTEN[name]) == CALLS


def test_messages_are_read_as_servers_and_trl_give_them():
    calls = [{"type": "function", "id": "1", "function": {"name": "add", "arguments": '{"x": 1, "y": "a"}'}}]
    turns = [
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "name": "add", "content": TWO},
        {"role": "assistant", "tool_calls": [{"function": {"name": "stop", "arguments": {"z": None}}}]},
    ]
    assert read_tool_calls(turns) == CALLS  # a data set fills its columns with None; results of tools do not count
    assert read_tool_calls([{"role": "assistant", "content": "It is 4."}]) == ()


@pytest.mark.parametrize(
    "text",
    [
        "<tool_call>", "<tool_call></tool_call>", f"<tool_call>{ONE}</tool_call> So it is.",
        "<tool_call>{}</tool_call>",
        '<tool_call>{"name": "f", "arguments": {"x": 1, "x": 2}}</tool_call>', '{"name": "f", "arguments": {"x": NaN}}',
        '{"name": "f", "arguments": {"x": 1e999}}', '{"name": "f", "arguments": [1]}', "f(x=1, x=2)", "f(1)",
        "f(x=__import__('os').getcwd())", '{"name": "f", "arguments": {}, "parameters": {}}', "f(x=" + "[" * 4000 + ")",
        '{"name": "f", "arguments": {"x": ' + "[" * 100_000, "f(x=" + "-" * 9000 + "1)", "<tool_call>" + ONE * 300_000,
    ],
)  # fmt: skip
def test_what_is_broken_given_twice_or_hostile_is_refused(text):
    with pytest.raises(ValueError, match=r"\S"):
        read_tool_calls(text)
    assert ToolCallReward()([text], [ONE]) == [-3.0]
    assert tool_format([text]) == [0.0]


def test_warnings_of_python_are_neither_shown_nor_errors():
    """`1or 2` and `"\\w"` are warnings of its parser."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match="malformed node"):
            read_tool_calls("f(x=1or 2)")
        assert read_tool_calls(r"f(x='\w')") == (ToolCall("f", {"x": r"\w"}),)


def test_a_syntax_can_be_demanded():
    assert read_tool_calls(WRITTEN["python"], syntax="python") == CALLS
    with pytest.raises(ValueError, match="the calls are written as python, not as hermes"):
        read_tool_calls(WRITTEN["python"], syntax="hermes")
    with pytest.raises(ValueError, match=r"read_tool_calls: syntax is 'xml'\. Use one of hermes, llama"):
        read_tool_calls("", syntax="xml")


def jaccard(a, b):
    """On lists, by taking away one by one."""
    left, both = list(b), 0
    for item in a:
        if item in left:
            left.remove(item)
            both += 1
    union = len(a) + len(b) - both
    return both / union if union else 1.0


def by_every_matching(given, wanted, price):
    """The equation of the paper, with the best of all assignments."""
    slots = [*range(len(given)), *[None] * len(wanted)]
    best = 0.0
    for places in set(permutations(slots, len(wanted))):
        score = 0.0
        for place, goal in zip(places, wanted, strict=True):
            if place is not None and given[place].name == goal.name:
                own = given[place].arguments
                score += jaccard([*goal.arguments], [*own])
                score += sum(key in own and own[key] == value for key, value in goal.arguments.items())
        best = max(best, score)
    total = 1 + sum(1 + len(goal.arguments) for goal in wanted)
    return -3 + 6 * price * (jaccard([g.name for g in wanted], [c.name for c in given]) + best) / total


@pytest.mark.slow
def test_the_score_is_that_of_the_best_of_all_matchings():
    draw = random.Random(4)

    def some(least):
        names = draw.choices("fg", k=draw.randint(least, 3))
        return [
            ToolCall(name, {k: draw.randint(0, 2) for k in draw.sample("xyz", draw.randint(0, 3))}) for name in names
        ]

    for _ in range(300):
        given, wanted = some(0), some(1)
        price = len(wanted) / max(len(wanted), len(given))
        assert compare_calls(given, wanted).reward == pytest.approx(by_every_matching(given, wanted, price))
        paper = compare_calls(given, wanted, extra_calls="paper")
        assert paper.reward == pytest.approx(by_every_matching(given, wanted, 1.0))
        assert compare_calls(given, wanted, matching="greedy").reward <= compare_calls(given, wanted).reward + 1e-12


def test_greedy_matching_misses_what_the_best_one_finds():
    # Greedy gives the first wanted call the given call that the second one needs whole.
    wanted = [ToolCall("f", {"x": 1}), ToolCall("f", {"x": 1, "y": 2})]
    given = [ToolCall("f", {"x": 1, "y": 2}), ToolCall("f", {"x": 1})]
    assert compare_calls(given, wanted).reward == 3.0
    assert compare_calls(given, wanted, matching="greedy").reward == 3.0
    given = [ToolCall("f", {"x": 1, "y": 2}), ToolCall("f", {"z": 1})]
    wanted = [ToolCall("f", {"x": 1}), ToolCall("f", {"x": 1, "y": 2})]
    # S = 1 + (½ + 1) of 6 greedily; 1 + (1 + 2) of 6 with the second one matched
    assert compare_calls(given, wanted, matching="greedy").reward == pytest.approx(-3 + 6 * 2.5 / 6)
    assert compare_calls(given, wanted).reward == pytest.approx(-3 + 6 * 4 / 6)


def test_calls_beyond_the_wanted_ones_are_priced():
    want = [ToolCall("f", {"x": 1, "y": 2})]
    junk = [*want, ToolCall("f", {})]
    assert compare_calls(junk, want, extra_calls="paper").reward == 2.25  # S = ½ + 3 of 4, as in the paper
    assert compare_calls(junk, want).reward == pytest.approx(-3 + 6 * (0.5 * 3.5) / 4)
    assert compare_calls(junk, want).extra == 1
    assert compare_calls(want, []).reward == -3.0
    assert compare_calls([], []).reward == compare_calls(want, [], extra_calls="paper").reward == 0.0


@pytest.mark.parametrize(
    ("granularity", "reward"),
    # One value of two is wrong: S of S_max is (1 + 1 + 1) / 4 fine and refined, 1 / 2 per call, 0 as a whole.
    [("fine", 1.5), ("refined", 1.5), ("intermediate", 0.0), ("coarse", -3.0)],
)
def test_granularity(granularity, reward):
    want = [ToolCall("f", {"x": 1, "y": 2})]
    assert compare_calls([ToolCall("f", {"x": 1, "y": 3})], want, granularity=granularity).reward == reward
    assert compare_calls(want, want, granularity=granularity).reward == 3.0


@pytest.mark.parametrize(
    ("given", "wanted", "options", "equal"),
    [
        (3, "3", {}, False), (3, "3", {"numeric_text": True}, True), (1.0, 1, {}, True), (True, 1, {}, False),
        ([1, 2], [2, 1], {}, False), ([1, 2], [2, 1], {"unordered": True}, True), (None, 0, {}, False),
        ([1, 1, 2], [1, 2, 2], {"unordered": True}, False), ({"a": [1.0]}, {"a": [1]}, {}, True), (False, 0, {}, False),
    ],
)  # fmt: skip
def test_values_are_compared_by_type(given, wanted, options, equal):
    found = compare_calls([ToolCall("f", {"x": given})], [ToolCall("f", {"x": wanted})], **options)
    assert found.values == float(equal)


def test_a_row_that_cannot_be_read_is_unscored_with_its_reason():
    found = ToolCallReward().reasoned([WRITTEN["json"]] * 4, [None, "no call", "<tool_call>", "[]"])
    assert [isinstance(value, Unscored) for value in found] == [True, True, True, False]
    assert found[0].why == "the row has no key"
    assert "write [] where none is wanted" in found[1].why
    assert found[3] == -3.0


def test_schemas_of_the_tools_are_checked():
    schema = {
        "type": "object",
        "properties": {"x": {"type": "integer"}},
        "required": ["x"],
        "additionalProperties": False,
    }
    tools = [{"type": "function", "function": {"name": "f", "parameters": schema}}]
    texts = ["f(x=1)", "f(x='1')", "f(x=1, y=2)", "g(x=1)"]
    assert tool_format(texts, [tools] * 4) == [1.0, 0.0, 0.0, 0.0]
    assert tool_format(texts, [json.dumps(tools)] * 4) == [1.0, 0.0, 0.0, 0.0]
    answer = ["f(x=1)"] * 4
    assert ToolCallReward()(texts, answer, [tools] * 4) == [3.0, -3.0, -3.0, -3.0]
    (unread,) = ToolCallReward().reasoned(["f(x=1)"], ["f(x=1)"], [5])
    assert unread.why.startswith("the row's tools are no list of functions")
    assert tool_format(["It is 4.", "f(x=1)"], answer=["[]", "[]"]) == [1.0, 0.0]


@pytest.mark.parametrize("field", ["parameters", "input_schema", "inputSchema"])
def test_arrays_of_pandas_and_the_tools_of_other_providers_are_read(field):
    tools = np.array([{"name": "f", field: {"type": "object", "required": ["x"]}}], dtype=object)
    answer = np.array([{"name": "f", "arguments": {"x": 1}}], dtype=object)
    assert tool_format(["f(x=1)", "f(y=1)"], [tools] * 2) == [1.0, 0.0]
    assert ToolCallReward()(["f(x=1)", "f(y=1)"], [answer] * 2, [tools] * 2) == [3.0, -3.0]
    for none in ([], "[]", "", "null", None, math.nan, np.array([])):  # no tools to check against
        assert ToolCallReward()(["f(x=1)"], [answer], [none]) == [3.0]


def test_what_options_may_be():
    for options, message in (
        ({"granularity": "exact"}, "compare_calls: granularity is 'exact'. Use one of fine, refined"),
        ({"matching": "hungarian"}, "compare_calls: matching is 'hungarian'. Use one of optimal, greedy"),
        ({"extra_calls": "free"}, "compare_calls: extra_calls is 'free'. Use one of penalized, paper"),
        ({"low": 1.0, "high": 1.0}, "compare_calls: low is 1.0 and high is 1.0. Give low < high"),
        ({"high": math.inf}, "compare_calls: low is -3.0 and high is inf. Give low < high, both finite"),
    ):
        with pytest.raises(ValueError, match=message):
            ToolCallReward(**options)
    assert pickle.loads(pickle.dumps(ToolCallReward(low=0.0))) == ToolCallReward(low=0.0)


def test_trl_logs_the_parts():
    logged = {}
    reward = ToolCallReward()
    reward(["f(x=1)", "<tool_call>", "f(x=2)"], ["f(x=1)"] * 3, log_metric=logged.__setitem__)
    assert logged == {
        "tool_call/unreadable": pytest.approx(1 / 3),
        "tool_call/name": 1.0, "tool_call/keys": 1.0, "tool_call/values": 0.5, "tool_call/extra": 0.0,
    }  # fmt: skip
