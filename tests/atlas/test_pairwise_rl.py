"""Judges of pairs and scalars: what they are shown and learn, and that their reward is the library's."""

import pytest
import torch
from torch.testing import assert_close

from rewardsmith.atlas.pages.pairwise_rl import World, experiments, ridge, shown, trained_judges, verdicts
from rewardsmith.rewards import AnchorStore, anchored_reward
from rewardsmith.worlds import Streams
from rewardsmith.worlds.prefix_tree import PrefixTree, of

pytestmark = pytest.mark.slow

TREE = PrefixTree(n_prompts=2, n_tokens=3, length=2)
SMALL = World(n_prompts=2, length=2, n_pairs=30, n_test=20, width=8, judge_steps=5, batch=20, rl_steps=3)


def test_a_judge_is_shown_the_prompt_and_both_answers():
    a, b = torch.tensor([[[[5], [0]]]]), torch.tensor([[[[1], [8]]]])  # 5 is (1, 2), 1 is (0, 1), 8 is (2, 2)
    assert shown(TREE, a, b)[0, 0].tolist() == [
        [1, 0, 0, 1, 0, 0, 0, 1, 1, 0, 0, 0, 1, 0],
        [0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 1],
    ]
    assert shown(TREE, a).shape == (1, 1, 2, 2 + 6)


def learned(winner_first):
    """Judges of one prompt's noiseless pairs, ranked by the first token."""
    streams = Streams([1])
    a, b = (streams.randint(9, 1, 2, 300) for _ in "ab")
    label = (a > b).double()
    world = World(width=16, judge_steps=150, batch=100, winner_first=winner_first)
    judges, scalar = trained_judges(TREE, streams, a, b, label, world)
    return a, b, label, judges, scalar


def test_judges_and_scalars_learn_their_labels_and_one_order_learns_the_position():
    a, b, label, judges, scalar = learned(winner_first=1.0)
    both, _, single = verdicts(TREE, judges, a, b)
    known = a != b
    assert (((both > 0) == (label > 0.5))[known]).double().mean() > 0.95
    assert (single > 0).double().mean() > 0.9  # who is first wins
    scores = [scalar(shown(TREE, one)).view(a.shape) for one in (a, b)]
    assert (((scores[0] > scores[1]) == (label > 0.5))[known]).double().mean() > 0.95


def test_the_verdict_is_the_reward_of_the_library_against_the_same_anchor():
    a, b, _, judges, _ = learned(winner_first=0.5)
    both, _, _ = verdicts(TREE, judges, a, b)

    def judge(prompts, firsts, seconds):
        pairs = [torch.tensor(one).view(1, 1, 2, -1) for one in (firsts, seconds)]
        return judges(shown(TREE, *pairs))[:, 0].sigmoid().flatten().tolist()

    prompts, answers = [f"{x} {k}" for x in range(2) for k in range(300)], [one.flatten().tolist() for one in (a, b)]
    found = anchored_reward(prompts, answers[0], judge=judge, anchors=AnchorStore(prompts, answers[1]))
    assert_close(torch.tensor(found, dtype=torch.float64), both.sigmoid().flatten(), rtol=1e-5, atol=1e-6)


def test_a_ridge_finds_scores_that_add_up_over_bigrams():
    streams = Streams([2])
    truth = streams.randn(1, 2, int(TREE.bigrams.max()) + 1)[..., TREE.bigrams].sum(-1)
    a, b = (streams.randint(9, 1, 2, 400) for _ in "ab")
    label = (of(truth, a) > of(truth, b)).double()
    scores = ridge(TREE, a, b, label, 1e-4)
    agrees = ((of(scores, a) > of(scores, b)) == (label > 0.5))[a != b]
    assert agrees.double().mean() > 0.97


@pytest.mark.parametrize("offset", [0.0, 50.0])
def test_offsets_reach_neither_comparisons_nor_the_prompts_mean(offset):
    """By algebra: an anchor's offset is the response's own, and a prompt's mean holds it whole."""
    world = World(**{field: getattr(SMALL, field) for field in SMALL.__slots__} | {"offset": offset})
    (found,), (without,) = experiments([3], world), experiments([3], SMALL)
    for arm in ("pairwise", "bt_anchored", "bt_prompt_mean", "bt_no_offset"):
        assert found[f"gold/{arm}"] == pytest.approx(without[f"gold/{arm}"], abs=1e-3)
    assert found["offset_share/pairwise"] == pytest.approx(without["offset_share/pairwise"], abs=1e-6)


def test_a_seed_alone_gives_the_numbers_that_it_gives_beside_another():
    alone, beside = experiments([7], SMALL), experiments([6, 7], SMALL)
    assert alone[0] == pytest.approx(beside[1], rel=1e-3, abs=1e-4)
