"""Partial credit teaches calls that a policy seldom gets right; credit by position or longer imitation does better."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from rewardsmith.advantages import group_zscore
from rewardsmith.atlas.criteria import All, LowerBound, PairedGain
from rewardsmith.atlas.figures import dots
from rewardsmith.atlas.page import rows
from rewardsmith.rewards import ToolCall, compare_calls
from rewardsmith.worlds import Streams
from rewardsmith.worlds.batched_mlp import BatchedMLP
from rewardsmith.worlds.streams import sample_index
from rewardsmith.worlds.training import adam_steps

CRITERION = All(
    PairedGain("exact/fine", over="exact/coarse", at_least=0.2),
    LowerBound("exact/fine", over="exact/coarse", above=0.0),
    PairedGain("exact/positions", over="exact/fine", at_least=-0.05),  # a simple control: no matching, no Jaccard
    PairedGain("exact/coarse_imitated", over="exact/fine", at_least=-0.05),  # another one: ten times the imitation
)


class Arm(NamedTuple):
    """What is rewarded, the weight of an entropy bonus, and whether imitation went on before."""

    reward: str
    entropy: float = 0.0
    imitated: bool = False


ARMS = {
    "fine": Arm("fine"),
    "paper": Arm("paper"),
    "refined": Arm("refined"),
    "intermediate": Arm("intermediate"),
    "coarse": Arm("coarse"),
    "coarse_entropy": Arm("coarse", entropy=0.003),
    "flat_price": Arm("flat_price"),
    "positions": Arm("positions"),
    "coarse_imitated": Arm("coarse", imitated=True),
    "fine_imitated": Arm("fine", imitated=True),
}
N_TOOLS, N_KEYS, N_VALUES, GROUP, LOW, HIGH = 6, 5, 5, 8, -3.0, 3.0
WIDEST = max(N_TOOLS, N_KEYS, N_VALUES)
REWARDS: dict[str, Callable[[list[ToolCall], list[ToolCall]], float]] = {
    "fine": lambda given, wanted: compare_calls(given, wanted).reward,
    "paper": lambda given, wanted: compare_calls(given, wanted, extra_calls="paper").reward,
    "refined": lambda given, wanted: compare_calls(given, wanted, granularity="refined").reward,
    "intermediate": lambda given, wanted: compare_calls(given, wanted, granularity="intermediate").reward,
    "coarse": lambda given, wanted: compare_calls(given, wanted, granularity="coarse").reward,
    "flat_price": lambda given, wanted: compare_calls(given, wanted, extra_calls="paper").reward - len(given) + 1,
}
SIZES = (2, *(N_TOOLS, N_KEYS, N_VALUES, N_KEYS, N_VALUES) * 2)  # the number of calls, then two calls
STATES = 1 + 3 * 4 * 2 * 2  # of a call, seen from the wanted one


@dataclass(frozen=True, slots=True)
class World:
    """A policy that writes one or two calls with two arguments each, where one call is wanted.

    The prompt names the tool and both values; which two of five parameters a tool takes, the policy must learn.
    """

    n_examples: int = 24  # calls to imitate, of 150 prompts
    epochs: int = 6  # of imitation, in batches of 8
    more_epochs: int = 54  # of further imitation, in the arms that have it
    count_imitated: bool = True  # whether imitation trains the number of calls
    steps: int = 300  # by reward
    n_prompts: int = 32  # a step, with 8 samples each
    learning_rate: float = 2e-3  # of Adam, in imitation
    rl_rate: float = 2e-3  # of Adam, by reward
    width: int = 64  # of the policy's two hidden layers


def experiments(seeds: Sequence[int], world: World, *, broken: bool = False) -> list[dict[str, float]]:
    """Measure the share of all prompts that are answered by the wanted call alone, and by two calls, greedily."""
    streams, arms = Streams(seeds), list(ARMS.values())
    prompts = torch.cartesian_prod(*map(torch.arange, (N_TOOLS, N_VALUES, N_VALUES)))
    keys = torch.stack([streams.randperm(N_KEYS)[:, :2] for _ in range(N_TOOLS)], dim=1)[:, prompts[:, 0]]
    tool, first, second = torch.split(prompts.expand(len(seeds), -1, -1), 1, dim=-1)
    wanted = torch.cat([tool, keys[..., :1], first, keys[..., 1:], second], dim=-1)  # (S, 150, 5)
    x = torch.cat([one_hot(part, WIDEST) for part in prompts.T], dim=-1).double().expand(len(seeds), -1, -1)
    order = streams.randperm(len(prompts))
    wanted, x = (part.gather(1, order[..., None].expand_as(part)) for part in (wanted, x))
    blank = BatchedMLP(
        (3 * WIDEST, world.width, world.width, WIDEST * len(SIZES)), lead=(len(seeds), 1), streams=streams
    )
    start = imitated(blank, x, wanted, world, world.epochs, streams)
    longer = imitated(start, x, wanted, world, world.more_epochs, streams)
    learner = start.take([0] * len(arms))
    for parameter, given in zip(learner.parameters(), longer.parameters(), strict=True):
        parameter.data[:, [k for k, arm in enumerate(arms) if arm.imitated]] = given.data
    bonus = torch.tensor([arm.entropy for arm in arms], dtype=torch.float64)[:, None]
    for _ in adam_steps(learner.parameters(), world.steps, learning_rate=world.rl_rate):
        own, goal = take((x, wanted), streams.randint(len(prompts), world.n_prompts))
        logps = policy_logps(learner, own)  # (S, A, P, 11, 6)
        uniform = streams.rand(1, world.n_prompts, GROUP, len(SIZES))
        tokens = sample_index(logps.detach().exp()[:, :, :, None], uniform)  # (S, A, P, G, 11)
        credit = group_zscore(priced(tokens, goal[:, :, None], broken=broken).flatten(), group_size=GROUP)
        said = logps[:, :, :, None].expand(-1, -1, -1, GROUP, -1, -1).gather(-1, tokens[..., None])[..., 0]
        second_call = (torch.arange(len(SIZES)) > 5) & (tokens[..., :1] == 0)
        gain = (credit.view(tokens.shape[:-1]) * said.masked_fill(second_call, 0).sum(dim=-1)).mean(dim=-1)
        entropy = -(logps.exp() * logps)[..., :6, :].sum(dim=(-1, -2))
        torch.autograd.backward(-(gain + bonus * entropy).mean(dim=-1).sum())
    found: dict[str, dict[str, Tensor]] = {"exact": {}, "extra": {}}
    for models, names in ((learner, list(ARMS)), (start, ["start"]), (longer, ["imitated"])):
        with torch.no_grad():
            tokens = policy_logps(models, x).argmax(dim=-1)  # (S, A, 150, 11)
        exact = table("coarse")[coded(tokens, wanted[:, None])] == HIGH
        for k, name in enumerate(names):
            found["exact"][name] = exact[:, k].double().mean(dim=-1)
            found["extra"][name] = tokens[:, k, :, 0].double().mean(dim=-1)
    return rows(found)


def take(parts: tuple[Tensor, Tensor], index: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows (S, n) of each part (S, 150, ...)."""
    lead = torch.arange(len(index))[:, None]
    return parts[0][lead, index], parts[1][lead, index]


def policy_logps(policy: BatchedMLP, x: Tensor) -> Tensor:
    """Return (S, A, B, 11, 6) log-probabilities of every part of an answer; a part has at most six values."""
    absent = torch.arange(WIDEST) >= torch.tensor(SIZES)[:, None]
    logits: Tensor = policy(x[:, None]).unflatten(-1, (len(SIZES), WIDEST))
    return logits.masked_fill(absent, -1e9).log_softmax(dim=-1)


def imitated(policy: BatchedMLP, x: Tensor, wanted: Tensor, world: World, epochs: int, streams: Streams) -> BatchedMLP:
    """Train a copy of a policy on the wanted calls of the first prompts, which are in random order."""
    learner = policy.take([0])
    batches = [batch for _ in range(epochs) for batch in torch.split(streams.randperm(world.n_examples), 8, dim=1)]
    for step in adam_steps(learner.parameters(), len(batches), learning_rate=world.learning_rate):
        own, goal = take((x, wanted), batches[step])
        logps = policy_logps(learner, own)[:, 0]  # (S, 8, 11, 6)
        said = logps[:, :, 1:6].gather(-1, goal[..., None]).sum(dim=(-1, -2))
        torch.autograd.backward(-(said + world.count_imitated * logps[:, :, 0, 0]).mean(dim=-1).sum())
    return learner


def coded(tokens: Tensor, wanted: Tensor, *, values: bool = True) -> Tensor:
    """Return (...) places in a `table`, of answers (..., 11), a number and two calls, to wanted calls (..., 5).

    Args:
        values: whether values are compared; else every value counts as wanted.
    """
    tool, a, value_a, b, value_b = wanted.unbind(-1)
    states = []
    for call in (tokens[..., 1:6], tokens[..., 6:]):
        name, k1, v1, k2, v2 = call.unbind(-1)
        p1, p2 = (torch.where(key == a, 0, torch.where(key == b, 1, 2)) for key in (k1, k2))
        h1, h2 = ((v == torch.where(p == 0, value_a, value_b)) | (not values) for v, p in ((v1, p1), (v2, p2)))
        p2 = torch.where((p1 == 2) & (k1 == k2), 3, p2)
        states.append(torch.where(name == tool, 1 + ((p1 * 4 + p2) * 2 + h1) * 2 + h2, 0))
    return torch.where(tokens[..., 0] == 0, states[0], (1 + states[1]) * STATES + states[0])


def call_of(state: int) -> ToolCall:
    """Return a call in a state: 0 of another tool, else by parameters (wanted, other) and values (wanted, not)."""
    if not state:
        return ToolCall("other", {})
    places, hits = divmod(state - 1, 4)
    p1, p2 = divmod(places, 4)
    return ToolCall("wanted", {"abc"[p1]: hits // 2, "abdc"[p2]: hits % 2})  # of one given twice, JSON keeps the last


@cache
def table(reward: str) -> Tensor:
    """Return a reward for one call in every state, and after them for a first and a second call."""
    calls, goal = [call_of(state) for state in range(STATES)], [ToolCall("wanted", {"a": 1, "b": 1})]
    answers = [[call] for call in calls] + [[first, second] for second in calls for first in calls]
    return torch.tensor([REWARDS[reward](answer, goal) for answer in answers], dtype=torch.float64)


def priced(tokens: Tensor, wanted: Tensor, *, broken: bool) -> Tensor:
    """Return (S, A, P, G) rewards of answers (S, A, P, G, 11), by each arm's rule."""
    rewards = []
    for arm, own in zip(ARMS.values(), tokens.unbind(1), strict=True):
        if arm.reward == "positions":
            goal = torch.nn.functional.pad(wanted, (1, 0))  # 0 is one call
            rewards.append(LOW + (HIGH - LOW) * (own[..., :6] == goal).double().mean(dim=-1))
        else:
            rewards.append(table(arm.reward)[coded(own, wanted, values=not broken or arm.reward != "fine")])
    return torch.stack(rewards, dim=1)


figure = partial(
    dots,
    series={"exact": "exact/{}"},
    rows=("start", "imitated", *ARMS),
    label="share of prompts answered by the wanted call alone",
)
