"""Page reward_inconsistency: its language word by word, its models against a plain forward pass, its encoder."""

import random
from collections import Counter

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from rewardsmith.atlas.pages.reward_inconsistency import World, gold, reward, scores, spoken
from rewardsmith.data import Row, mine_contrast_pairs
from rewardsmith.worlds import Streams
from rewardsmith.worlds.batched_mlp import BatchedMLP

LANGUAGE = World()
JUNK = range(80, 90)


def words_of(text):
    return [int(word) for word in text.split()]


def concepts(text):
    return {word // 5 for word in words_of(text) if word < 80}


def test_gold_counts_the_asked_concepts_that_are_covered_in_any_word():
    assert gold("0 7 79", "4 3 85 75") == 2  # concepts 0, 1, 15; 0, 0, junk, 15
    assert gold("0 7 79", "80 81 82 89") == 0


def test_words_are_used_as_declared_and_rare_ones_alike_where_asked():
    generator = random.Random(0)
    for rare, usage in ((False, (0.6, 0.2, 0.1, 0.06, 0.04)), (True, (0.2,) * 5)):
        words = words_of(spoken([3] * 20_000, generator, rare=rare))
        assert {word // 5 for word in words} == {3}
        for word, want in enumerate(usage, start=15):
            assert abs(words.count(word) / 20_000 - want) < 4 * (want * (1 - want) / 20_000) ** 0.5


def test_preferred_answers_cover_all_and_rejected_are_junk_or_misplaced():
    generator, misplaced = random.Random(1), 0
    for pair in [LANGUAGE.preference(generator) for _ in range(4000)]:
        assert len(concepts(pair.prompt)) == 3
        assert concepts(pair.prompt) <= concepts(pair.chosen)
        if set(words_of(pair.rejected)) <= set(JUNK):
            continue
        misplaced += 1
        assert len(concepts(pair.rejected)) >= 3
    assert abs(misplaced / 4000 - 0.25) < 4 * (0.25 * 0.75 / 4000) ** 0.5
    pair, flipped = (LANGUAGE.preference(random.Random(1), flip=flip) for flip in (0.0, 1.0))
    assert (flipped.prompt, flipped.chosen, flipped.rejected) == (pair.prompt, pair.rejected, pair.chosen)


def test_rewording_keeps_concepts_and_junk_junk():
    generator, before = random.Random(0), [0, 12, 79, 84]
    reworded = np.array([words_of(World(reword_rate=0.5).reword("0 12 79 84", generator)) for _ in range(4000)])
    assert (reworded[:, :3] // 5 == [0, 2, 15]).all()
    assert (reworded[:, 3] >= 80).all()
    changed = (reworded != before).mean(0)  # ½·(1 − 1/5), and ½·(1 − 1/10) of junk
    for got, want in zip(changed.tolist(), (0.4, 0.4, 0.4, 0.45), strict=True):
        assert abs(got - want) < 4 * (want * (1 - want) / 4000) ** 0.5
    assert World(reword_rate=0.0).reword("0 12 79 84", generator) == "0 12 79 84"
    always = np.array([words_of(World(reword_rate=1.0).reword("0 12 79 84", generator)) for _ in range(2000)])
    assert Counter(always[:, 0].tolist()).keys() == {0, 1, 2, 3, 4}
    assert set(always[:, 3].tolist()) == set(JUNK)


def test_the_encoder_averages_meanings():
    exact = World(jitter=0.0).encoder(np.random.default_rng(0))
    (both,) = exact(["0 1\n5"])
    assert both[:3] == pytest.approx([2 / 3, 1 / 3, 0.0])
    a, b, c = exact(["0 5 10", "1 6 10", "0 5 15"])
    assert a == pytest.approx(b)
    assert a @ c / (np.linalg.norm(a) * np.linalg.norm(c)) == pytest.approx(2 / 3)


def test_mined_pairs_share_two_of_three_concepts():
    generator = random.Random(0)
    needs = [generator.sample(range(16), 3) for _ in range(150)]
    rows = [Row(spoken(asked, generator), LANGUAGE.good(asked, generator, rare=True)) for asked in needs]
    encoder = World(jitter=0.02).encoder(np.random.default_rng(0))
    pairs = mine_contrast_pairs(rows, encoder, low=0.55, high=0.8)
    assert len(pairs) > 300
    for pair in pairs:
        assert len(concepts(pair.first_prompt) & concepts(pair.second_prompt)) == 2


def test_candidates_are_of_every_quality():
    generator, asked = random.Random(0), [3, 7, 11]
    assert {gold("15 35 55", LANGUAGE.candidate(asked, generator)) for _ in range(4000)} == {0, 1, 2, 3}


def test_models_side_by_side_score_as_each_does_alone_and_as_a_reward():
    streams = Streams([0])
    embedding, top = streams.randn(3, 90, 4)[0], BatchedMLP((16, 5, 1), lead=(1, 3), streams=streams)
    prompt, answer = streams.randint(90, 3, 7, 3)[0], streams.randint(90, 3, 7, 4)[0]
    said = [[[" ".join(map(str, row)) for row in words[m].tolist()] for m in range(3)] for words in (prompt, answer)]
    together = scores([list(zip(*of, strict=True)) for of in zip(*said, strict=True)], embedding, top)
    first, last = top.weights
    for m in range(3):
        i, r = (embedding[m][words[m]].mean(1) for words in (prompt, answer))
        hidden = (torch.cat([i, r, i * r, (i - r).abs()], 1) @ first[0, m] + top.biases[0][0, m]).relu()
        assert_close(together[m], (hidden @ last[0, m] + top.biases[1][0, m])[:, 0])
        alone = reward(said[0][m], said[1][m], embedding=embedding[[m]], top=top.take([m]))
        assert alone == pytest.approx(together[m].tolist())
