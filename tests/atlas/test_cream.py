"""Labels by consistency, their correlation with accuracy, and training that stops where an arm's steps end."""

import math

import numpy as np
import torch
from torch.testing import assert_close

from rewardsmith.atlas.pages import cream
from rewardsmith.atlas.pages.cream import ARMS, World, correlation, fitted, labels
from rewardsmith.objectives import soft_label_dpo_loss
from rewardsmith.worlds import Streams
from rewardsmith.worlds.prefix_tree import PrefixTree

ARM = {name: place for place, name in enumerate(ARMS)}


def of_all_arms(values):
    return torch.tensor(values, dtype=torch.float64).view(1, 1, -1).expand(-1, len(ARMS), -1)


def test_labels_are_consistency_from_one_half_up_and_prompts_without_one_are_skipped():
    target, weight = labels(of_all_arms([0.2, 0.6, 1.0, math.nan]), torch.tensor([[2, 0, 1, 3]]), False)
    assert target[0, ARM["cream"], :3].tolist() == [0.5, 0.6, 1.0]
    assert target[0, ARM["shuffled"], :3].tolist() == [1.0, 0.5, 0.6]
    assert_close(target[0, ARM["reversed"]], 1 - target[0, ARM["cream"]])
    assert target[0, ARM["srlm"], :3].tolist() == [1.0] * 3
    assert weight[0, ARM["cream"]].tolist() == [1.0, 1.0, 1.0, 0.0]
    assert weight[0, ARM["keep_consistent"]].tolist() == [0.0, 0.0, 1.0, 0.0]


def test_the_ablation_gives_the_labels_of_the_reversed_arm():
    target, _ = labels(of_all_arms([0.2, 0.6, 1.0]), torch.tensor([[2, 0, 1]]), True)
    assert_close(target[:, ARM["cream"]], target[:, ARM["reversed"]])


def test_the_loss_of_a_soft_label_is_least_at_a_finite_margin():
    """h* = log(C / (1 − C)), and ½ pulls to no direction."""
    for c in (0.5, 0.7, 0.95):
        margin = torch.tensor(math.log(c / (1 - c)), dtype=torch.float64, requires_grad=True)
        soft_label_dpo_loss(margin, c).backward()
        assert abs(float(margin.grad)) < 1e-12


def test_the_correlation_skips_prompts_of_which_one_value_is_missing():
    first, second = np.random.default_rng(0).normal(size=(2, 9))
    first[3], second[5] = np.nan, np.nan
    known = np.isfinite(first) & np.isfinite(second)
    found = correlation(torch.from_numpy(first)[None], torch.from_numpy(second)[None])
    assert_close(found.item(), float(np.corrcoef(first[known], second[known])[0, 1]))


def test_an_arm_of_fewer_steps_is_trained_as_if_it_were_alone(monkeypatch):
    monkeypatch.setattr(cream, "ARMS", {"long": (1.0, 1.0, 1.0), "short": (1.0, 0.25, 1.0)})
    tree, streams = PrefixTree(n_prompts=2, n_tokens=3, length=2), Streams([1])
    policy, pairs = tree.policy(streams, width=4).take([0, 0]), streams.randint(9, 1, 2, 2)
    ref, even = torch.zeros(1, 2, 2, 2, dtype=torch.float64), torch.ones(1, 2, 2, dtype=torch.float64)
    both = fitted(policy, tree.reader(pairs), ref, even, even, World(steps=4))
    monkeypatch.setattr(cream, "ARMS", {"long": (1.0, 1.0, 1.0), "short": (1.0, 1.0, 1.0)})
    one_step = fitted(policy, tree.reader(pairs), ref, even, even, World(steps=1))
    for trained, alone, start in zip(both.parameters(), one_step.parameters(), policy.parameters(), strict=True):
        assert_close(trained[:, 1], alone[:, 1])
        assert not torch.equal(trained[:, 0], trained[:, 1]) or torch.equal(trained, start)
