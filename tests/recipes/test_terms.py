"""Terms compose by operators, print as a reader would write them, and evaluate to what a loop over rows gives."""

import math
from functools import partial

import pytest
import torch
from torch.testing import assert_close

from rewardsmith.recipes import column, combine, source, step_source
from rewardsmith.recipes.terms import evaluate
from rewardsmith.transforms import (
    RunningNorm,
    clip_rewards,
    delta_steps,
    length_penalty,
    log_sigmoid_shaping,
    logical_and,
    normalize_sources,
    weighted_sum,
)

NAN = math.nan


def one(completions, **columns):
    return [1.0] * len(completions)


A, B, C = source(one, "a"), source(one, "b"), source(one, "c")
CONTEXT = {
    "a": torch.tensor([1.0, 0.0, 1.0, NAN], dtype=torch.float64),
    "b": torch.tensor([0.5, -2.0, 0.25, 1.0], dtype=torch.float64),
    "c": torch.tensor([3.0, 1.0, NAN, 2.0], dtype=torch.float64),
    "ref": torch.tensor([[0.0, 1.0]] * 4, dtype=torch.float64),
    "lengths": torch.tensor([300.0, 310.0, 500.0, 0.0]),
    "group_size": 2,
}


def by_rows(formula):
    """`formula` of one row's numbers, row by row."""
    rows = zip(CONTEXT["a"].tolist(), CONTEXT["b"].tolist(), CONTEXT["c"].tolist(), strict=True)
    return torch.tensor([formula(a, b, c) for a, b, c in rows], dtype=torch.float64)


@pytest.mark.parametrize(
    ("term", "words"),
    [
        (A + B, "a + b"),
        (A - 0.2 * B, "a − 0.2·b"),
        (2 * (A + B) - 1, "2·(a + b) − 1"),
        (-A, "−a"),
        (1 - A, "−a + 1"),
        (A + B + 3 * C, "a + b + 3·c"),
        (A + 0.5 * (B - 4), "a + 0.5·(b − 4)"),
        (B.where(A > 0.5), "[b if a > 0.5 else 0]"),
        (B.where(A <= 0.5, below=-1.0), "[b if a ≤ 0.5 else -1]"),
        (A.then(clip_rewards, low=0.0), "clip_rewards(a, low=0)"),
        (B.then(log_sigmoid_shaping, ref_rewards=column("ref")), "log_sigmoid_shaping(b, ref_rewards=ref)"),
        (combine(logical_and, A, B), "logical_and(a, b)"),
    ],
)
def test_it_prints_as_a_reader_would_write_it(term, words):
    assert str(term) == words


@pytest.mark.parametrize(
    ("term", "formula"),
    [
        (A - 0.2 * B, lambda a, b, c: NAN if math.isnan(a) else a - 0.2 * b),
        (2 * B - 1, lambda a, b, c: 2 * b - 1),
        (1 - B, lambda a, b, c: 1 - b),
        (B.where(A > 0.5), lambda a, b, c: NAN if math.isnan(a) else (b if a > 0.5 else 0.0)),
        (B >= 0.25, lambda a, b, c: float(b >= 0.25)),
        (B < 0.25, lambda a, b, c: float(b < 0.25)),
        (B.then(clip_rewards, low=0.0), lambda a, b, c: max(b, 0.0)),
        (B.then(length_penalty), lambda a, b, c: None),
    ],
)
def test_it_evaluates_to_what_a_loop_over_rows_gives(term, formula):
    got = evaluate(term, CONTEXT)
    expected = by_rows(formula) if formula(1.0, 0.0, 0.0) is not None else None
    if expected is None:  # the default penalty: 0.01 per token beyond 300
        expected = torch.tensor([0.5, -2.1, -1.75, 1.0], dtype=torch.float64)
    if "a − 0.2" in str(term):  # a missing summand hands its weight on: 1.2 · (−1) · 1.0
        expected[3] = -1.2
    assert_close(got, expected, equal_nan=True, atol=1e-6, rtol=0)


def test_sources_can_be_normalized_before_they_are_added():
    got = evaluate(combine(normalize_sources, B, C).then(weighted_sum, weights=[1.0, 0.5]), CONTEXT)
    stacked = torch.stack([CONTEXT["b"], CONTEXT["c"]], dim=1)
    assert_close(got, weighted_sum(normalize_sources(stacked, group_size=2), weights=[1.0, 0.5]))


def test_a_shared_part_is_computed_once_so_that_its_state_moves_once():
    norm = RunningNorm()
    shared = B.then(norm)
    evaluate(shared + shared.where(shared > 0), CONTEXT)
    assert int(norm.count) == 4


@pytest.mark.parametrize(
    ("term", "scope"),
    [(A + B, "row"), (combine(normalize_sources, A, B), "prompt"), (A + B.then(RunningNorm()), "run")],
)
def test_its_scope_is_the_widest_of_its_parts(term, scope):
    assert term.scope == scope


def test_step_terms_stay_step_terms():
    assert step_source(one, "prm").then(delta_steps).kind == "steps"
    assert A.then(clip_rewards).kind == "rewards"


def test_mistakes_are_refused_where_they_are_made():
    with pytest.raises(TypeError, match=r"recipe: a \* b multiplies two terms. Use .where"):
        A * B
    with pytest.raises(ValueError, match=r"source: .* has no name to print or log it by. Pass one: source\("):
        source(lambda completions: [])
    with pytest.raises(ValueError, match="combine: logical_and was given no terms"):
        combine(logical_and)
    with pytest.raises(TypeError, match="declares no traits"):
        A.then(lambda rewards: rewards)
    with pytest.raises(TypeError, match=r"recipe: 3 is not a term. Wrap a reward with recipes.source"):
        combine(logical_and, A, 3)
    with pytest.raises(TypeError, match="logical_and cannot stack step rewards with 1 other terms"):
        combine(logical_and, step_source(one, "prm"), A)


@pytest.mark.parametrize(
    "condition",
    [
        lambda: B > 0.5 and C > 0.5,
        lambda: B > 0.5 or C > 0.5,
        lambda: 0.0 < B < 1.0,  # Python reads it as `0 < B and B < 1`
        lambda: not B > 0.5,
        lambda: B and C,
    ],
)
def test_python_cannot_drop_one_of_two_conditions(condition):
    with pytest.raises(TypeError, match=r"recipe: b.* is true or false only once.*a.where\(b > 0.5\).where\(c > 0.5\)"):
        A.where(condition())


def test_nested_conditions_hold_together():
    both = evaluate(B.where(A > 0.5).where(C > 2.0), CONTEXT)
    assert_close(both, by_rows(lambda a, b, c: NAN if math.isnan(a) or math.isnan(c) else b * (a > 0.5) * (c > 2.0)),
                 equal_nan=True)  # fmt: skip


@pytest.mark.parametrize("condition", [0.5, True, A == 1.0, "a > 0.5", None])
def test_where_says_what_a_condition_is(condition):
    with pytest.raises(TypeError, match=rf"recipe: where takes a condition such as `a > 0.5`, and got {condition!r}"):
        A.where(condition)


def test_the_name_of_a_transform_is_no_transform():
    with pytest.raises(TypeError, match=r"recipe: 'clip_rewards' is not a function. Import the transform and pass"):
        A.then("clip_rewards")


def test_what_the_batch_lacks_is_named():
    with pytest.raises(TypeError, match=r"needs lengths, and is offered a. Pass it to \.then\(\.\.\.\) by name"):
        evaluate(A.then(length_penalty), {"a": torch.zeros(2)})
    with pytest.raises(TypeError, match="recipe: column 'ref' is missing, and a tensor of numbers is needed"):
        evaluate(B.then(log_sigmoid_shaping, ref_rewards=column("ref")), {"b": torch.zeros(2)})
    with pytest.raises(TypeError, match="recipe: source 'a' is list"):
        evaluate(A + B, {"a": ["x"], "b": torch.zeros(1)})


@pytest.mark.parametrize("make", [source, step_source])
@pytest.mark.parametrize("reward", ["exact_number", 3, None])
def test_a_source_is_a_function_or_a_model(make, reward):
    with pytest.raises(TypeError, match=rf"{make.__name__}: {reward!r} cannot be called. Pass the function itself"):
        make(reward, "r")


def test_a_models_folder_is_a_source(tmp_path):
    assert source(str(tmp_path / ".."), "rm").name == "rm"


def test_names_come_from_functions_and_model_ids():
    assert source(partial(one, scale=2)).name == "one"
    assert source("org/reward-model").name == "reward-model"
