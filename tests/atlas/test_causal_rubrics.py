"""The answers of page causal_rubrics by its equations, and the bank's exact edits under the shipped augmentations."""

import pytest
import torch
from torch.testing import assert_close

from rewardsmith.atlas.pages.causal_rubrics import World, features
from rewardsmith.data import causal_augment, neutral_augment
from rewardsmith.worlds import Streams
from rewardsmith.worlds.asked_qualities import asked_for, random_rotation

WORLD = World()


def world(seeds=(0, 1)):
    streams = Streams(seeds)
    rotation = random_rotation(10, streams)
    return rotation, torch.nn.functional.normalize(streams.randn(4), dim=-1), streams


def gold(pairs):
    query, content, _ = pairs
    return asked_for(content, query)


def test_features_are_query_answer_and_products_of_a_rotation():
    rotation, _, streams = world()
    identity = torch.eye(10, dtype=torch.float64)
    assert_close(rotation @ rotation.transpose(1, 2), identity.expand(2, -1, -1))
    query, content, style = streams.randint(6, 3), streams.randn(3, 6), streams.randn(3, 4)
    found = features(query, content[:, :, None], style[:, :, None], rotation)[:, :, 0]
    assert found.shape[-1] == 6 + 10 + 60
    for s in range(2):
        for k in range(3):
            seen = torch.cat([content[s, k], style[s, k]]) @ rotation[s]
            asked = identity[:6, :6][query[s, k]]
            assert_close(found[s, k], torch.cat([asked, seen, torch.outer(asked, seen).flatten()]))
            assert seen.norm() == pytest.approx(float(torch.cat([content[s, k], style[s, k]]).norm()))


@pytest.mark.parametrize("rho", [1.0, 0.0, -1.0])
def test_the_better_answer_comes_first_and_style_leans_by_rho(rho):
    _, cue, streams = world([2])
    pairs = WORLD.pairs(20_000, cue, streams, rho=rho)
    query, content, style = pairs
    for k, topic in enumerate(query[0, :50].tolist()):
        assert content[0, k, 0, topic] > content[0, k, 1, topic]
        assert gold(pairs)[0, k].tolist() == content[0, k, :, topic].tolist()
    lean = (style[0, :, 0] - style[0, :, 1]) @ cue[0]
    # E = rho·1.2·(½ + ½), Var = 2 + 2·1.44·rho²/12
    assert abs(lean.mean() - rho * 1.2) < 4 * (2 + 0.24 * rho**2) ** 0.5 / 20_000**0.5
    assert abs(lean.var() - (2 + 0.24 * rho**2)) < 0.12  # 4·σ²·√(2/n) = 0.09


def test_edits_move_the_asked_skill_alone_and_style_alike_in_both_directions():
    _, cue, streams = world([0])
    pairs = WORLD.pairs(2000, cue, streams)
    bank = WORLD.bank(pairs, streams)
    rows = bank.rows(0)
    done = causal_augment(rows, lambda prompt: ["skill"], bank.edited)
    assert len(done.rows) == 4000
    found = bank.looked_up([done.rows])
    gap = gold(found)[0, :, 0] - gold(found)[0, :, 1]
    assert bool(((gap >= 1.0) & (gap <= 2.0)).all())
    _, content, style = found
    moved = (content[0, :, 0] - content[0, :, 1]).abs() > 1e-9
    assert_close(moved.sum(-1), torch.ones(4000, dtype=torch.int64))
    drift = style[0, :, 0] - style[0, :, 1]
    for kind in (0, 1):  # degraded, upgraded
        part = drift[kind::2]
        assert bool((part.mean(0).abs() < 4 * 0.3 / 2000**0.5).all())
        assert bool(((part.std(0) - 0.3).abs() < 4 * 0.3 / 4000**0.5).all())
    original = bank.looked_up([rows])
    assert_close(original[1:], pairs[1:])


def test_neutral_rows_are_equally_irrelevant_and_keep_their_style():
    _, cue, streams = world([0])
    pairs = WORLD.pairs(100, cue, streams)
    bank = WORLD.bank(pairs, streams)
    ties = neutral_augment(bank.rows(0), lambda prompt: str((int(prompt) + 1) % 6))
    found = bank.looked_up([ties])
    assert bool((gold(found) == -2.0).all())
    query, content, style = found
    assert_close(style, pairs[2])
    asked = torch.nn.functional.one_hot(query, 6).bool()[:, :, None].expand_as(content)
    assert_close(content[~asked], pairs[1][~asked])


def test_a_seed_draws_the_same_alone():
    _, cue, streams = world([0, 7])
    _, lone, alone = world([7])
    assert_close(WORLD.pairs(5, cue, streams)[2][1], WORLD.pairs(5, lone, alone)[2][0])
