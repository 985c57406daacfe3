"""One object: it computes, prints, draws, lists canceled parts, and is refused where it cannot run."""

import asyncio
import inspect
import math
import pickle
from functools import partial

import pytest
import torch
from torch.testing import assert_close

from rewardsmith.advantages import drop_dead_groups, group_centered, group_zscore, min_returns, step_credit
from rewardsmith.recipes import Recipe, column, combine, source, step_source
from rewardsmith.scoring import contract_of
from rewardsmith.transforms import (
    RunningNorm,
    clip_rewards,
    clip_steps,
    forward_weights,
    gated_step_sum,
    logical_and,
    normalize_sources,
    par,
    weighted_sum,
)
from rewardsmith.transforms.links import pure_link
from rewardsmith.types import RewardBatch, Traits, declares


def right(completions, answer, **columns):
    return [None if a is None else float(c == a) for c, a in zip(completions, answer, strict=True)]


def brevity(completions, *, unit=10.0, **columns):
    return [-len(c) / unit for c in completions]


async def slowly(completions, **columns):
    await asyncio.sleep(0)
    return [0.25] * len(completions)


def prm(completions, steps, **columns):
    return [[0.9 for _ in row] for row in steps]


RIGHT, SHORT = source(right), source(brevity)
POINTWISE = Recipe(RIGHT + 0.5 * SHORT.where(RIGHT > 0.5))
ROWS = {"prompts": ["p"] * 3, "completions": ["4", "55", "x"], "answer": ["4", "4", None]}


def test_a_pointwise_recipe_is_a_reward_function():
    """Right: 1 + 0.5·(−0.1). Wrong: 0. No key: None, though brevity could be scored, as the gate is unknown."""
    assert POINTWISE(**ROWS) == pytest.approx([0.95, 0.0, None])
    assert contract_of(POINTWISE) == "trl"
    assert POINTWISE.__name__ == "recipe"
    assert list(inspect.signature(POINTWISE).parameters) == ["prompts", "completions", "answer", "unit", "columns"]


def test_it_pickles():
    copied = pickle.loads(pickle.dumps(POINTWISE))
    assert copied(**ROWS) == POINTWISE(**ROWS)
    assert str(copied) == str(POINTWISE)


def test_async_sources_are_awaited():
    assert Recipe(RIGHT + source(slowly))(**ROWS) == pytest.approx([1.25, 0.25, 0.5])


def test_columns_and_lengths_reach_the_transforms():
    shaped = Recipe(SHORT.then(par, ref_rewards=column("refs")))
    got = shaped(prompts=["p"], completions=["1234"], refs=[[-0.4, 100.0]])
    assert got == pytest.approx([0.25])  # σ(0) against the first reference and 0 against the second
    from rewardsmith.transforms import length_penalty

    charged = Recipe(SHORT.then(length_penalty, per_token=1.0, free_tokens=1.0))
    got = charged(prompts=["p"], completions=["1234"], completion_ids=[[7, 8, 9]])
    assert got == pytest.approx([-0.4 - 2.0])


@pytest.mark.parametrize(
    ("recipe", "what"),
    [
        (
            Recipe(combine(normalize_sources, RIGHT, SHORT).then(weighted_sum)),
            "normalize_sources needs the whole prompt",
        ),
        (Recipe(RIGHT.then(RunningNorm())), "RunningNorm needs the whole run"),
        (Recipe(RIGHT, advantage=group_centered), "group_centered acts after the rewards are gathered"),
        (Recipe(RIGHT, sample_filter=drop_dead_groups), "drop_dead_groups acts after the rewards are gathered"),
    ],
)
def test_what_sees_more_than_a_row_is_refused_as_a_plain_reward_and_the_trainer_named(recipe, what):
    with pytest.raises(TypeError, match=rf"recipe: {what}.*Train it with rewardsmith.engines.trl.GRPOTrainer"):
        recipe(**ROWS)
    with pytest.raises(TypeError, match=rf"recipe: {what}.*rewardsmith.engines.verl.register_recipe"):
        recipe.to_verl(unscored=0.0)
    with pytest.raises(TypeError, match=rf"recipe: {what}.*OpenRLHF chooses among its own.*engines.trl.GRPOTrainer"):
        recipe.to_openrlhf(unscored=0.0)


def test_pointwise_recipes_go_to_verl_and_openrlhf():
    assert POINTWISE.to_verl(unscored=0.0)("set", "4", "4") == {"score": pytest.approx(0.95), "scored": 1.0}
    exported = POINTWISE.to_openrlhf(unscored=0.0)(["p4", "p5"], ["p", "p"], ["4", "4"])
    assert_close(exported["rewards"], torch.tensor([0.95, 0.0]))


def batch(**more):
    sources = torch.tensor([[1.0, -0.1], [0.0, -0.3], [1.0, -0.2], [1.0, -0.4]])
    return RewardBatch(source_rewards=sources, source_names=("right", "brevity"), group_size=2, **more)


def context(found):
    return {
        "source_rewards": found.source_rewards,
        "source_names": found.source_names,
        "group_size": 2,
        "batch": found,
        "step_mask": found.step_mask,
        "step_ends": found.step_ends,
        "completion_mask": found.completion_mask,
    }


def test_its_transform_is_the_term_on_the_gathered_sources():
    recipe = Recipe(combine(normalize_sources, RIGHT, SHORT).then(weighted_sum, weights=[1.0, 0.5]))
    found = batch()
    expected = weighted_sum(normalize_sources(found.source_rewards, group_size=2), weights=[1.0, 0.5])
    assert_close(recipe.transform(**context(found)), expected)


def test_its_credit_computes_the_step_term_and_hands_it_to_the_advantage():
    mask = torch.tensor([[True, True], [True, False], [True, True], [True, True]])
    found = batch(
        step_rewards={"prm": torch.tensor([[0.9, 0.2], [0.4, math.nan], [0.5, 0.6], [0.3, 0.8]])},
        step_mask=mask,
        step_ends=torch.tensor([[0, 2], [1, 0], [1, 2], [0, 1]]),
        completion_mask=torch.ones(4, 3, dtype=torch.bool),
    )
    steps = step_source(prm).then(clip_steps, threshold=0.5)
    recipe = Recipe(RIGHT, steps=steps, advantage=partial(step_credit, returns=min_returns))
    rewards = found.source_rewards[:, 0]
    expected = step_credit(
        rewards,
        step_rewards=clip_steps(found.step_rewards["prm"], mask, threshold=0.5),
        step_mask=mask,
        step_ends=found.step_ends,
        completion_mask=found.completion_mask,
        group_size=2,
        returns=min_returns,
    )
    got = recipe.credit(rewards, **{**context(found), "step_rewards": None})
    assert_close(got, expected)
    assert bool(got.any())
    assert recipe.options()["process_rewards"] == {"prm": prm}


def test_levels_of_steps_and_outcome_are_gated_in_a_recipe_as_by_hand():
    sources, mask = torch.tensor([[1.0], [0.0]]), torch.ones(2, 3).bool()
    scores = torch.tensor([[0.5, 0.25, 0.125]]).repeat(2, 1)
    term = combine(gated_step_sum, step_source(prm), RIGHT, thresholds=[0.0, 0.0])
    recipe = Recipe(RIGHT, steps=term, advantage=partial(step_credit, baseline="group"))
    assert "gated_step_sum" in str(recipe)
    batch = RewardBatch(sources, ("right",), 2, step_rewards={"prm": scores}, step_mask=mask)
    context = {"step_mask": mask, "step_ends": torch.tensor([[0, 1, 2]] * 2), "completion_mask": mask, "group_size": 2}
    got = recipe.credit(sources[:, 0], batch=batch, **context)
    paid = torch.tensor([[0.5, 0.25, 1.125], [0.0, 0.0, 0.0]])  # the failure's steps are worth nothing
    wanted = step_credit(sources[:, 0], step_rewards=paid, baseline="group", **context)
    assert_close(got, wanted)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (
            lambda s: s.then(gated_step_sum, thresholds=[0, 0]),
            r"gated_step_sum cannot make \(B, N\) step rewards of prm",
        ),
        (lambda s: s.then(weighted_sum), r"weighted_sum cannot make .* shape \(4,\) for \(4, 3\)\. Check its arg"),
        (lambda s: s.then(_lists), r"_lists cannot make .* of prm: it returns list, which is no tensor"),
        (lambda s: s.then(_one_row), r"_one_row cannot make .* of prm: RuntimeError: Boolean value of Tensor"),
    ],
)
def test_what_cannot_run_on_step_rewards_is_refused_by_name_when_the_recipe_is_built(steps, message):
    with pytest.raises(TypeError, match=f"Recipe: {message}"):
        Recipe(RIGHT, steps=steps(step_source(prm)), advantage=step_credit)


def test_what_cannot_run_on_rewards_is_refused_too_and_what_only_some_values_pass_is_not():
    with pytest.raises(
        TypeError, match=r"Recipe: normalize_sources cannot make \(B,\) rewards .*shape \(4, 2\) for \(4,\)"
    ):
        Recipe(combine(normalize_sources, RIGHT, SHORT))
    Recipe(source(right).then(forward_weights, false_negative_rate=0.1))  # takes verdicts alone
    Recipe(combine(logical_and, RIGHT - 1, SHORT))  # takes log-probabilities alone
    Recipe(RIGHT.then(normalize_by, group_size=8))
    Recipe(RIGHT.then(par, ref_rewards=torch.zeros(7, 2)))  # the references of seven rows


def test_trying_a_recipe_leaves_its_state_alone():
    running = RunningNorm()
    Recipe(RIGHT.then(running))
    assert int(running.count) == 0


@declares(Traits(scope="row", affine=False))
def _lists(step_rewards):
    return step_rewards.tolist()


@declares(Traits(scope="row", affine=False))
def _one_row(step_rewards):
    return step_rewards if step_rewards > 0 else -step_rewards


@declares(Traits(scope="prompt", affine=False))
def normalize_by(rewards, *, group_size):
    return rewards.view(-1, group_size).sub(rewards.view(-1, group_size).mean(1, keepdim=True)).flatten()


def test_it_says_which_parts_its_advantage_cancels():
    bent = (2.0 * RIGHT).then(pure_link)
    recipe = Recipe(3 * (bent + 0.5 * (SHORT - 0.25)) - 1, advantage=group_zscore)
    assert [(found.part, found.extent) for found in recipe.canceled()] == [
        ("3·r − 1, where r = pure_link(2·right) + 0.5·(brevity − 0.25)", "exactly"),
        ("r − 0.25, where r = brevity", "exactly"),
    ]
    assert [found.extent for found in recipe.canceled(group_centered)] == ["up to scale", "exactly"]
    assert Recipe(bent).canceled() == []
    assert "canceled    3·r − 1" in str(recipe)


def test_what_it_calls_canceled_changes_no_advantage_and_what_it_does_not_does():
    generator = torch.Generator().manual_seed(0)
    values = {name: torch.randn(12, generator=generator, dtype=torch.float64) for name in ("right", "brevity")}
    from rewardsmith.recipes.terms import evaluate

    def advantages(term, advantage):
        return advantage(evaluate(term, values), group_size=4)

    plain = RIGHT + 0.5 * SHORT
    zscore = partial(group_zscore, eps=0.0)
    assert_close(advantages(3 * (RIGHT + 0.5 * (SHORT - 0.25)) - 1, zscore), advantages(plain, zscore))
    assert_close(advantages(3 * plain - 1, group_centered), 3 * advantages(plain, group_centered))
    other = advantages(RIGHT + 0.5 * (2 * SHORT), zscore)
    assert float((other - advantages(plain, zscore)).abs().max()) > 0.01


def test_it_splits_into_rows_and_what_follows_the_gather():
    rows, later = Recipe((RIGHT - 1).then(RunningNorm(mode="clip")).then(clip_rewards, low=-1.0)).split()
    assert str(rows.reward) == "right − 1"
    assert rows(**ROWS) == pytest.approx([0.0, -1.0, None])
    assert [type(part).__name__ for part in later.parts] == ["RunningNorm", "partial"][: len(later.parts)]
    assert Recipe(RIGHT).split().transform is None
    with pytest.raises(TypeError, match=r"Recipe.split: normalize_sources.* sees the prompt and reads several terms"):
        Recipe(combine(normalize_sources, RIGHT, SHORT).then(weighted_sum)).split()


def test_a_notebook_shows_the_picture_and_the_text():
    def worse(completions, **columns):
        return [0.0 for _ in completions]

    shown = Recipe(RIGHT + source(worse, "<b>"), advantage=group_zscore)._repr_html_()
    assert shown.startswith('<img src="data:image/svg+xml;base64,')
    assert "<b>" not in shown
    assert "reward    = right + &lt;b&gt;" in shown


def test_it_draws_every_part():
    recipe = Recipe(
        RIGHT + 0.5 * (SHORT.then(par, ref_rewards=column("refs")) - 0.25),
        advantage=group_zscore,
        sample_filter=drop_dead_groups,
    )
    (axes,) = recipe.draw().axes
    texts = {text.get_text() for text in axes.texts}
    wanted = {"right", "brevity", "refs\n(column)", "par", "sum", "r − 0.25\n(cancels)", "0.5·", "ref_rewards"}
    assert wanted <= texts
    assert {"advantage\ngroup_zscore", "filter\ndrop_dead_groups"} <= texts


def test_mistakes_are_refused():
    with pytest.raises(TypeError, match="Recipe: reward is prm, whose value has shape"):
        Recipe(step_source(prm))
    with pytest.raises(TypeError, match=r"Recipe: reward is <function right.*Wrap a reward with recipes.source"):
        Recipe(right)
    with pytest.raises(TypeError, match="Recipe: steps are given, and no advantage that takes step_rewards"):
        Recipe(RIGHT, steps=step_source(prm), advantage=group_centered)
    with pytest.raises(TypeError, match=r"Recipe: advantage is 'group_centered', but it takes a function, such as"):
        Recipe(source(right), advantage="group_centered")
    with pytest.raises(TypeError, match=r"Recipe: sample_filter is True, but it takes a function.*drop_dead_groups"):
        Recipe(source(right), sample_filter=True)
    with pytest.raises(ValueError, match="Recipe: two rewards are called 'right', and their values would be mixed up"):
        Recipe(RIGHT + source(brevity, "right"))
    with pytest.raises(TypeError, match=r"Recipe.credit: this recipe has no advantage"):
        Recipe(RIGHT).credit(torch.zeros(2))
    with pytest.raises(TypeError, match="source 'reward-model' is a model, which only a trainer can score"):
        Recipe(source("org/reward-model"))(**ROWS)
    with pytest.raises(ValueError, match="source 'short' returned 1 scores for 3 completions"):
        Recipe(source(lambda **rows: [0.0], "short"))(**ROWS)
