"""Curves along the training, and the law and fall that are read from them."""

from itertools import groupby

import pytest
import torch
from torch.testing import assert_close

from rewardsmith.atlas.pages.daa_overoptimization import ARMS, CHECKPOINTS, World, summarized, trace
from rewardsmith.worlds import Streams
from rewardsmith.worlds.prefix_tree import PrefixTree


def test_a_fall_and_a_law_are_read_from_curves_that_have_them():
    d = torch.tensor([0.0, 0.3, 0.7, 1.2, 1.9, 2.5, 3.2], dtype=torch.float64).repeat(6, 1)  # 2 seeds of 3 languages
    gold = 0.5 + d * (0.8 - 0.3 * d.clamp_min(1e-9).log())
    flat = {"dpo": torch.zeros_like(d)}
    row = summarized({"gold": {"dpo": gold}, "kl": {"dpo": d.square()}, "accuracy": flat, "chosen": flat}, 2, 3)[1]
    assert row["b/dpo"] == pytest.approx(0.3)
    assert row["fall/dpo"] == pytest.approx(float(gold[0, CHECKPOINTS.index(10)] - gold[0, -1]))
    assert row["kl_end/dpo"] == pytest.approx(3.2**2)


@pytest.mark.slow
def test_all_arms_start_as_the_reference_and_each_follows_its_own_loss():
    assert len(list(groupby(kind for kind, *_ in ARMS.values()))) == 3  # one block of arms a loss
    tree, streams = PrefixTree(n_prompts=2, n_tokens=3, length=2), Streams([1])
    policy, gold, pairs = tree.policy(streams, width=4), streams.randn(1, 2, 9), streams.randint(9, 1, 2, 6)
    sign = torch.ones(1, len(ARMS), 2, 3, dtype=torch.float64)
    found = trace(tree, policy, gold, pairs, sign, World())
    starts = torch.stack([values[:, 0] for values in found["gold"].values()])
    assert_close(starts, starts[:1].expand_as(starts))
    for kl in found["kl"].values():
        assert kl.shape == (1, len(CHECKPOINTS))
        assert_close(kl[:, 0], torch.zeros(1, dtype=torch.float64), atol=1e-12, rtol=0)
    end = {arm: float(kl[0, -1]) for arm, kl in found["kl"].items()}
    assert end["dpo"] > end["dpo_beta_50"] > end["dpo_beta_200"]
    assert end["ipo"] > end["ipo_beta_10"]
    assert len({round(end[arm], 6) for arm in ("dpo", "ipo", "slic")}) == 3
    assert end["dpo"] == pytest.approx(end["random_labels"])  # here both have the same labels
