"""Expert iteration on a policy in a table climbs the reward; samples without a score or a difference teach nothing."""

import random

import pytest

from rewardsmith.data import Row
from rewardsmith.engines.expert_iteration import expert_iteration

ROWS = [Row(prompt="a", columns={"answer": "3"}), Row(prompt="b", columns={"answer": "1"})]


def right(prompts, completions, answer):
    return [float(text == key) for text, key in zip(completions, answer, strict=True)]


def test_a_policy_in_a_table_learns_the_answers():
    draw, counts = random.Random(0), {row.prompt: dict.fromkeys("0123", 1.0) for row in ROWS}

    def sample(number, rows, n):
        return [draw.choices(list(counts[row.prompt]), list(counts[row.prompt].values()), k=n) for row in rows]

    def imitate(number, kept):
        for row in kept:
            counts[row["prompt"]][row["completion"]] += 2.0

    found = expert_iteration(sample, right, imitate, ROWS, n_samples=8, keep=2, rounds=12)
    assert [sum(one.rewards) / 16 for one in found][-1] > 0.6 > sum(found[0].rewards) / 16
    assert max(counts["a"], key=counts["a"].get) == "3"
    assert set(found[-1].kept) == {1.0}


def test_the_best_are_kept_the_first_of_equal_ones_with_their_columns():
    kept = []
    given = {"a": [0.5, 2.0, None, 2.0, float("nan")], "b": [1.0] * 5}
    (found,) = expert_iteration(
        lambda number, rows, n: [[f"{row.prompt}{i}" for i in range(n)] for row in rows],
        lambda prompts, completions, answer: given[prompts[0]],
        lambda number, rows: kept.extend(rows),
        ROWS,
        n_samples=5,
        keep=2,
    )
    assert kept == [
        {"answer": "3", "prompt": "a", "completion": "a1", "reward": 2.0},
        {"answer": "3", "prompt": "a", "completion": "a3", "reward": 2.0},
    ]
    assert found == ([2.0, 2.0, 0.5, 1.0, 1.0, 1.0, 1.0, 1.0], [2.0, 2.0], 2)


def test_nothing_kept_is_not_imitated_and_results_of_another_number_are_refused():
    def imitate(number, kept):
        raise AssertionError

    (found,) = expert_iteration(lambda *of: [["0"] * 2] * 2, right, imitate, ROWS, n_samples=2)
    assert found.kept == []
    with pytest.raises(ValueError, match="zip"):
        expert_iteration(lambda *of: [["0"]], right, imitate, ROWS, n_samples=1)
    with pytest.raises(ValueError, match="expert_iteration: keep"):
        expert_iteration(lambda *of: [], right, imitate, [], n_samples=1, keep=2)
