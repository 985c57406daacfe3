"""The page's features and gold on texts that can be counted by hand."""

import itertools

import pytest
import torch
from torch.testing import assert_close

from rewardsmith.atlas.pages.relevance_reward import ARMS, Prompts, World, uniqueness
from rewardsmith.rewards import ngram_uniqueness
from rewardsmith.worlds import Streams
from rewardsmith.worlds.batched_mlp import BatchedMLP

WORLD = World(n_prompts=2, n_words=6, n_suitable=3, longest=5, noise=0.0)
END = WORLD.n_words


@pytest.fixture
def own():
    """An open and a closed prompt, both with the suitable words 0, 1, 2, of which 0 and 1 are the reference."""
    suitable = torch.tensor([[[True, True, True, False, False, False]] * 2])
    reference = torch.tensor([[[True, True, False, False, False, False]] * 2])
    near = [torch.where(which, 0.75, 0.15) for which in (suitable, reference)]
    return Prompts(torch.tensor([False, True]), suitable, reference, *near)


def test_gold_counts_suitable_words_on_open_prompts_and_those_of_the_reference_on_closed_ones(own):
    words = torch.tensor([[[[0, 1, 1, 4, END], [0, 2, END, END, END]]]])
    # Open: 2 of 3 suitable, one unsuitable, one repeated. Closed: one of two, and one further word.
    assert_close(WORLD.gold(words, own), torch.tensor([[[2 / 3 - 0.15 - 0.05, 0.5 - 0.15]]], dtype=torch.float64))


@pytest.mark.parametrize(("said", "expected"), [
    ([0, 1, 2, 0, 1], 1.0),  # 012 120 201
    ([0, 0, 0, 0, 0], 1 / 3),
    ([0, 1, 0, 1, 0], 2 / 3),  # 010 101 010
    ([0, 0, 0, 0, END], 1 / 2),
    ([0, 1, END, END, END], 1.0),
    ([END] * 5, 1.0),
])  # fmt: skip
def test_uniqueness_is_the_share_of_distinct_trigrams(said, expected):
    assert_close(uniqueness(torch.tensor([[[said]]]), END), torch.tensor([[[expected]]]))
    assert ngram_uniqueness([" ".join(f"w{word}" for word in said if word != END)]) == pytest.approx([expected])


def test_r3_multiplies_its_features_on_open_prompts_and_reads_the_reference_on_closed_ones(own):
    words = torch.tensor([[[[0, 4, END, END, END], [0, 2, END, END, END]]]]).expand(1, len(ARMS), -1, -1)
    found = dict(zip(ARMS, WORLD.rewards(words, own)[0], strict=True))
    relevance, to_reference = (0.75 + 0.15) / 2, (0.75 + 0.15) / 2 / 0.75
    assert_close(found["r3"], torch.tensor([2 / 5 * relevance, to_reference], dtype=torch.float64))
    assert_close(found["no_branch"][1], torch.tensor(2 / 5 * 0.75, dtype=torch.float64))
    assert_close(found["sum"][0], torch.tensor((2 / 5 + relevance + 1) / 3, dtype=torch.float64))
    assert_close(found["saturated"][0], torch.tensor(2 / 5 * relevance, dtype=torch.float64))  # saturation at 5 words
    assert_close(WORLD.rewards(words, own, broken=True)[0, 0], found["no_branch"])


def test_log_probabilities_sum_to_one_over_all_responses():
    world = World(n_prompts=1, n_words=2, n_suitable=2, longest=3, width=8)
    streams = Streams([0], dtype=torch.float64)
    policy = BatchedMLP((1 + 2 * 2 + 1 + 3, 8, 3), lead=(1, 1), streams=streams)
    texts = {(*said, *[2] * (3 - n)) for n in range(4) for said in itertools.product(range(2), repeat=n)}
    logps = world.logps(policy, torch.tensor(sorted(texts))[None, None])
    assert_close(logps.exp().sum(), torch.tensor(1.0, dtype=torch.float64))
