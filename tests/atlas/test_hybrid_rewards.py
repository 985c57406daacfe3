"""The pool of page hybrid_rewards: what each source knows, measured against what was declared."""

import pytest
import torch
from scipy.stats import norm
from torch.testing import assert_close

from rewardsmith.atlas.pages.hybrid_rewards import World
from rewardsmith.worlds import Streams


def sample(n_prompts=80, n_responses=400, seeds=(0, 1), **options):
    return World(n_prompts=n_prompts, n_responses=n_responses, **options).pool(Streams(seeds))


def fitted(features, target):
    """Least squares by numpy, as an oracle for what is linear in the features."""
    design = torch.cat([features, torch.ones_like(features[:, :1])], dim=1)
    return torch.linalg.lstsq(design, target[:, None], driver="gelsd").solution[:, 0]


def test_the_first_half_is_verifiable_and_only_there_does_the_rule_speak():
    pool = sample()
    assert pool.verifiable.tolist() == [True] * 40 + [False] * 40
    assert not pool.rule[:, pool.verifiable].isnan().any()
    assert pool.rule[:, ~pool.verifiable].isnan().all()
    assert set(pool.gold[:, pool.verifiable].unique().tolist()) == {0.0, 1.0}


def test_base_accuracy_flips_and_format_come_at_their_rates():
    pool = sample(base_accuracy=0.17, flip_rate=0.05)
    gold, rule = pool.gold[:, pool.verifiable], pool.rule[:, pool.verifiable]
    assert float(gold.mean()) == pytest.approx(0.17, abs=0.01)
    assert float((gold != rule).double().mean()) == pytest.approx(0.05, abs=0.01)
    assert float(pool.formatted.mean()) == pytest.approx(0.5, abs=0.01)


def test_open_gold_is_a_logistic_of_a_standard_normal_direction_of_content():
    pool = sample(quality_scale=1.5)
    opened = ~pool.verifiable
    quality = pool.gold[:, opened].logit() / 1.5
    assert float(quality.std()) == pytest.approx(1.0, abs=0.02)
    for seed in range(2):
        weights = fitted(pool.features[seed, opened].flatten(0, 1), quality[seed].flatten())
        assert_close(weights[12:24].norm(), torch.tensor(1.0, dtype=torch.float64))
        assert_close(weights[24:], torch.zeros(3, dtype=torch.float64))  # not of length, format or a constant


def test_right_answers_lie_beyond_a_threshold_of_another_direction():
    pool = sample(base_accuracy=0.17, n_content=1)  # with one content feature the direction is ±1
    content = pool.features[:, pool.verifiable, :, 0]
    right = pool.gold[:, pool.verifiable] > 0
    for seed in range(2):
        sign = 1.0 if float(content[seed][right[seed]].mean()) > 0 else -1.0
        assert torch.equal(right[seed], sign * content[seed] > norm.isf(0.17))


def test_the_learned_reward_has_the_declared_slopes_and_likes_length_everywhere():
    pool = sample(model_on_math=0.25, model_on_open=0.8, length_bias=0.8, model_noise=1.5, quality_scale=1.0)
    logits = pool.model.logit()
    opened = ~pool.verifiable
    quality, length = pool.gold[0, opened].logit().flatten(), pool.lengths[0, opened].flatten()
    slope, bias, constant = fitted(torch.stack([quality, length], dim=1), logits[0, opened].flatten()).tolist()
    assert (slope, bias, constant) == pytest.approx((0.8, 0.8, 0.0), abs=0.06)
    known = fitted(pool.features[0, pool.verifiable].flatten(0, 1), logits[0, pool.verifiable].flatten())
    assert float(known[:12].norm()) == pytest.approx(0.25, abs=0.06)
    assert float(known[24]) == pytest.approx(0.8, abs=0.06)


def test_content_is_seen_in_the_columns_of_the_prompt_s_kind():
    pool = sample(n_content=3)
    assert pool.features.shape == (2, 80, 400, 8)
    assert not pool.features[:, pool.verifiable, :, 3:6].any()
    assert not pool.features[:, ~pool.verifiable, :, :3].any()
    assert_close(pool.features[..., 6], pool.lengths)
    assert_close(pool.features[..., 7], pool.formatted)


def test_a_seed_s_pool_does_not_depend_on_its_neighbors():
    together, alone = sample(4, 6, seeds=(3, 9)), sample(4, 6, seeds=(9,))
    for name in ("features", "gold", "rule", "model", "lengths", "formatted"):
        assert_close(getattr(together, name)[1], getattr(alone, name)[0], equal_nan=True, rtol=0, atol=1e-12)


def test_too_few_prompts_are_refused():
    with pytest.raises(ValueError, match=r"World: n_prompts is 1, outside \[2, inf\]"):
        sample(1, 3)
