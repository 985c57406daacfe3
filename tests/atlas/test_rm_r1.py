"""Prompts without an overlap, corrupted traces, what is paid, and training that leaves its start as it was."""

import pytest
import torch
from torch.testing import assert_close

from rewardsmith.atlas.pages import rm_r1
from rewardsmith.atlas.pages.rm_r1 import GROUP, World, corrupted, prices, reinforced, sampled, split, trace_logps
from rewardsmith.worlds import Streams
from rewardsmith.worlds.batched_gpt import BatchedGPT

SMALL = World(modulus=3, length=2, width=8, n_test=10, n_items=40, updates=12, rl_rate=3e-2)


def blank(streams):
    return BatchedGPT(SMALL.modulus + 2, 6, streams=streams, width=SMALL.width, embedding_std=0.3)


def test_the_test_has_other_digits_and_every_prompt_holds_the_right_answer_once():
    known, test = split(SMALL, Streams([0, 1]))
    assert known.prompt.shape == (2, 7 * 4, 4)  # 9 strings of 2 digits, 2 of them held out; 2 wrong answers, 2 places
    for items in (known, test):
        digits, answers = items.prompt[..., :2], items.prompt[..., 2:]
        assert torch.equal(items.sums, digits.cumsum(dim=-1) % 3)
        hits = answers == items.sums[..., -1:]
        assert torch.equal(hits.sum(dim=-1), torch.ones_like(items.label))
        assert torch.equal(hits.long().argmax(dim=-1), items.label)
    for seed in range(2):
        seen = {tuple(row) for row in known.prompt[seed, :, :2].tolist()}
        assert not seen & {tuple(row) for row in test.prompt[seed, :, :2].tolist()}


def test_a_corrupted_trace_ends_wrong_and_its_verdict_is_right_as_often_as_asked():
    streams = Streams([0])
    known, _ = split(SMALL, streams)
    items = known.take(streams.randint(known.label.shape[1], 4000))
    for share in (0.0, 1.0):
        given = corrupted(items, World(modulus=3, length=2, right=share), streams)
        wrong = given.sums[..., -1] != items.sums[..., -1]
        assert abs(wrong.double().mean().item() - 0.25) < 0.03
        assert torch.equal(given.label != items.label, wrong if share == 0 else torch.zeros_like(wrong))


def test_no_verdict_is_paid_as_a_wrong_one():
    assert prices().tolist() == [[1, -1, -1], [-1, 1, -1]]


@pytest.mark.slow
def test_greedy_tokens_are_the_most_likely_ones_and_samples_follow_the_probabilities():
    streams = Streams([0])
    model = blank(streams)
    prompt = torch.tensor([[[0, 1, 1, 2]]])
    greedy = sampled(model, prompt, 1, 1e-6, streams)
    p = model(prompt)[0, 0, -1].softmax(dim=-1).detach()
    assert greedy.item() == p.argmax()
    drawn = sampled(model, prompt.expand(1, 20_000, 4), 1, 1.0, streams).flatten()
    assert_close(drawn.bincount(minlength=5) / 20_000, p.float(), atol=0.015, rtol=0)
    every = torch.cartesian_prod(torch.arange(5), torch.arange(5))[None]
    assert_close(trace_logps(model, prompt.expand(1, 25, 4), every).sum(dim=-1).exp().sum().item(), 1.0)


@pytest.mark.slow
def test_a_judge_without_a_cold_start_learns_to_give_verdicts_and_stays_at_chance(monkeypatch):
    """With the sign of the reward turned, it avoids the right verdict, so that at most a half are right."""
    streams = Streams([0, 1])
    known, test = split(SMALL, streams)
    start = blank(streams)
    before = [parameter.clone() for parameter in start.parameters()]
    many = test.repeat(GROUP, dim=1)

    def accuracy():
        judge = reinforced(start, known.take(streams.randint(28, SMALL.n_items)), SMALL, streams)
        ends = sampled(judge, many.prompt, 3, 1.0, streams)[..., -1]
        return (ends - SMALL.modulus == many.label).double().mean().item()

    assert 0.3 < accuracy() < 0.7
    assert all(torch.equal(one, other) for one, other in zip(before, start.parameters(), strict=True))
    monkeypatch.setattr(rm_r1, "prices", lambda: -prices())
    assert accuracy() < 0.5
