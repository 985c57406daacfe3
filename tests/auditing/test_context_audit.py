"""The two-step bound on random probabilities, and context sensitivity of rewards that read it, or do not."""

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewardsmith.auditing import context_sensitivity
from rewardsmith.data import Row
from rewardsmith.data.contexts import NO_CONTEXT
from rewardsmith.errors import RowsError
from rewardsmith.measures.contexts import context_error_bound


@pytest.mark.slow
@given(st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_the_error_never_exceeds_either_bound(n_contexts, seed):
    generator = np.random.default_rng(seed)
    sharp = generator.choice([0.05, 1.0, 20.0])
    z_hat, z = generator.dirichlet([sharp] * n_contexts, size=(2, 50))
    p_hat, p = generator.beta(sharp, sharp, size=(2, 50, n_contexts))
    found = context_error_bound(z_hat, z, p_hat, p)
    for row in range(50):  # by hand
        error = abs(sum(z_hat[row, k] * p_hat[row, k] - z[row, k] * p[row, k] for k in range(n_contexts)))
        context = sum(abs(z_hat[row, k] - z[row, k]) * p_hat[row, k] for k in range(n_contexts))
        judged = sum(z[row, k] * abs(p_hat[row, k] - p[row, k]) for k in range(n_contexts))
        assert found.error[row] == pytest.approx(error, abs=1e-12)
        assert (found.context_term[row], found.preference_term[row]) == pytest.approx((context, judged), abs=1e-12)
        variation = sum(abs(z_hat[row, k] - z[row, k]) for k in range(n_contexts)) / 2
        assert found.centered[row] <= variation + judged + 1e-12
    assert (found.error <= found.bound + 1e-12).all()
    assert (found.error <= found.centered + 1e-12).all()
    assert (found.centered <= found.bound + 1e-12).all()


def test_where_contexts_do_not_matter_taking_one_for_another_costs_nothing():
    found = context_error_bound([1.0, 0.0], [0.0, 1.0], [0.7, 0.7], [0.7, 0.7])
    assert (float(found.error), float(found.bound), float(found.centered)) == pytest.approx((0.0, 1.4, 0.0))


def test_one_table_serves_many_rows():
    assert context_error_bound([0.5, 0.5], [0.5, 0.5], np.full((3, 2), 0.2), np.full((3, 2), 0.5)).error.shape == (3,)


def records(n=12):
    """Which of two responses is longer counts under "long", which has more of an "x" under "x", and so on."""
    found = []
    for k in range(n):
        texts = {"response_a": "yyyyyy" + "y" * k, "response_b": "x"}
        contexts = (
            {"criteria_x": f"long {k}", "criteria_y": f"x {k}"}
            if k % 2
            else {"criteria_x": f"y {k}", "criteria_y": f"short {k}"}
        )
        found.append(Row("Which?", None, {**texts, **contexts}))
    return found


def reader(prompt, completion):
    if NO_CONTEXT in prompt:
        return 0.0
    if "long" in prompt or "short" in prompt:
        return float(len(completion) if "long" in prompt else -len(completion))
    return float(completion.count("x" if "x " in prompt else "y"))


def column_reader(completion, context):
    return reader(context or NO_CONTEXT, completion)


def deaf(prompt, completion):
    return float(len(completion))


def test_a_reward_that_reads_the_context_is_right_on_both_rows():
    for reward, template in ((reader, "{prompt}\n{context}"), (column_reader, None)):
        found = context_sensitivity(reward, records(), template=template, workers=0)
        assert (found.row_acc.value, found.row_acc.n) == (1.0, 24)
        assert (found.paired_acc.value, found.paired_acc.n) == (1.0, 12)
        assert found.no_context_acc.value == 0.0  # it says nothing without one: all ties
        assert found.wrong_context_acc.value == 1.0  # contexts of other records have the same side here


def test_a_reward_that_does_not_is_right_on_one_of_two_and_the_wrong_context_shows_it():
    found = context_sensitivity(deaf, records(), workers=0)
    assert (found.row_acc.value, found.wrong_context_acc.value, found.no_context_acc.value) == (0.5, 0.5, 0.5)
    assert found.paired_acc.value == 0.0


def test_a_context_that_has_nothing_to_do_with_the_pair_leaves_chance():
    draw = random.Random(0)
    tables = [{z: {side: draw.random() for side in "ab"} for z in "pqrstu"} for _ in range(200)]
    rows = []
    for k, table in enumerate(tables):
        first = [z for z in table if table[z]["a"] > table[z]["b"]]
        second = [z for z in table if z not in first]
        if first and second:
            contexts = {"criteria_x": draw.choice(first), "criteria_y": draw.choice(second)}
            rows.append(Row(str(k), None, {"response_a": "a", "response_b": "b", **contexts}))

    def known(prompt, completion, context):
        return tables[int(prompt)][context][completion] if context else 0.5

    found = context_sensitivity(known, rows, template=None, workers=0)
    assert found.row_acc.value == 1.0
    assert found.wrong_context_acc.low < 0.5 < found.wrong_context_acc.high


def test_unscored_rows_are_left_out_and_one_record_has_no_wrong_context():
    def picky(prompt, completion):
        return None if completion == "x" and "x " in prompt else float(len(completion))

    found = context_sensitivity(picky, records(2), workers=0)
    assert (found.row_acc.n, found.row_acc.value) == (3, 2 / 3)  # "x 1" has no score for its preferred response
    assert (found.paired_acc.n, found.paired_acc.value) == (1, 0.0)  # short 0 is wrong, x 1 unknown
    alone = context_sensitivity(deaf, records(1), workers=0)
    assert math.isnan(alone.wrong_context_acc.value)
    assert alone.no_context_acc.n == 2


def test_conversations_get_the_context_in_the_prompt():
    seen = []

    def spy(prompts, completions):
        seen.extend(zip(prompts, completions, strict=True))
        return [0.0] * len(prompts)

    talk = [{"role": "user", "content": "Which?"}]
    row = Row(talk, None, {"response_a": "one", "response_b": "two", "scenario_x": "at sea", "scenario_y": "at home"})
    context_sensitivity(spy, [row], form="scenario", workers=0)
    assert {prompt[0]["content"].rpartition(": ")[2] for prompt, _ in seen} == {"at sea", "at home", NO_CONTEXT}
    assert {completion[0]["content"] for _, completion in seen} == {"one", "two"}


def test_refusals():
    with pytest.raises(
        ValueError, match=r"context_error_bound: p_preferred_hat must be .* \[0, 1\], and spans \[-1, 0.5\]"
    ):
        context_error_bound([1.0, 0.0], [1.0, 0.0], [-1.0, 0.5], [0.5, 0.5])
    with pytest.raises(
        ValueError, match=r"context_error_bound: p_context does not sum to 1 over the contexts. Normalize"
    ):
        context_error_bound([1.0, 0.0], [0.5, 0.1], [0.5, 0.5], [0.5, 0.5])
    with pytest.raises(ValueError, match=r"context_sensitivity: form is 'rubric', which is not one of"):
        context_sensitivity(deaf, records(), form="rubric")
    for missing, why in (
        ({"response_b": None}, r"`response_b` is null"),
        ({"criteria_y": " "}, "an empty `context`"),
        ({"response_b": "yyyyyyy"}, "both answers are the same"),
        ({"criteria_y": "long 1"}, "two equal contexts"),
    ):
        rows = [*records(20)]
        rows[1] = Row("Which?", None, {**rows[1].columns, **missing})
        with pytest.raises(RowsError, match=rf"context_sensitivity: record 2 is no reversal \({why}\)"):
            context_sensitivity(deaf, rows, workers=0)
