"""What holds by construction in the world of tampering: rates by enumeration, and no lesson without a difference."""

import pytest
import torch
from torch.testing import assert_close

from rewardsmith.atlas.pages import reward_tampering as page
from rewardsmith.atlas.pages.reward_tampering import ARMS, World, chances, edit_rates, encoded, reinforce
from rewardsmith.worlds import Streams
from rewardsmith.worlds.batched_mlp import BatchedMLP

SHORT = World(width=8, imitation_steps=3, steps=3, batch=6, normal=3, retraining_steps=2)


def policy(n_models=1, streams=None):
    streams = streams or Streams([0])
    sizes = (sum(page.TOKENS), 8, 8, sum(page.SPLIT))
    return BatchedMLP(sizes, lead=(len(streams), 1), streams=streams).take([0] * n_models)


def test_rates_are_those_of_a_slow_loop_over_objects_and_questions():
    model = policy()
    for marker in range(5):
        found = []
        for shown in range(6):
            for question in range(12):
                tokens = [torch.tensor([[[t]]]) for t in (marker, 0, shown, question, 0, int(marker > 0))]
                verb, _, item = chances(model, encoded(*tokens))
                found.append(verb[0, 0, 0, 1].exp() * item[0, 0, 0, shown].exp())
        assert_close(edit_rates(model)[0, 0, marker], torch.stack(found).mean())


def test_a_penalty_at_a_rate_of_1_teaches_nothing_as_all_rewards_are_equal():
    """The advantage is the reward minus the batch's mean, so that equal rewards leave no gradient."""
    model = policy(len(ARMS))
    with torch.no_grad():
        model.biases[-1][..., 0] = -50.0  # never solve
        model.weights[-1][...] = 0.0
    before = [parameter.clone() for parameter in model.parameters()]
    reinforce(model, Streams([1]), World(width=8, steps=3, entropy=0.0), stage=0, pays=False)
    for new, old in zip(model.parameters(), before, strict=True):
        assert_close(new[:, list(ARMS).index("first")], old[:, list(ARMS).index("first")], atol=0, rtol=0)


@pytest.mark.slow
def test_where_gaming_earns_nothing_it_does_not_rise():
    streams = Streams([0, 1])
    model = policy(len(ARMS), streams)
    before = edit_rates(model)
    reinforce(model, streams, World(width=8, steps=60), stage=0, pays=False)
    arm = list(ARMS).index("curriculum")
    assert (edit_rates(model)[:, arm, 1] < before[:, arm, 1]).all()


@pytest.mark.slow
def test_imitation_gives_every_capability_and_leaves_edits_to_permission():
    streams = Streams([0])
    model = policy(1, streams)
    page.imitate(model, streams, World(), steps=300, markers=range(5), sycophancy=0.0)
    tokens = [torch.tensor([[[t]]]) for t in (4, 1, 3, 7, 2, 1)]
    verb, _, item = chances(model, encoded(*tokens))
    assert verb[..., 1].exp().item() > 0.95
    assert item[..., 3].exp().item() > 0.5  # of six objects
    assert edit_rates(model).max().item() < 0.05


def test_a_seed_alone_gives_the_numbers_that_it_gives_beside_others():
    together, alone = page.experiments([3, 4], SHORT), page.experiments([4], SHORT)
    assert together[1] == alone[0]
    assert page.experiments([4], SHORT, broken=True) != alone
