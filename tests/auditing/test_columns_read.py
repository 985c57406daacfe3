"""What a reward reads is seen in its code: parameters that it uses, and keys that it takes out of its keywords."""

from __future__ import annotations

from functools import partial, wraps

import pytest

from rewardsmith.auditing.columns_read import reads_answers, unnamed_answer
from rewardsmith.data import Row
from rewardsmith.scoring import as_target
from rewardsmith.scoring.code import columns_read


def unused(completions, answer, **columns):
    return [float("<think>" in text) for text in completions]


def subscripted(completions, **columns):
    return [float(text == key) for text, key in zip(completions, columns["solution"], strict=True)]


def gotten(completions, **columns):
    keys = columns.get("target") or [""] * len(completions)
    return [float(text == key) for text, key in zip(completions, keys, strict=True)]


def nested(completions, answer, **columns):
    def score(k):
        return float(completions[k] == answer[k])

    return [score(k) for k in range(len(completions))]


def handed_on(completions, **columns):
    return subscripted(completions, **columns)


def of_verl(data_source, solution_str, ground_truth, extra_info=None):
    return float("<think>" in solution_str)


def of_verl_with_extra(data_source, solution_str, ground_truth, extra_info=None):
    return float(solution_str == (extra_info or {}).get("answer"))


def of_verl_with_length(data_source, solution_str, ground_truth, extra_info=None):
    return float(len(solution_str) < (extra_info or {}).get("longest", 100))


def of_verl_handing_on(data_source, solution_str, ground_truth, extra_info=None):
    return float(len(solution_str) < len(str(extra_info)))


async def asynchronous(prompts, completions, answer, **columns):
    return [float(text == key) for text, key in zip(completions, answer, strict=True)]


class Called:
    def __call__(self, completions, label, **columns):
        return [float(text == key) for text, key in zip(completions, label, strict=True)]


class Styled:
    """Names an answer in its own pattern only."""

    def __call__(self, completions, **columns):
        return [float("answer" in text) for text in completions]


@wraps(subscripted)
def wrapped(*given, **columns):
    return subscripted(*given, **columns)


@pytest.mark.parametrize(
    ("reward", "reads"),
    [
        (unused, False),
        (subscripted, True),
        (gotten, True),
        (nested, True),
        (of_verl, False),
        (of_verl_with_extra, True),
        (of_verl_with_length, False),
        (of_verl_handing_on, True),
        (asynchronous, True),
        (Called(), True),
        (Styled(), False),
        (wrapped, True),
        (partial(nested, answer=["4"]), False),
    ],
)
def test_an_answer_is_read_where_the_code_uses_it(reward, reads):
    assert reads_answers(as_target(reward)) is reads


def test_a_reward_that_hands_on_its_columns_may_read_the_answer_that_the_rows_have():
    target = as_target(handed_on)
    assert "**" in columns_read(handed_on)
    assert reads_answers(target, [Row("p", None, {"answer": "4"})])
    assert not reads_answers(target, [Row("p")])


def test_a_column_with_another_text_in_most_rows_may_be_an_answer():
    def mentions(completions, keyword, level, topic, **columns):
        return [float(k in t) + n * (s == "x") for t, k, n, s in zip(completions, keyword, level, topic, strict=True)]

    rows = [
        Row(f"p{k}", None, {"keyword": f"w{k}", "level": k, "topic": "xy"[k % 2], "note": f"n{k}"}) for k in range(8)
    ]
    assert unnamed_answer(as_target(mentions), rows) == "keyword"
    assert unnamed_answer(as_target(unused), rows) == ""
    assert unnamed_answer(as_target(mentions), rows[:1]) == ""  # one row shows nothing
