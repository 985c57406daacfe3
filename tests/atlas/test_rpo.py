"""The loss of each arm against its formula, one pair at a time."""

import math

import pytest

from rewardsmith.atlas.pages.rpo import ARMS, World, experiments

SMALL = World(n_worlds=1, n_prompts=2, n_tokens=3, length=3, width=4, n_ref=5, ref_steps=3, n_pairs=3, steps=3, early=2)


@pytest.fixture(scope="module")
def found():
    return experiments([5], SMALL)[0]


def test_an_anchor_raises_the_chosen_responses_and_a_negative_one_lowers_them(found):
    assert found["chosen/supervised"] > found["chosen/dpo"] > found["chosen/rpo_negative"]
    assert found["chosen/rpo_strong"] > found["chosen/rpo"] > found["chosen/dpo"]


def test_kl_is_none_of_an_untrained_policy_and_gold_then_the_references():
    row = experiments(
        [5], World(n_worlds=1, n_prompts=2, n_tokens=3, length=3, width=4, n_ref=5, ref_steps=3, steps=0)
    )[0]
    for arm in ARMS:
        assert row[f"kl/{arm}"] == pytest.approx(0.0, abs=1e-12)
        assert row[f"gold/{arm}"] == pytest.approx(row["gold/reference"])


def test_the_ablation_anchors_on_the_responses_that_its_control_has():
    row = experiments([5], SMALL, broken=True)[0]
    assert row["gold/rpo_strong"] == row["gold/anchor_uniform"]
    assert math.isfinite(row["gold/rpo"])


def test_a_seed_averages_languages_that_no_other_seed_draws(found):
    both = experiments([5, 6], World(**{**{f: getattr(SMALL, f) for f in SMALL.__slots__}, "n_worlds": 2}))
    alone = experiments([10], SMALL)[0], experiments([11], SMALL)[0]
    for name, value in both[0].items():
        assert value == pytest.approx(sum(row[name] for row in alone) / 2)
