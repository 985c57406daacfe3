"""The answers of page causal_rubrics by its equations, and the bank's exact edits under the shipped augmentations."""

import pytest
import torch
from torch.testing import assert_close

from rewardsmith.atlas.pages.causal_rubrics import AnswerBank, World
from rewardsmith.data import causal_augment, neutral_augment
from rewardsmith.worlds import Streams

WORLD = World()


def world(seeds=(0, 1)):
    streams = Streams(seeds)
    return WORLD.looks(streams), streams


def test_features_are_query_answer_and_products_of_a_rotation():
    looks, streams = world()
    identity = torch.eye(10, dtype=torch.float64)
    assert_close(looks.rotation @ looks.rotation.transpose(1, 2), identity.expand(2, -1, -1))
    query, content, style = streams.randint(6, 3), streams.randn(3, 6), streams.randn(3, 4)
    features = looks.features(query, content, style)
    assert features.shape[-1] == WORLD.n_inputs == 6 + 10 + 60
    for s in range(2):
        for k in range(3):
            seen = torch.cat([content[s, k], style[s, k]]) @ looks.rotation[s]
            asked = identity[:6, :6][query[s, k]]
            assert_close(features[s, k], torch.cat([asked, seen, torch.outer(asked, seen).flatten()]))
            assert seen.norm() == pytest.approx(float(torch.cat([content[s, k], style[s, k]]).norm()))


@pytest.mark.parametrize("rho", [1.0, 0.0, -1.0])
def test_the_better_answer_comes_first_and_style_leans_by_rho(rho):
    looks, streams = world([2])
    pairs = WORLD.pairs(20_000, looks, streams, rho=rho)
    for k, topic in enumerate(pairs.query[0, :50].tolist()):
        assert pairs.content[0, k, 0, topic] > pairs.content[0, k, 1, topic]
        assert pairs.gold[0, k].tolist() == pairs.content[0, k, :, topic].tolist()
    lean = (pairs.style[0, :, 0] - pairs.style[0, :, 1]) @ looks.cue[0]
    # E = rho·1.2·(½ + ½), Var = 2 + 2·1.44·rho²/12
    assert abs(lean.mean() - rho * 1.2) < 4 * (2 + 0.24 * rho**2) ** 0.5 / 20_000**0.5
    assert abs(lean.var() - (2 + 0.24 * rho**2)) < 0.12  # 4·σ²·√(2/n) = 0.09


def test_edits_move_the_asked_skill_alone_and_style_alike_in_both_directions():
    looks, streams = world([0])
    pairs = WORLD.pairs(2000, looks, streams)
    (bank,) = AnswerBank.of(pairs, streams, drift=0.3)
    rows = bank.rows
    done = causal_augment(rows, lambda prompt: ["skill"], bank.edited)
    assert len(done.rows) == 4000
    found = bank.looked_up(done.rows)
    gap = found.gold[0, :, 0] - found.gold[0, :, 1]
    assert bool(((gap >= 1.0) & (gap <= 2.0)).all())
    moved = (found.content[0, :, 0] - found.content[0, :, 1]).abs() > 1e-9
    assert_close(moved.sum(-1), torch.ones(4000, dtype=torch.int64))
    drift = found.style[0, :, 0] - found.style[0, :, 1]
    for kind in (0, 1):  # degraded, upgraded
        part = drift[kind::2]
        assert bool((part.mean(0).abs() < 4 * 0.3 / 2000**0.5).all())
        assert bool(((part.std(0) - 0.3).abs() < 4 * 0.3 / 4000**0.5).all())
    original = bank.looked_up(rows)
    assert_close(original.content, pairs.content)
    assert_close(original.style, pairs.style)


def test_neutral_rows_are_equally_irrelevant_and_keep_their_style():
    looks, streams = world([0])
    pairs = WORLD.pairs(100, looks, streams)
    (bank,) = AnswerBank.of(pairs, streams, drift=0.3)
    ties = neutral_augment(bank.rows, lambda prompt: str((int(prompt) + 1) % 6))
    found = bank.looked_up(ties)
    assert bool((found.gold == -2.0).all())
    assert_close(found.style, pairs.style)
    asked = torch.nn.functional.one_hot(found.query, 6).bool()[:, :, None].expand_as(found.content)
    assert_close(found.content[~asked], pairs.content[~asked])


def test_a_seed_draws_the_same_alone():
    looks, streams = world([0, 7])
    lone, alone = world([7])
    assert_close(WORLD.pairs(5, looks, streams).style[1], WORLD.pairs(5, lone, alone).style[0])
