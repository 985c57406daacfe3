"""RewardEnsemble and GaussianReward against numpy."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch
from tests.small_models import bert, llama_classifier, mixed_rows, one_by_one, tokenizer

from rewardsmith.rewards import GaussianHeads, GaussianReward, RewardEnsemble, SequenceReward, load_reward_model
from rewardsmith.transforms import mean_minus_variance, member_mean, member_quantile, robust_mix

pytestmark = pytest.mark.slow

PROMPTS, COMPLETIONS = mixed_rows()


def constant(value):
    def reward(prompts, completions, **columns):
        return [value] * len(completions)

    return reward


def numbers(seed, missing=()):
    def reward(prompts, completions, **columns):
        rng = np.random.default_rng(seed)
        drawn = rng.normal(seed, 1 + seed, len(completions)).tolist()
        return [None if place in missing else value for place, value in enumerate(drawn)]

    return reward


@pytest.mark.parametrize(
    ("aggregate", "oracle"),
    [
        (member_quantile, np.nanmin),
        (member_mean, np.nanmean),
        (partial(member_quantile, level=0.5), np.nanmedian),
    ],
)
def test_members_are_aggregated_and_a_missing_one_is_nan_to_the_aggregate(aggregate, oracle):
    members = [numbers(0, missing=(1, 2)), numbers(1, missing=(2,)), numbers(2, missing=(2, 3))]
    found = RewardEnsemble(members, aggregate).score(PROMPTS, COMPLETIONS)
    table = np.array([[math.nan if v is None else v for v in m(PROMPTS, COMPLETIONS)] for m in members])
    assert found[2] is None
    kept = [place for place in range(len(found)) if place != 2]
    assert [found[place] for place in kept] == pytest.approx(list(oracle(table[:, kept], axis=0)), abs=1e-12)


def test_the_scale_is_that_of_the_reference_rows_and_stays():
    members = [numbers(seed) for seed in range(3)]
    ensemble = RewardEnsemble(members, member_quantile, normalize="ref_zscore")
    with pytest.raises(ValueError, match="has no reference rows to normalize by"):
        ensemble.score(PROMPTS, COMPLETIONS)
    scale = ensemble.fit_reference(PROMPTS, COMPLETIONS)
    table = np.array([member(PROMPTS, COMPLETIONS) for member in members])
    assert scale.mean == pytest.approx(table.mean(axis=1))
    assert scale.std == pytest.approx(table.std(axis=1))
    z = (table - table.mean(axis=1, keepdims=True)) / table.std(axis=1, keepdims=True)
    assert ensemble.score(PROMPTS, COMPLETIONS) == pytest.approx(list(z.min(axis=0)), abs=1e-9)
    few = ensemble.score(PROMPTS[:2], COMPLETIONS[:2])  # a smaller batch is put on the same scale
    part = np.array([member(PROMPTS[:2], COMPLETIONS[:2]) for member in members])
    want = ((part - table.mean(axis=1, keepdims=True)) / table.std(axis=1, keepdims=True)).min(axis=0)
    assert few == pytest.approx(list(want), abs=1e-9)
    again = RewardEnsemble(members, member_quantile, normalize="ref_zscore", scale=scale)
    assert again.score(PROMPTS[:2], COMPLETIONS[:2]) == few


def test_the_heads_of_one_model_are_members_and_cost_one_pass():
    model, tok = llama_classifier(5), tokenizer()
    passes = []
    model.model.register_forward_hook(lambda *_: passes.append(1))
    heads = SequenceReward(model, tok)
    ensemble = RewardEnsemble([heads, numbers(1)], partial(mean_minus_variance, coef=0.7))
    found = ensemble.score(PROMPTS, COMPLETIONS)
    n_passes = len(passes)
    texts = [p + c + "<eos>" for p, c in zip(PROMPTS, COMPLETIONS, strict=True)]
    table = np.column_stack([one_by_one(model, texts, tok), numbers(1)(PROMPTS, COMPLETIONS)])
    assert found == pytest.approx(list(table.mean(axis=1) - 0.7 * table.var(axis=1)), abs=1e-9)
    one, passes_of_one = llama_classifier(1), []
    one.model.register_forward_hook(lambda *_: passes_of_one.append(1))
    SequenceReward(one, tok).score(PROMPTS, COMPLETIONS)
    assert n_passes == len(passes_of_one)


def test_ensembles_that_cannot_work_are_refused():
    async def waiting(prompts, completions, **columns):
        return [1.0] * len(completions)

    with pytest.raises(ValueError, match="there are no members"):
        RewardEnsemble([], member_quantile)
    with pytest.raises(ValueError, match="waiting is async"):
        RewardEnsemble([waiting], member_quantile)
    with pytest.raises(ValueError, match=r"returned shape \(14, 1\) for member scores of shape \(14, 1\)"):
        RewardEnsemble([constant(1.0)], lambda source_rewards: source_rewards).score(PROMPTS, COMPLETIONS)
    alike = RewardEnsemble([numbers(1), constant(2.0)], member_quantile, normalize="ref_zscore")
    with pytest.raises(ValueError, match="member 1 of reward_ensemble gives 14 of 14 reference rows a score"):
        alike.fit_reference(PROMPTS, COMPLETIONS)


def test_an_unscored_row_says_why():
    rm = SequenceReward(llama_classifier(), tokenizer(), max_length=5)
    [found] = RewardEnsemble([rm], member_quantile).reasoned(["1+1="], ["so so so"])
    assert found.why.startswith("too long: ")


def gaussian(model, tok, depth=0, **options):
    heads = GaussianHeads(32, 4, depth=depth, hidden=7, generator=torch.Generator().manual_seed(3)).double()
    return GaussianReward(model, heads, tok, **options)


@torch.no_grad()
def heads_by_hand(rm, states):
    """Each head in a loop, in numpy: (K,) means and deviations of one row's features."""
    means, stds = [], []
    for k in range(4):
        h = states
        layers = list(zip(rm.heads.weights, rm.heads.biases, strict=True))
        for number, (weight, bias) in enumerate(layers):
            h = h @ weight[k].numpy() + bias[k, 0].numpy()
            if number < len(layers) - 1:
                h = np.maximum(h, 0)
        means.append(h[0])
        stds.append(np.log1p(np.exp(h[1])) + rm.heads.floor)
    return means, stds


@pytest.mark.parametrize("depth", [0, 1, 2])
@pytest.mark.parametrize("build", [llama_classifier, bert], ids=["decoder", "encoder"])
def test_gaussian_heads_are_the_loop_over_heads(build, depth):
    model, tok = build(), tokenizer()
    rm = gaussian(model, tok, depth)
    found = rm.distributions(PROMPTS, COMPLETIONS)
    decoder = build is llama_classifier
    model.eval()
    for row, prompt, completion in zip(found, PROMPTS, COMPLETIONS, strict=True):
        ids = tok(prompt + completion + "<eos>", return_tensors="pt")["input_ids"]
        with torch.no_grad():
            states = model.base_model(input_ids=ids).last_hidden_state[0, -1 if decoder else 0].numpy()
        mean, std = heads_by_hand(rm, states)
        assert row.mean == pytest.approx(mean, abs=1e-9)
        assert row.std == pytest.approx(std, abs=1e-9)
    assert rm.score(PROMPTS, COMPLETIONS) == pytest.approx([np.mean(row.mean) for row in found], abs=1e-9)


def test_the_surest_head_is_found_on_the_reference_scale(tmp_path):
    model, tok = llama_classifier(), tokenizer()
    rm = gaussian(model, tok, aggregate=partial(robust_mix, coef=0.3, nominal="min_sigma"))
    raw = rm.distributions(PROMPTS, COMPLETIONS)
    mean, std = (np.array([getattr(row, part) for row in raw]) for part in ("mean", "std"))
    rm.fit_reference(PROMPTS, COMPLETIONS)
    mu, s = mean.mean(axis=0), mean.std(axis=0)
    z, sigma = (mean - mu) / s, std / s
    want = 0.3 * z[np.arange(len(z)), sigma.argmin(axis=1)] + 0.7 * z.min(axis=1)
    assert rm.score(PROMPTS, COMPLETIONS) == pytest.approx(list(want), abs=1e-9)
    assert rm.features(PROMPTS, COMPLETIONS).shape == (len(PROMPTS), 32)
    rm.save(tmp_path)
    again = load_reward_model(tmp_path, device="cpu", aggregate=rm.aggregate)
    assert isinstance(again, GaussianReward)
    assert again.score(PROMPTS, COMPLETIONS) == pytest.approx(list(want), abs=1e-4)  # heads are kept in float32


def test_heads_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match=r"n_heads=0, depth=0, floor=0\.1\. Pass"):
        GaussianHeads(4, 0)
