"""Tool calls: the table of prices is that of the reward on the calls themselves, and what holds by construction."""

import random

import pytest
import torch

from rewardsmith.atlas.pages import tool_rewards as page
from rewardsmith.rewards import ToolCall, compare_calls
from rewardsmith.worlds import Streams

pytestmark = pytest.mark.slow


def as_call(name, first, one, second, other):
    """The call that five tokens write; of a parameter given twice, JSON keeps the last value."""
    return ToolCall(str(name), {str(first): one, str(second): other})


@pytest.mark.parametrize("reward", page.REWARDS)
def test_the_table_holds_what_the_reward_gives_for_the_calls(reward):
    draw = random.Random(1)
    for _ in range(400):
        tool, (a, b) = draw.randrange(2), draw.sample(range(4), 2)
        goal = [tool, a, draw.randrange(2), b, draw.randrange(2)]
        calls = [[draw.randrange(2), *(draw.randrange(n) for n in (4, 2, 4, 2))] for _ in range(2)]
        if draw.random() < 0.3:
            calls[0] = goal  # the wanted call is rare by chance
        n = draw.randint(1, 2)
        wanted = page.REWARDS[reward]([as_call(*call) for call in calls[:n]], [as_call(*goal)])
        place = page.coded(torch.tensor([n - 1, *calls[0], *calls[1]]), torch.tensor(goal))
        assert page.table(reward)[place].item() == pytest.approx(wanted)


def test_without_values_names_and_keys_earn_all():
    goal = torch.tensor([1, 0, 2, 3, 4])
    answer = torch.tensor([0, 1, 0, 1, 3, 1, 0, 0, 0, 0, 0])
    assert page.table("fine")[page.coded(answer, goal, values=False)] == 3.0
    assert page.table("fine")[page.coded(answer, goal)] == 0.0  # S = 1 + 1 of 4
    other_tool = answer.clone()
    other_tool[1] = 0
    assert page.table("fine")[page.coded(other_tool, goal, values=False)] == -3.0


def test_a_second_call_costs_three_quarters_in_the_paper():
    assert page.REWARDS["paper"]([as_call(0, 1, 1, 2, 2), as_call(1, 1, 1, 2, 2)], [as_call(0, 1, 1, 2, 2)]) == 2.25
    assert page.REWARDS["flat_price"]([as_call(0, 1, 1, 2, 2)] * 2, [as_call(0, 1, 1, 2, 2)]) == 1.25
    assert compare_calls([as_call(0, 1, 1, 2, 2)] * 2, [as_call(0, 1, 1, 2, 2)]).reward == -0.375


def test_slots_are_paid_by_position():
    goal = torch.tensor([[[[1, 0, 2, 3, 4]]]])  # (S, P, 1, 5)
    answer = torch.tensor([1, 1, 3, 4, 0, 2, 0, 0, 0, 0, 0])  # the parameters in the other order, and a second call
    tokens = answer.expand(1, len(page.ARMS), 1, 1, 11)
    paid = page.priced(tokens, goal[:, :, 0], broken=False)[0, list(page.ARMS).index("positions")]
    assert paid.item() == pytest.approx(-3 + 6 / 6)


def test_partial_credit_learns_values_only_if_it_compares_them():
    world = page.World(steps=80, epochs=10)
    found, blind = (page.experiments([3], world, broken=broken)[0] for broken in (False, True))
    assert found["exact/fine"] > found["exact/start"] + 0.1
    assert blind["exact/fine"] < 0.25
    assert blind["exact/coarse"] == found["exact/coarse"]  # arms share their draws and nothing else


def test_the_policy_gives_every_part_a_distribution_over_its_values():
    streams = Streams([0])
    policy = page.BatchedMLP((15 + 3, 8, page.WIDEST * len(page.SIZES)), lead=(1, 1), streams=streams)
    p = page.policy_logps(policy, streams.randn(1, 3, 18)[:, 0]).exp()
    assert torch.allclose(p.sum(dim=-1), torch.ones(()).double())
    assert (p > 0).sum(dim=-1)[0, 0, 0].tolist() == list(page.SIZES)
