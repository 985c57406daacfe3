"""The plan of batches: every row once, within the budget, tight; prefixes by brute force."""

from __future__ import annotations

import random

import numpy as np
import pytest

from rewardsmith.rewards.models.batching import Batch, cut, plan_batches
from rewardsmith.rewards.models.encoding import Encoded, shared_length


def row(ids, key="", reads=None):
    return Encoded(np.asarray(ids, dtype=np.int32), (len(ids) - 1,) if reads is None else reads, key)


def ragged(n, seed, groups=0):
    rng = random.Random(seed)
    heads = [[rng.randrange(50) for _ in range(rng.randrange(1, 60))] for _ in range(max(groups, 1))]
    rows = []
    for place in range(n):
        own = [rng.randrange(50) for _ in range(rng.randrange(1, 40))]
        which = place % groups if groups else 0
        rows.append(row(heads[which] + own, str(which)) if groups else row(own, str(place)))
    return rows


@pytest.mark.slow
@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize("groups", [0, 1, 5])
@pytest.mark.parametrize("budget", [1, 16, 64, 500, 10_000])
def test_every_row_is_in_exactly_one_batch_and_batches_keep_the_budget(share, groups, budget):
    rows = ragged(83, seed=budget, groups=groups)
    batches = plan_batches(rows, share=share, budget=budget, most_rows=20)
    assert sorted(place for batch in batches for place in batch.rows) == list(range(83))
    for batch in batches:
        if not batch.prefix:
            longest = max(len(rows[place].ids) for place in batch.rows)
            assert len(batch.rows) == 1 or (len(batch.rows) * longest <= budget and len(batch.rows) <= 20)


@pytest.mark.parametrize("seed", range(5))
def test_a_shared_prefix_is_one_that_its_rows_have_and_ends_before_what_is_read(seed):
    rows = ragged(60, seed=seed, groups=4)
    batches = [batch for batch in plan_batches(rows, share=True, budget=400) if batch.prefix]
    assert batches
    for batch in batches:
        for place, owner in zip(batch.rows, batch.owner, strict=True):
            leader = batch.leaders[owner]
            assert rows[place].key == rows[leader].key
            assert list(rows[place].ids[: batch.prefix]) == list(rows[leader].ids[: batch.prefix])
            assert batch.prefix <= rows[place].reads[0]


def test_prompts_that_save_little_are_not_read_apart():
    alone = [row([1, 2, *[k] * 60], key="a") for k in range(8)]  # 2 of 62 tokens shared
    assert plan_batches(alone, share=True) == [Batch(list(range(8)))]
    assert [batch.prefix for batch in plan_batches([row([1] * 50 + [k], key="a") for k in range(8)], share=True)] == [
        50
    ]
    different = [row([1] * 50 + [k], key=str(k)) for k in range(8)]  # nobody says that these share a prompt
    assert [batch.prefix for batch in plan_batches(different, share=True)] == [0]


def test_sorted_batches_pad_little_and_the_longest_come_first():
    rows = ragged(2000, seed=1)
    lengths = [len(item.ids) for item in rows]
    batches = plan_batches(rows, share=True, budget=512)
    padded = sum(len(batch.rows) * max(lengths[place] for place in batch.rows) for batch in batches)
    assert sum(lengths) / padded > 0.97
    assert lengths[batches[0].rows[0]] == max(lengths)


@pytest.mark.parametrize(
    ("lengths", "passes"),
    [
        ([9] * 5 + [7] * 4, [5, 4]),  # two passes without padding, or one with padding and one row again
        ([9, 9, 8, 7, 7], [5]),  # three passes, or two
        ([9] * 8 + [8] * 5 + [7] * 5, [8, 5, 5]),  # three passes, or one with two rows again
        ([9] * 8 + [8] * 4 + [7] * 4 + [6] * 2, [18]),  # four passes, or three
        ([9, 8, 7], [1, 1, 1]),
    ],
)
def test_rows_are_padded_only_where_that_spares_passes(lengths, passes):
    rows = [row([place] * length) for place, length in enumerate(lengths)]
    assert [len(batch.rows) for batch in plan_batches(rows, share=False)] == passes


@pytest.mark.parametrize("seed", range(5))
def test_cut_is_the_greedy_loop(seed):
    rng = random.Random(seed)
    lengths = sorted((rng.randrange(1, 30) for _ in range(50)), reverse=True)
    cuts, start = [], 0
    while start < len(lengths):
        stop = start + 1
        while stop < len(lengths) and stop - start < 7 and (stop - start + 1) * lengths[start] <= 64:
            stop += 1
        cuts.append((start, stop))
        start = stop
    assert cut(lengths, budget=64, most_rows=7) == cuts
    assert cut([], budget=64, most_rows=7) == []


def test_shared_length_is_the_loop():
    rng = random.Random(0)
    for _ in range(200):
        rows = [[rng.randrange(2) for _ in range(rng.randrange(0, 6))] for _ in range(rng.randrange(1, 4))]
        expected = 0
        while all(len(r) > expected for r in rows) and len({r[expected] for r in rows}) == 1:
            expected += 1
        assert shared_length([np.asarray(r, dtype=np.int32) for r in rows]) == expected
