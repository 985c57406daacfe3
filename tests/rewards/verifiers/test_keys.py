"""What is no key leaves its row unscored and says why, in every verifier and through every export."""

import math
import pickle
from functools import partial

import numpy as np
import pandas as pd
import pytest

from rewardsmith.data import Row
from rewardsmith.data.keys import answers_in, is_missing, read_key
from rewardsmith.rewards import exact_number, exact_text, math_equal, multiple_choice
from rewardsmith.scoring import rewards_of, score, to_openrlhf, to_trl, to_verl
from rewardsmith.scoring.calling import Caller, Unscored, reasoned

VERIFIERS = [exact_number, exact_text, math_equal, multiple_choice]
MISSING = [None, math.nan, np.float32("nan"), np.float64("nan"), pd.NA, pd.NaT]
NO_TEXT = [
    ({"target": "4"}, "the key is a dict with target, but `answer` must be one text or number"),
    (["4", "four"], "the key is a list of 2, but"),
    (np.array(["4", "four"]), "the key is a list of 2, but"),
    (("4",), "the key is a tuple of 1, but"),
    (b"4", "the key is a bytes of 1, but"),
    (10**5000, "the key cannot be written as text (ValueError: Exceeds the limit"),
]


@pytest.mark.parametrize("verifier", VERIFIERS)
@pytest.mark.parametrize("key", MISSING, ids=repr)
@pytest.mark.parametrize("completion", [r"\boxed{nan}", "nan", r"\boxed{4}", "A", "<NA>", "None"])
def test_a_missing_key_is_no_word_that_can_be_answered(verifier, key, completion):
    assert verifier([completion], [key]) == [None]
    assert verifier.reasoned([completion], [key]) == [Unscored("the row has no key")]


@pytest.mark.parametrize("verifier", VERIFIERS)
@pytest.mark.parametrize(
    ("key", "why"), NO_TEXT, ids=lambda value: value[:24] if isinstance(value, str) else type(value).__name__
)
def test_a_key_that_is_no_text_is_unscored_and_never_zero(verifier, key, why):
    assert verifier([r"\boxed{4}", "A"], [key, key]) == [None, None]
    (said, _) = verifier.reasoned([r"\boxed{4}", "A"], [key, key])
    assert said.why.startswith(why)


@pytest.mark.parametrize("verifier", VERIFIERS)
def test_verl_and_openrlhf_are_told_that_such_a_row_was_not_scored(verifier):
    for key in ({"target": "4"}, ["4"], math.nan):
        assert to_verl(verifier, unscored=0.0)("d", r"\boxed{4}", key) == {"score": 0.0, "scored": 0.0}
        told = to_openrlhf(verifier, unscored=0.0)(["q4"], ["q"], [key])
        assert (told["rewards"].tolist(), told["extra_logs"]["scored"].tolist()) == ([0.0], [0.0])
    with pytest.raises(ValueError, match=r"left '4' unscored \(none: the key is a dict with target, but `answer` must"):
        to_verl(verifier, unscored=None)("d", "4", {"target": "4"})


@pytest.mark.parametrize(
    ("verifier", "key", "why"),
    [
        (exact_number, "n/a", "the key holds no number: 'n/a'"),
        (exact_number, "x" * 200, f"the key holds no number: {'x' * 79 + '…'!r}"),
        (exact_text, "  ", "the key is empty"),
        (math_equal, "", "the key cannot be read as mathematics: ''"),
        (partial(multiple_choice, letters="ABCD"), "E", "the key is none of the letters ABCD: 'E'"),
        (to_trl(partial(exact_number, tolerance=0.5)), "n/a", "the key holds no number: 'n/a'"),
        (partial(exact_number, tolerance=0.5), {"a": 1, "b": 2}, "the key is a dict with a, b, but `answer` must"),
    ],
)
def test_the_reason_reaches_the_row_also_through_partial_and_a_worker(verifier, key, why):
    (found,) = score(verifier, [Row("q", "4", {"answer": key})], workers=0)
    assert (found.reward, found.reason) == (None, "none")
    assert found.detail.startswith(why)
    there = pickle.loads(pickle.dumps(verifier))
    assert Caller(there).call(completions=[], answer=[]) == there(completions=[], answer=[]) == []


def test_reasoned_is_found_through_partials_and_is_the_reward_itself_where_there_is_none():
    def plain(completions, **columns):
        return [1.0] * len(completions)

    bound = partial(partial(exact_number, tolerance=1.0), answer=["5"])
    assert reasoned(bound)(["4"]) == [1.0] == bound(["4"])
    assert reasoned(plain) is plain
    nested = partial(plain)
    assert reasoned(nested) is nested


def test_numbers_of_any_kind_are_keys():
    for key in (4, 4.0, np.int64(4), np.float32(4), np.array(4), np.array("4"), True):
        assert read_key(key).text == str(key)
    assert exact_number(["4"] * 4, [4, 4.0, np.int64(4), np.array(4)]) == [1.0] * 4
    assert read_key(np.array(math.nan)) == read_key(None)
    assert not is_missing([math.nan]) and not is_missing({}) and not is_missing(np.array([1, 2]))  # noqa: PT018


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("7", "7"),
        (7, "7"),
        ({"target": "7"}, "7"),
        ({"target": ["7"]}, "7"),
        ({"target": np.array(["7"])}, "7"),
        ({"numbers": [1, 2], "target": 3}, None),
        ([], None),
        ({}, None),
        (["7", "8"], "7"),
        ([7, 8], None),
        (math.nan, None),
        ({"target": None}, None),
    ],
)
def test_the_one_answer_in_a_key_is_what_an_audit_answers_with(value, text):
    assert answers_in(value).texts[:1] == (() if text is None else (text,))
    assert Row("q", columns={"answer": value}).answer == text


def test_a_reward_that_reads_its_key_out_of_a_dict_still_gets_the_dict():
    def reads(data_source, solution_str, ground_truth, extra_info=None):
        return float(ground_truth["target"] == solution_str)

    assert rewards_of(score(reads, [Row("q", "4", {"answer": {"target": "4"}})], workers=0)) == [1.0]
