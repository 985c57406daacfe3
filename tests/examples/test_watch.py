from types import SimpleNamespace

import pytest
import torch
from examples.watch import Watch, by_quantity, table

from rewardsmith.types import RewardBatch

pytestmark = pytest.mark.slow  # imports TRL


def told(values, lengths):
    """A batch as a trainer tells of it: one column, and completions of so many tokens."""
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    n = len(values)
    columns = {"prompt": ["?"] * n, "completion": ["!"] * n, "value": values}
    batch = RewardBatch(torch.zeros(n, 1), ("reward",), 1, completion_mask=mask, columns=columns)
    return SimpleNamespace(batch=batch)


def test_watch_measures_the_last_batches_together():
    watch = Watch(lambda rows: {"sum": sum(rows["value"]), "tokens": sum(rows["lengths"])}, window=2)
    for value in (1, 10, 100):
        watch.on_rewards(None, None, None, scored=told([value, value], [1, 3]))
    assert watch.curves == {"sum": [2, 22, 220], "tokens": [4, 8, 8]}


def test_watch_hands_on_rows_as_a_reward_gets_them():
    seen = {}
    Watch(lambda rows: seen.update(rows) or {}).on_rewards(None, None, None, scored=told([5], [2]))
    assert seen == {"prompts": ["?"], "completions": ["!"], "value": [5], "lengths": [2]}


def test_curves_are_turned_from_arms_to_quantities():
    turned = by_quantity({"a": {"x": (1.0,), "y": (2.0,)}, "b": {"x": (3.0,), "y": (4.0,)}})
    assert turned == {"x": {"a": [1.0], "b": [3.0]}, "y": {"a": [2.0], "b": [4.0]}}


def test_the_table_has_the_first_batch_of_all_arms_and_the_last_of_each():
    lines = table({"x": {"a": [0.0, 1.0, 3.0], "b": [1.0, 5.0, 6.0]}}, n=2).splitlines()
    assert [line.split() for line in lines] == [
        ["x"],
        ["at", "the", "start", "0.50"],  # (0 + 1) / 2
        ["a", "2.00"],  # (1 + 3) / 2
        ["b", "5.50"],
    ]
    assert len({len(line) for line in lines}) == 1
