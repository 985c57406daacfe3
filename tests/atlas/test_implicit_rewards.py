"""Page implicit_rewards: its language and transformers against enumeration, a slow loop, and one model at a time."""

import math

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from rewardsmith.atlas.pages.implicit_rewards import Language, World, experiments, pretrain
from rewardsmith.worlds import Streams
from rewardsmith.worlds.batched_gpt import N_HEADS, BatchedGPT

EOS, MARKERS = 1, (2, 3)


def language(seeds=(0, 1), **options):
    streams = Streams(seeds)
    return World(n_words=4, n_concepts=2, temperature=0.5, **options).language(streams), streams


def parsed(ids):
    """(prompt concept, [(form, concept)]) of one text over four concepts."""
    body = ids[2:-1]
    return (ids[1] - 4) % 4, [(marker - 2, (word - 4) % 4) for marker, word in zip(body[::2], body[1::2], strict=True)]


def test_a_text_is_prompt_then_markers_and_words_of_the_announced_form_then_an_end():
    spoken, streams = language()
    for ids in spoken.corpus(200, streams).flatten(0, 1).tolist():
        assert len(ids) == 7
        assert (ids[0], ids[-1]) == (0, EOS)
        for marker, word in zip(ids[2:-1:2], ids[3:-1:2], strict=True):
            assert marker in MARKERS
            assert (word - 4) // 4 == marker - 2


def test_concepts_follow_the_chain():
    spoken, streams = language([5])
    ids = spoken.corpus(20_000, streams)[0]
    first, second = (ids[:, 1] - 4) % 4, (ids[:, 3] - 4) % 4
    for concept in range(4):
        after = second[first == concept]
        share = F.one_hot(after, 4).double().mean(0)
        want = spoken.transitions[0, concept]
        four_errors = 4 * (want * (1 - want) / len(after)).sqrt()
        assert bool(((share - want).abs() <= four_errors).all())


def test_next_token_is_the_chain_times_the_form_by_enumeration():
    spoken, streams = language([3])
    ids = spoken.corpus(30, streams)
    found = spoken.next_token(ids)[0]
    assert_close(found.sum(-1), torch.ones(30, 6, dtype=torch.float64))
    for text, rows in zip(ids[0].tolist(), found, strict=True):
        previous, body = parsed(text)
        assert_close(rows[0, 4:], torch.full((8,), 1 / 8, dtype=torch.float64))
        for k, (form, concept) in enumerate(body):
            assert rows[1 + 2 * k, 2] == rows[1 + 2 * k, 3] == 0.5
            want = torch.zeros(12, dtype=torch.float64)
            for other in range(4):
                want[4 + 4 * form + other] = spoken.transitions[0, previous, other]
            assert_close(rows[2 + 2 * k], want)
            previous = concept
        assert rows[5, EOS] == 1.0


@pytest.mark.parametrize(("forms", "allowed"), [("first", {0}), ("second", {1}), ("mixed", {0, 1})])
def test_pairs_are_ranked_by_gold_in_the_asked_forms_and_share_their_prompt(forms, allowed):
    spoken, streams = language()
    pairs = spoken.pairs(100, streams, forms=forms)
    assert bool((pairs[:, :, 0, :2] == pairs[:, :, 1, :2]).all())
    gold = torch.zeros(2, 100, 2)
    for k in (0, 1):
        seen = set()
        for s in range(2):
            for n, text in enumerate(pairs[s, :, k].tolist()):
                _, body = parsed(text)
                gold[s, n, k] = sum(float(spoken.value[s, concept]) for _, concept in body)
                seen |= {form for form, _ in body}
        assert seen == allowed
    assert bool((gold[..., 0] > gold[..., 1]).all())


def test_pairs_that_gold_cannot_tell_apart_are_an_error():
    spoken, streams = language()
    flat = Language(spoken.transitions, torch.zeros_like(spoken.value), 2)
    with pytest.raises(ValueError, match=r"Language.pairs: fewer than 5 of 26 pairs differ in gold. Raise temperature"):
        flat.pairs(5, streams, forms="first")
    with pytest.raises(ValueError, match=r"Language.pairs: forms is 'third', which is not one of"):
        flat.pairs(5, streams, forms="third")


def slow_forward(models, seed, ids):
    """(T, V) one text through one model, head by head and position by position."""
    width, heads = models.tokens.shape[-1], N_HEADS
    x = models.tokens[seed, ids] + models.positions[seed, : len(ids)]
    for layer in range(len(models.qkv)):
        q, k, v = (F.layer_norm(x, (width,)) @ models.qkv[layer][seed]).chunk(3, dim=-1)
        mixed = torch.zeros_like(x)
        for h in range(heads):
            part = slice(h * width // heads, (h + 1) * width // heads)
            for t in range(len(ids)):
                weights = (q[t, part] @ k[: t + 1, part].T / math.sqrt(width // heads)).softmax(-1)
                mixed[t, part] = weights @ v[: t + 1, part]
        x = x + mixed @ models.merge[layer][seed]
        inner = (F.layer_norm(x, (width,)) @ models.up[layer][seed] + models.bias[layer][seed]).relu()
        x = x + inner @ models.down[layer][seed]
    return F.layer_norm(x, (width,)) @ models.readout[seed]


def test_the_transformers_are_those_of_a_slow_loop():
    streams = Streams([0, 1])
    models = BatchedGPT(9, 6, streams=streams, width=8, embedding_std=1.0)
    with torch.no_grad():
        for parameter in models.bias:
            parameter.add_(streams.randn(*parameter.shape[1:]))
    ids = streams.randint(9, 3, 6)
    found = models(ids)
    for seed in range(2):
        for row in range(3):
            assert_close(found[seed, row], slow_forward(models, seed, ids[seed, row]))


def test_a_position_sees_nothing_behind_it():
    streams = Streams([0])
    models = BatchedGPT(9, 6, streams=streams, width=8)
    ids = streams.randint(9, 2, 6)
    changed = ids.clone()
    changed[..., 4:] = (changed[..., 4:] + 1) % 9
    assert_close(models(ids)[:, :, :4], models(changed)[:, :, :4])


def test_a_seed_s_model_is_the_same_alone_and_training_one_copy_leaves_the_others():
    spoken, streams = language([3, 4])
    both = pretrain(BatchedGPT(12, 7, streams=streams, width=8), spoken, streams, steps=5, batch_size=4)
    lone, alone = language([4])
    one = pretrain(BatchedGPT(12, 7, streams=alone, width=8), lone, alone, steps=5, batch_size=4)
    for mine, theirs in zip(both.parameters(), one.parameters(), strict=True):
        assert_close(mine[1], theirs[0])
    both.zero_grad()
    copies = both.take([0, 0, 1, 1])
    assert len(copies) == 4
    ids = streams.randint(12, 3, 7).repeat_interleave(2, dim=0)
    before = copies(ids)
    assert_close(before[0], before[1])
    before[1].sum().backward()
    assert all(parameter.grad[[0, 2, 3]].abs().max() == 0 for parameter in copies.parameters())
    assert all(parameter.grad is None for parameter in both.parameters())


@pytest.mark.slow
def test_a_seed_s_accuracies_are_the_means_over_its_draws():
    world = {"n_words": 4, "n_concepts": 2, "width": 8, "pretrain_steps": 2, "steps": 2, "n_pairs": 20, "n_tests": 20}
    pooled = experiments([3, 4], World(n_draws=2, **world))
    single = experiments([6, 7, 8, 9], World(n_draws=1, **world))
    for row, draws in zip(pooled, (single[:2], single[2:]), strict=True):
        assert row == pytest.approx({name: (draws[0][name] + draws[1][name]) / 2 for name in row})


@pytest.mark.slow
def test_pretraining_approaches_the_true_probabilities():
    spoken, streams = language([0])
    models = BatchedGPT(12, 7, streams=streams, width=16)

    def distance():
        ids = spoken.corpus(200, streams)
        true = spoken.next_token(ids)
        with torch.no_grad():
            guess = models(ids[..., :-1]).log_softmax(-1)
        return float((torch.xlogy(true, true) - true * guess).sum(-1).mean())

    before = distance()
    pretrain(models, spoken, streams, steps=200, batch_size=32, rate=1e-2)
    assert distance() < 0.05 < before


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match=r"BatchedGPT: width 9 does not divide into 2 heads. Make it a multiple"):
        BatchedGPT(5, 5, streams=Streams([0]), width=9)
    models = BatchedGPT(5, 5, streams=Streams([0]), width=8)
    with pytest.raises(ValueError, match=r"BatchedGPT.hidden: ids must have shape \(1, any, any\), got \(2, 3, 5\)"):
        models(torch.zeros(2, 3, 5, dtype=torch.int64))
