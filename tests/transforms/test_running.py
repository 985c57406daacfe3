"""Running statistics equal those of all data at once."""

import math
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from rewardsmith.transforms import RunningNorm
from rewardsmith.types import traits_of

NAN = math.nan
finite = st.floats(-1e3, 1e3, allow_nan=False)


@pytest.mark.slow
@settings(deadline=None, max_examples=50)
@given(batches=st.lists(st.lists(finite | st.sampled_from([NAN, math.inf]), max_size=6), min_size=1, max_size=6))
def test_merged_batches_equal_all_data_at_once(batches):
    norm = RunningNorm()
    for batch in batches:
        norm.update(torch.tensor(batch, dtype=torch.float64))
    seen = torch.tensor([x for batch in batches for x in batch if math.isfinite(x)], dtype=torch.float64)
    assert norm.count == len(seen)
    if len(seen):
        assert_close(norm.mean, seen.mean(), rtol=1e-9, atol=1e-9)
        assert (norm.low, norm.high) == (seen.min(), seen.max())
    if len(seen) > 1:
        assert_close(norm.std, seen.std(), rtol=1e-7, atol=1e-7)


def test_far_from_zero_the_variance_survives():
    # Σr² − (Σr)²/n would lose it: 1e8² has no room for a variance of 1.
    norm = RunningNorm()
    for _ in range(100):
        norm.update(torch.tensor([1e8 - 1, 1e8 + 1], dtype=torch.float64))
    assert_close(norm.std, torch.tensor((200 / 199) ** 0.5, dtype=torch.float64))


def test_each_mode_is_its_equation_on_the_data_so_far():
    first, second = torch.tensor([0.0, 4.0]), torch.tensor([2.0, 10.0, NAN])
    seen = torch.tensor([0.0, 4.0, 2.0, 10.0])
    mean, std = seen.mean(), seen.std()
    expected = {
        "meanstd": (second - mean) / std,
        "clip": torch.minimum(torch.maximum(second, mean - std), mean + std),
        "minmax": second / 10,
    }
    for mode, want in expected.items():
        norm = RunningNorm(mode=mode)
        norm(first)
        assert_close(norm(second), want, equal_nan=True)


def test_running_min_max_pays_the_same_completion_less_after_the_maximum_grew():
    norm = RunningNorm(mode="minmax")
    before = norm(torch.tensor([0.0, 1.0]))[1]
    after = norm(torch.tensor([4.0, 1.0]))[1]
    assert (before, after) == (1.0, 0.25)


def test_eval_mode_freezes_the_statistics():
    norm = RunningNorm()
    norm(torch.tensor([0.0, 2.0]))
    norm.eval()
    norm(torch.tensor([100.0]))
    assert norm.count == 2


@pytest.mark.parametrize("mode", ["meanstd", "clip", "minmax"])
def test_state_survives_a_state_dict_and_a_pickle(mode):
    norm = RunningNorm(mode=mode)
    norm(torch.tensor([0.0, 1.0, 5.0]))
    fresh = RunningNorm(mode=mode)
    fresh.load_state_dict(norm.state_dict())
    copy = pickle.loads(pickle.dumps(norm))
    probe = torch.tensor([3.0, 7.0])
    assert_close(fresh(probe), norm(probe))
    assert_close(copy(probe), fresh.eval()(probe))


@pytest.mark.parametrize("mode", ["meanstd", "clip", "minmax"])
def test_before_any_data_and_without_spread_rewards_stay_finite(mode):
    norm = RunningNorm(mode=mode)
    assert_close(norm.eval()(torch.tensor([3.0])), torch.tensor([3.0]))
    assert norm.train()(torch.tensor([NAN, 2.0, 2.0]))[1:].isfinite().all()


def test_only_clipping_bends():
    assert traits_of(RunningNorm()).affine
    assert traits_of(RunningNorm(mode="minmax")).affine
    assert not traits_of(RunningNorm(mode="clip")).affine
    assert traits_of(RunningNorm()).scope == "run"


def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match=r"RunningNorm: mode is 'zscore'.* Choose one of those"):
        RunningNorm(mode="zscore")
