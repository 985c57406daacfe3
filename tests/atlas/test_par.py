"""The page of preference-as-reward: its pool against moments, and where its references come from."""

import pytest
import torch

from rewardsmith.atlas.pages.par import World, shapings


def pool(seed, *shape, **options):
    return World(**options).pool(*shape, torch.Generator().manual_seed(seed))


def test_a_pool_has_the_moments_it_was_asked_for():
    wide = pool(0, 400, 400)
    honest = ~wide.is_hack
    error = torch.where(honest, wide.rewards - wide.gold, torch.nan)
    offset = error.nanmean(-1, keepdim=True)
    assert float(wide.gold[honest].std()) == pytest.approx(1.5, rel=0.02)
    assert float((error - offset)[honest].std()) == pytest.approx(0.7, rel=0.02)
    assert float(offset.std()) == pytest.approx(2.0, rel=0.15)  # 400 offsets: 4 standard errors
    assert float(wide.is_hack.double().mean()) == pytest.approx(0.01, rel=0.1)
    assert float(wide.gold[wide.is_hack].mean()) == pytest.approx(-2.0, abs=0.05)


def test_a_pool_depends_on_its_generator_alone():
    one, two, other = (pool(seed, 3, 9) for seed in (5, 5, 6))
    assert torch.equal(one.gold, two.gold)
    assert torch.equal(one.rewards, two.rewards)
    assert not torch.equal(one.gold, other.gold)


def test_references_are_drawn_from_their_own_prompt():
    narrow = pool(1, 5, 20)
    centered = shapings(narrow, World(), True, torch.Generator().manual_seed(2))["par_1"]  # the link is the identity
    for reference, own in zip(narrow.rewards - centered, narrow.rewards, strict=True):  # centered = score − reference
        assert torch.isclose(own, reference[0]).any()
        assert torch.allclose(reference, reference[0])


def test_a_pool_refuses_a_hack_rate_above_one():
    with pytest.raises(ValueError, match=r"par.World.pool: hack_rate is 2.0, outside \[0.0, 1.0\]"):
        pool(0, 2, 3, hack_rate=2.0)


def test_the_control_is_the_score_above_its_mean_reference_clipped_on_both_sides():
    narrow, world = pool(1, 5, 20), World(clip_at=0.5)
    arms = [shapings(narrow, world, broken, torch.Generator().manual_seed(2)) for broken in (False, True)]
    above = arms[1]["par_10"]  # with the identity for a link
    assert torch.equal(arms[0]["centered_clip"], above.clamp(-0.5, 0.5))
    assert float(arms[0]["centered_clip"].abs().max()) == 0.5
