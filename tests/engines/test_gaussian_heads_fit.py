"""Gaussian heads fit on pairs: against a slow loop, on a taste that features know, and refusals."""

import copy
import math
import random

import numpy as np
import pytest
import torch
from scipy.stats import norm
from transformers import AutoModelForSequenceClassification

from rewardsmith.data import PreferenceRow
from rewardsmith.engines.trl import HeadsFit, fit_gaussian_heads
from rewardsmith.rewards import GaussianHeads, GaussianReward, SequenceReward, load_reward_model

pytestmark = pytest.mark.slow


@pytest.fixture
def reward(world):
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(world.folder, num_labels=1).eval()
    heads = GaussianHeads(model.config.hidden_size, 3, depth=1, hidden=8, generator=torch.Generator().manual_seed(1))
    return GaussianReward(model, heads, world.tokenizer)


def rows(n=60, seed=0):
    """The shorter number is the better answer."""
    rng = random.Random(seed)
    made = []
    for _ in range(n):
        short, long = str(rng.randint(0, 9)), str(rng.randint(1000, 9999))
        made.append(PreferenceRow(f"{rng.randint(0, 9)}+{rng.randint(0, 9)}=", short, long))
    return made


def loss_by_hand(kind, head, chosen, rejected, targets, noise):
    """One pair and one head, from the equations, on features (d,)."""
    (a, sa), (b, sb) = ((m.item(), s.item()) for m, s in (head(chosen), head(rejected)))
    if kind == "thurstone":
        return -norm.logcdf((a - b) / math.hypot(sa, sb))
    if kind == "mse_prob":
        return (1 - 1 / (1 + math.exp(-(a - b) - math.hypot(sa, sb) * noise))) ** 2
    each = [0.5 * (math.log(s * s) + (t - m) ** 2 / (s * s)) for m, s, t in ((a, sa, targets[0]), (b, sb, targets[1]))]
    return sum(each) / 2


@pytest.mark.parametrize("kind", ["thurstone", "mse_prob", "gaussian_nll"])
def test_the_first_update_goes_down_the_gradient_of_the_slow_loop(reward, kind):
    data = rows(10)
    fit = HeadsFit(likelihood=kind, subset=0.5, steps=1, batch_size=6, learning_rate=1e-3, seed=4)
    reward.heads.double()
    before = copy.deepcopy(reward.heads)
    prompts, answers = [r.prompt for r in data] * 2, [r.chosen for r in data] + [r.rejected for r in data]
    features = reward.features(prompts, answers).unflatten(0, (2, -1))
    own = np.array(SequenceReward(reward.model, reward.tokenizer).score(prompts, answers))
    targets = ((own - own.mean()) / own.std(ddof=1)).reshape(2, -1)
    fit_gaussian_heads(reward, data, fit)

    draws = torch.Generator().manual_seed(4)  # as documented by seed: subsets, then a batch, then noise
    ranks = torch.rand(3, 10, generator=draws).argsort(dim=1).argsort(dim=1)
    picks = torch.randint(10, (6,), generator=draws).tolist()
    noise = torch.randn(6, 3, generator=draws)

    def total(heads):
        loss = 0.0
        for k in range(3):

            def head(x, k=k):
                scores = heads(x[None])
                return scores.mean[0, k], scores.std[0, k]

            mine = [(j, i) for j, i in enumerate(picks) if ranks[k, i] < 5]
            each = [
                loss_by_hand(kind, head, features[0, i], features[1, i], targets[:, i], float(noise[j, k]))
                for j, i in mine
            ]
            loss += sum(each) / max(len(each), 1)
        return loss

    def moved(weight, index, by):
        with torch.no_grad():
            weight[index] += by
        found = total(before)
        with torch.no_grad():
            weight[index] -= by
        return found

    decay = 1 - 1e-3 * 0.01  # AdamW's own, and its first step is the sign of the gradient
    for name in ("weights", "biases"):
        for old, new in zip(getattr(before, name), getattr(reward.heads, name), strict=True):
            step = (new - decay * old).detach() / -1e-3
            for index in [tuple(int(torch.randint(n, (1,))) for n in old.shape) for _ in range(4)]:
                slope = (moved(old, index, 1e-5) - moved(old, index, -1e-5)) / 2e-5
                if abs(slope) > 1e-4:
                    assert float(step[index]) == pytest.approx(np.sign(slope), abs=1e-2)


@pytest.mark.parametrize("kind", ["thurstone", "mse_prob"])
def test_heads_learn_what_features_know_and_the_trunk_stays(reward, kind, tmp_path):
    trunk = copy.deepcopy(reward.model.state_dict())
    fitted = fit_gaussian_heads(reward, rows(), HeadsFit(likelihood=kind, steps=200, learning_rate=1e-2))
    assert all(torch.equal(value, trunk[name]) for name, value in reward.model.state_dict().items())
    assert fitted.n_pairs == 60
    assert min(fitted.accuracy) > 0.95
    fresh = rows(40, seed=1)
    prompts, answers = [r.prompt for r in fresh], [r.chosen for r in fresh]
    chosen, rejected = (reward.source_rewards(prompts, texts) for texts in (answers, [r.rejected for r in fresh]))
    assert np.mean(np.array(chosen) > np.array(rejected)) > 0.95
    reward.save(tmp_path)
    again = load_reward_model(tmp_path)
    assert again.score(prompts, answers) == pytest.approx(reward.score(prompts, answers))


def test_the_summary_is_of_scores_on_the_reference_scale(reward):
    data = rows()
    fitted = fit_gaussian_heads(reward, data, HeadsFit(steps=20))
    prompts, answers = [r.prompt for r in data] * 2, [r.chosen for r in data] + [r.rejected for r in data]
    found = reward.distributions(prompts, answers)
    means, stds = np.array([row.mean for row in found]), np.array([row.std for row in found])
    assert means.mean(axis=0) == pytest.approx([0.0] * 3, abs=1e-4)
    assert (means[:60] > means[60:]).mean(axis=0) == pytest.approx(fitted.accuracy)
    assert np.corrcoef(means.T)[np.triu_indices(3, 1)].mean() == pytest.approx(fitted.correlation, abs=1e-4)
    assert stds.mean() == pytest.approx(fitted.std, rel=0.02)  # of n or n - 1


def test_heads_of_the_model_s_own_score_follow_it(reward):
    data = rows(80)
    fit_gaussian_heads(reward, data, HeadsFit(likelihood="gaussian_nll", subset=1.0, steps=400, learning_rate=1e-2))
    prompts, answers = [r.prompt for r in data], [r.chosen for r in data]
    own = SequenceReward(reward.model, reward.tokenizer).score(prompts, answers)
    assert np.corrcoef(own, reward.score(prompts, answers))[0, 1] > 0.9


def test_ties_and_pairs_that_are_too_long_are_left_out(reward):
    reward.max_length = 20
    data = [*rows(10), PreferenceRow("1+1=", "2", "9" * 40), PreferenceRow("1+1=", "2", "3", is_tie=True)]
    assert fit_gaussian_heads(reward, data, HeadsFit(steps=2)).n_pairs == 10


def test_what_cannot_be_fit_is_refused(reward, world):
    reward.max_length = 2
    with pytest.raises(ValueError, match=r"fit_gaussian_heads: none of 3 rows can be read. Pass pairs"):
        fit_gaussian_heads(reward, rows(3))
    several = AutoModelForSequenceClassification.from_pretrained(world.folder, num_labels=2)
    heads = GaussianHeads(several.config.hidden_size, 2)
    with pytest.raises(ValueError, match=r"fit_gaussian_heads: gaussian_nll needs a model with one score. Train"):
        fit_gaussian_heads(GaussianReward(several, heads, world.tokenizer), rows(3), HeadsFit("gaussian_nll"))
    with pytest.raises(ValueError, match=r"HeadsFit: likelihood is 'bt', which is not one of"):
        HeadsFit("bt")
    with pytest.raises(ValueError, match=r"HeadsFit: subset"):
        HeadsFit(subset=1.5)
