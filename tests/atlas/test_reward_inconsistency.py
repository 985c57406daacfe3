"""Page reward_inconsistency: its language word by word, its models against a plain forward pass, its encoder."""

import random
from collections import Counter

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from rewardsmith.atlas.pages.reward_inconsistency import WordModels, World, word_reward, words_of
from rewardsmith.data import mine_contrast_pairs
from rewardsmith.worlds import Streams

LANGUAGE = World()
JUNK = range(80, 90)


def concepts(words):
    return {word // 5 for word in words if word < 80}


def test_gold_counts_the_asked_concepts_that_are_covered_in_any_word():
    prompt, answer = torch.tensor([0, 7, 79]), torch.tensor([4, 3, 85, 75])  # concepts 0, 1, 15; 0, 0, junk, 15
    assert int(LANGUAGE.gold(prompt, answer)) == 2
    assert int(LANGUAGE.gold(prompt, torch.tensor([80, 81, 82, 89]))) == 0


def test_words_are_used_as_declared_and_rare_ones_alike_where_asked():
    streams = Streams([0])
    for rare, usage in ((False, (0.6, 0.2, 0.1, 0.06, 0.04)), (True, (0.2,) * 5)):
        words = LANGUAGE.spoken(torch.full((1, 20_000), 3), streams, rare=rare)[0]
        assert bool((words // 5 == 3).all())
        share = torch.bincount(words - 15, minlength=5).double() / 20_000
        for got, want in zip(share.tolist(), usage, strict=True):
            assert abs(got - want) < 4 * (want * (1 - want) / 20_000) ** 0.5


@pytest.mark.slow
def test_preferred_answers_cover_all_and_rejected_are_junk_or_misplaced():
    pairs = LANGUAGE.pairs(4000, Streams([1]))
    misplaced = 0
    for row in pairs:
        prompt, chosen, rejected = (words_of([text])[0].tolist() for text in (row.prompt, row.chosen, row.rejected))
        assert len(concepts(prompt)) == 3
        assert concepts(prompt) <= concepts(chosen)
        if set(rejected) <= set(JUNK):
            continue
        misplaced += 1
        assert len(concepts(rejected)) >= 3
    assert abs(misplaced / 4000 - 0.25) < 4 * (0.25 * 0.75 / 4000) ** 0.5
    flipped = LANGUAGE.pairs(4000, Streams([1]), flip=1.0)
    assert [row.chosen for row in flipped] == [row.rejected for row in pairs]
    assert [row.rejected for row in flipped] == [row.chosen for row in pairs]


def test_rewording_keeps_concepts_and_junk_junk():
    generator = random.Random(0)
    half = words_of([World(reword_rate=0.5).reword("0 12 79 84", generator) for _ in range(4000)])
    assert (half[:, :3] // 5 == torch.tensor([0, 2, 15])).all()
    assert bool((half[:, 3] >= 80).all())
    changed = (half != torch.tensor([0, 12, 79, 84])).double().mean(0)  # ½·(1 − 1/5), and ½·(1 − 1/10) of junk
    for got, want in zip(changed.tolist(), (0.4, 0.4, 0.4, 0.45), strict=True):
        assert abs(got - want) < 4 * (want * (1 - want) / 4000) ** 0.5
    assert World(reword_rate=0.0).reword("0 12 79 84", generator) == "0 12 79 84"
    texts = [World(reword_rate=1.0).reword("0 12 79 84", generator) for _ in range(2000)]
    alone = words_of(texts).numpy()
    assert (alone[:, :3] // 5 == [0, 2, 15]).all()
    assert Counter(alone[:, 0].tolist()).keys() == {0, 1, 2, 3, 4}
    assert set(alone[:, 3].tolist()) == set(JUNK)


def test_the_encoder_averages_meanings():
    exact = World(jitter=0.0).encoder(np.random.default_rng(0))
    (both,) = exact(["0 1\n5"])
    assert both[:3] == pytest.approx([2 / 3, 1 / 3, 0.0])
    a, b, c = exact(["0 5 10", "1 6 10", "0 5 15"])
    assert a == pytest.approx(b)
    assert a @ c / (np.linalg.norm(a) * np.linalg.norm(c)) == pytest.approx(2 / 3)


def test_mined_pairs_share_two_of_three_concepts():
    rows = LANGUAGE.pairs(150, Streams([0]), rare=True)
    encoder = World(jitter=0.02).encoder(np.random.default_rng(0))
    pairs = mine_contrast_pairs(rows, encoder, low=0.55, high=0.8)
    assert len(pairs) > 300
    for pair in pairs:
        first, second = (concepts(map(int, text.split())) for text in (pair.first_prompt, pair.second_prompt))
        assert len(first & second) == 2


def test_candidates_are_of_every_quality():
    prompt, answers = World(n_prompts=20, n_answers=200).candidates(Streams([0]))
    gold = LANGUAGE.gold(prompt, answers)
    assert set(gold.unique().tolist()) == {0, 1, 2, 3}


def test_models_side_by_side_score_as_each_does_alone_and_as_a_reward():
    streams = Streams([0, 1])
    models = WordModels(World(), streams).take([0, 0, 0])
    with torch.no_grad():  # the models of a seed differ
        for parameter in models.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    prompt, answer = streams.randint(90, 3, 7, 3), streams.randint(90, 3, 7, 4)
    scores = models(torch.cat([prompt, answer], dim=-1))
    first, last = models.weights
    for s in range(2):
        for m in range(3):
            i, r = (models.embedding[s, m][words[s, m]].mean(1) for words in (prompt, answer))
            hidden = (torch.cat([i, r, i * r, (i - r).abs()], 1) @ first[s, m] + models.biases[0][s, m]).relu()
            assert_close(scores[s, m], (hidden @ last[s, m] + models.biases[1][s, m])[:, 0])
            texts = [[" ".join(map(str, row)) for row in words[s, m].tolist()] for words in (prompt, answer)]
            one = models.take([m])
            for parameter in one.parameters():
                parameter.data = parameter.data[[s]]
            reward = word_reward(prompts=texts[0], completions=texts[1], model=one)
            assert reward == pytest.approx(scores[s, m].tolist())
    copies = WordModels(World(), Streams([0, 1])).take([0, 0])
    assert_close(copies.embedding[:, 0], copies.embedding[:, 1])
