"""A recipe trains whole in our trainers, pointwise in TRL's own, and is refused where it cannot run."""

import warnings
from functools import partial

import pytest
import torch
import trl
from torch.testing import assert_close

from rewardsmith.advantages import drop_dead_groups, group_centered, group_zscore, rank_filter, step_credit
from rewardsmith.engines.trl import GRPOTrainer, RLOOTrainer
from rewardsmith.recipes import Recipe, combine, source, step_source
from rewardsmith.transforms import (
    clip_steps,
    delta_steps,
    gated_step_sum,
    normalize_sources,
    reads,
    scheduled_scale,
    weighted_sum,
)
from rewardsmith.transforms.links import pure_link
from rewardsmith.worlds import substring_reward
from tests.engines.helpers import Keep, logged, make, parameters

pytestmark = pytest.mark.slow

OURS = [pytest.param(GRPOTrainer, id="grpo"), pytest.param(RLOOTrainer, id="rloo")]


def brevity(completions, **columns):
    """A dense reward, so that no group is dead."""
    return [-len(text) / 10 - (sum(map(ord, text)) % 7) / 100 for text in completions]


def even_pieces(steps, **columns):
    """1 for every step of even length, else 0."""
    return [[float(len(text) % 2 == 0) for text in row] for row in steps]


RIGHT, SHORT = source(substring_reward, "right"), source(brevity, "short")


def trained(trainer_class, world, rewards, **options):
    trainer = make(trainer_class, world, rewards, **options)
    trainer.train()
    return trainer


@pytest.mark.parametrize("ours", OURS)
def test_a_recipe_trains_as_its_parts_do_by_hand(ours, world):
    normalized = combine(normalize_sources, RIGHT, SHORT).then(weighted_sum, weights=[1.0, 0.5])
    recipe = Recipe(normalized.then(pure_link), advantage=group_centered, sample_filter=drop_dead_groups)

    def by_hand(source_rewards, *, group_size):
        z = normalize_sources(source_rewards, group_size=group_size)
        return torch.sigmoid(weighted_sum(z, weights=[1.0, 0.5]))

    rewards = {"right": substring_reward, "short": brevity}
    reference = trained(
        ours, world, rewards, transform=by_hand, advantage=group_centered, sample_filter=drop_dead_groups
    )
    mine = trained(ours, world, recipe)
    assert_close(parameters(mine), parameters(reference), rtol=0, atol=1e-6)
    assert logged(mine, "rewards/short/mean") == logged(reference, "rewards/short/mean")


def test_steps_of_a_recipe_become_token_advantages(world):
    steps = step_source(even_pieces, "even").then(clip_steps, threshold=0.5).then(delta_steps)
    recipe = Recipe(RIGHT, steps=steps, advantage=partial(step_credit, outcome_weight=1.0))
    keep = Keep()
    trained(GRPOTrainer, world, recipe, callbacks=[keep], steps=1)
    (scored,) = keep.seen
    batch = scored.batch
    shaped = delta_steps(clip_steps(batch.step_rewards["even"], batch.step_mask, threshold=0.5), batch.step_mask)
    expected = step_credit(
        scored.rewards,
        step_rewards=shaped,
        step_mask=batch.step_mask,
        step_ends=batch.step_ends,
        completion_mask=torch.arange(scored.advantages.shape[1]) < batch.completion_mask.sum(1)[:, None],
        group_size=4,
        outcome_weight=1.0,
    )
    assert_close(scored.advantages, expected.to(torch.float32))
    assert bool(scored.advantages.any())


def test_levels_of_steps_and_outcome_are_gated_inside_training(world):
    steps = combine(
        gated_step_sum, step_source(even_pieces, "even"), RIGHT, thresholds=[0.0, 0.0], gate_sign="positive"
    )
    recipe = Recipe(RIGHT, steps=steps, advantage=partial(step_credit, baseline="group"))
    keep = Keep()
    trained(GRPOTrainer, world, recipe, callbacks=[keep], steps=1)
    (scored,) = keep.seen
    batch = scored.batch
    at = batch.source_names.index(str(RIGHT))
    outcome = batch.source_rewards[:, at]
    paid = batch.step_rewards["even"].where(batch.step_mask, 0) * (outcome > 0)[:, None]
    last = batch.step_mask.sum(dim=1) - 1
    for row, column in enumerate(last.tolist()):
        if column >= 0:
            paid[row, column] += outcome[row]
    expected = step_credit(
        scored.rewards,
        step_rewards=paid.where(batch.step_mask, torch.nan),
        step_mask=batch.step_mask,
        step_ends=batch.step_ends,
        completion_mask=torch.arange(scored.advantages.shape[1]) < batch.completion_mask.sum(1)[:, None],
        group_size=4,
        baseline="group",
    )
    assert_close(scored.advantages, expected.to(torch.float32))


def test_a_pointwise_recipe_is_a_reward_for_trls_own_trainer(world):
    recipe = Recipe(RIGHT + 0.5 * SHORT, name="both")

    def by_hand(completions, answer, **columns):
        right, short = substring_reward(completions, answer), brevity(completions)
        return [r + 0.5 * s for r, s in zip(right, short, strict=True)]

    reference, mine = trained(trl.GRPOTrainer, world, by_hand), trained(trl.GRPOTrainer, world, recipe)
    assert_close(parameters(mine), parameters(reference), rtol=0, atol=1e-6)
    assert logged(mine, "rewards/both/mean") == pytest.approx(logged(reference, "rewards/by_hand/mean"))


@pytest.mark.parametrize(
    "trainer_class", [pytest.param(GRPOTrainer, id="ours"), pytest.param(trl.GRPOTrainer, id="trl")]
)
def test_a_schedule_takes_its_step_from_the_trainer(trainer_class, world):
    """One part of the reward doubles over the run, the other one falls at its second step, in our trainer or TRL's."""
    rising = partial(scheduled_scale, start=1.0, end=2.0, until=1.0)
    falling = SHORT.then(scheduled_scale, start=1.0, end=0.5, until=2, shape="two_stage")
    recipe = Recipe(source(one, "one").then(reads(rising, global_step="progress")) + falling)
    mine = trained(trainer_class, world, recipe, steps=4)
    if trainer_class is GRPOTrainer:
        short = logged(mine, "rewards/short/mean")
        wanted = [1 + k / 4 + scale * mean for k, scale, mean in zip(range(4), (1, 1, 0.5, 0.5), short, strict=True)]
        assert logged(mine, "reward") == pytest.approx(wanted, rel=1e-4)
    else:
        plain = trained(trl.GRPOTrainer, world, scheduled_by_hand, steps=4)
        assert_close(parameters(mine), parameters(plain), rtol=0, atol=1e-6)


def one(completions, **columns):
    return [1.0 for _ in completions]


def scheduled_by_hand(completions, trainer_state, **columns):
    k = trainer_state.global_step
    return [1 + k / 4 + (1 if k < 2 else 0.5) * score for score in brevity(completions)]


@pytest.mark.parametrize(
    ("recipe", "what"),
    [
        (
            Recipe(combine(normalize_sources, RIGHT, SHORT).then(weighted_sum)),
            "normalize_sources needs the whole prompt",
        ),
        (Recipe(RIGHT, sample_filter=rank_filter), "rank_filter.* acts after the rewards"),
    ],
)
def test_what_needs_the_batch_is_refused_by_trls_own_trainer_and_ours_is_named(recipe, what, world):
    with pytest.raises(TypeError, match=rf"recipe: {what}.*rewardsmith.engines.trl.GRPOTrainer"):
        trained(trl.GRPOTrainer, world, recipe, steps=1)


def test_canceled_parts_warn_and_options_beside_a_recipe_are_refused(world):
    with pytest.warns(UserWarning, match=r"GRPOTrainer: 2·r, where r = right, changes nothing: rescale is affine"):
        make(GRPOTrainer, world, Recipe(2 * RIGHT, advantage=group_zscore))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        make(GRPOTrainer, world, Recipe(RIGHT + 2 * SHORT, advantage=group_zscore))
    with pytest.raises(ValueError, match=r"a recipe brings its own transform.*Put them into the recipe"):
        make(GRPOTrainer, world, Recipe(RIGHT), advantage=group_zscore)
