"""Regress on win rates against the own policy, round by round: the average policy is hard to beat, even in a cycle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from rewardsmith.atlas.criteria import All, AtLeast, LowerBound, PairedGain
from rewardsmith.atlas.figures import dots
from rewardsmith.atlas.page import rows
from rewardsmith.measures import exploitability
from rewardsmith.objectives import soft_label_dpo_loss
from rewardsmith.transforms import self_play_winrate
from rewardsmith.worlds import Streams
from rewardsmith.worlds.streams import sample_index
from rewardsmith.worlds.training import adam_steps

CRITERION = All(
    LowerBound("exploitability/bt_best", over="exploitability/dno", above=0.05),
    LowerBound("exploitability/dno_last", over="exploitability/dno", above=0.05),
    LowerBound("exploitability/fixed_opponent", over="exploitability/dno", above=0.05),
    AtLeast("least_win/dno", 0.5),
    PairedGain("exploitability/flipped", over="exploitability/dno", at_least=0.1),
)
LEAST_GAP = 0.25  # between the win rates of a pair with a hard label
GROUP = 8  # samples that are compared with each other
BETAS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)  # of the tilted policies, the best of which counts
ARMS: dict[str, tuple[str, float, float]] = {  # targets; η as a factor of the world's; learning rate, likewise
    "dno": ("soft", 1.0, 1.0),
    "dno_uniform_start": ("soft", 1.0, 1.0),
    "fixed_opponent": ("soft", 1.0, 1.0),
    "hard": ("hard", 1.0, 1.0),
    "hard_small_steps": ("hard", 16.0, 0.25),
    "flipped": ("flipped", 1.0, 1.0),
}


@dataclass(frozen=True, slots=True)
class World:
    """Responses whose preference is a quality plus a cycle, and a reference policy over them."""

    n_prompts: int = 16  # prompts
    n_responses: int = 12  # per prompt
    cycle: float = 3.0  # log-odds; of a preference by the angle between two responses
    quality_std: float = 0.8  # log-odds; of the transitive part
    rounds: int = 30  # rounds of self-play
    n_samples: int = 64  # responses per prompt and round
    steps: int = 40  # of Adam per round
    learning_rate: float = 0.1  # of Adam, logits
    eta: float = 0.5  # η, the factor of the log-ratio
    n_uniform: int = 528  # comparisons per prompt of the arm that asks about all pairs equally often


def experiments(seeds: Sequence[int], world: World, *, broken: bool = False) -> list[dict[str, float]]:
    """Measure by how much the best response beats each policy, and whether a round beats the one before."""
    streams, shape = Streams(seeds), (world.n_prompts, world.n_responses)
    quality, angle = world.quality_std * streams.randn(*shape), 2 * torch.pi * streams.rand(*shape)
    log_odds = quality[..., None] - quality[..., None, :]
    log_odds = log_odds + world.cycle * torch.sin(angle[..., None] - angle[..., None, :])
    preferences = torch.sigmoid(log_odds)  # (S, X, A, A): how often the first wins
    reference = streams.randn(*shape).log_softmax(dim=-1)
    uniform = torch.zeros_like(reference).log_softmax(dim=-1)
    arms = list(ARMS)
    start = torch.stack([uniform if arm == "dno_uniform_start" else reference for arm in arms], dim=1)
    average, last, least_win, counts = self_play(start, preferences, streams, world, broken)
    policies = dict(zip(arms, average.unbind(1), strict=True))
    policies |= {"dno_last": last[:, 0], "reference": reference.exp(), "uniform": uniform.exp()}
    policies["solved"] = solved(counts)
    first = streams.randint(world.n_responses, world.n_prompts, world.n_uniform)
    second = (first + 1 + streams.randint(world.n_responses - 1, world.n_prompts, world.n_uniform)) % world.n_responses
    policies["solved_uniform"] = solved(counted(preferences, first, second, streams))
    found = {arm: value_of(preferences, policy) for arm, policy in policies.items()}
    for arm, base in (("bt_best", reference), ("bt_best_uniform", uniform)):
        scores = bradley_terry(preferences, base.exp())
        tilted = [value_of(preferences, (base + scores / beta).softmax(dim=-1)) for beta in BETAS]
        found[arm] = torch.stack(tilted).amin(dim=0)
    return rows({"exploitability": found, "least_win": dict(zip(arms, least_win.unbind(1), strict=True))})


def value_of(preferences: Tensor, policy: Tensor) -> Tensor:
    """Return (S,) how far above ½ the best response to policies (S, X, A) wins, averaged over prompts."""
    return torch.as_tensor(exploitability(preferences, policy)).mean(dim=-1)


def self_play(
    start: Tensor, preferences: Tensor, streams: Streams, world: World, broken: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Train all arms (S, M, X, A) from log-probabilities.

    Returns:
        (S, M, X, A) policies averaged over rounds and last ones, (S, M) the least rate at which a round beat the one
        before, and (S, X, A, A) wins of the first arm's comparisons.
    """
    n_seeds, n_arms, n_prompts, n_responses = start.shape
    rules = [("flipped" if broken and rule == "soft" else rule) for rule, *_ in ARMS.values()]
    eta, rate = (torch.tensor(of, dtype=start.dtype) for of in list(zip(*ARMS.values(), strict=True))[1:])
    eta, rate = world.eta * eta[:, None, None], rate[:, None, None]
    fixed = list(ARMS).index("fixed_opponent")
    now, average, least = start, torch.zeros_like(start), torch.ones(n_seeds, n_arms, dtype=start.dtype)
    counts = torch.zeros(n_seeds, n_prompts, n_responses**2, dtype=start.dtype)
    table = preferences[:, None].expand(-1, n_arms, -1, -1, -1).flatten(3)
    for _ in range(world.rounds):
        places = streams.rand(2, n_prompts, world.n_samples)  # all arms share their draws
        sample, other = (  # (S, M, X, G, K)
            sample_index(logps.exp()[..., None, :], places[:, k : k + 1]).view(*start.shape[:3], -1, GROUP)
            for k, logps in enumerate((now, start))
        )
        against = sample.clone()
        against[:, fixed] = other[:, fixed]
        cell = sample[..., None] * n_responses + against[..., None, :]  # (S, M, X, G, K, K)
        wins = streams.rand(1, *cell.shape[2:]) < table.gather(-1, cell.flatten(3)).view(cell.shape)
        upper = torch.ones(GROUP, GROUP, dtype=torch.bool).triu(1)
        mirrored = torch.where(upper, wins, ~wins.transpose(-1, -2)).to(start.dtype)
        counts.scatter_add_(-1, cell[:, 0].flatten(2), (mirrored[:, 0] * (1 - torch.eye(GROUP))).flatten(2))
        rates = self_play_winrate(mirrored.flatten(0, 3)).view(sample.shape)
        rates[:, fixed] = wins[:, fixed].to(start.dtype).mean(dim=-1)
        in_pairs = (*start.shape[:3], -1, 2)
        first, second = sample.view(in_pairs).unbind(dim=-1)  # (S, M, X, pairs)
        gap = rates.view(in_pairs)[..., 0] - rates.view(in_pairs)[..., 1]
        targets = {"soft": gap.sigmoid(), "flipped": (-gap).sigmoid(), "hard": (gap > 0).to(start.dtype)}
        target = torch.stack([targets[rule][:, m] for m, rule in enumerate(rules)], dim=1)
        unclear = torch.tensor([rule == "hard" for rule in rules])[:, None, None] & (gap.abs() < LEAST_GAP)
        logits = torch.zeros_like(now, requires_grad=True)
        for _ in adam_steps([logits], world.steps, learning_rate=world.learning_rate):
            shift = rate * logits  # an arm's own step size
            margin = eta * (shift.gather(-1, first) - shift.gather(-1, second))
            torch.autograd.backward(soft_label_dpo_loss(margin, target).masked_fill(unclear, 0.0).mean(dim=-1).sum())
        before = now.exp()
        now = (now + rate * logits.detach()).log_softmax(dim=-1)
        won = torch.einsum("smxa,sxab,smxb->smx", now.exp(), preferences, before).mean(dim=-1)
        least, average = least.minimum(won), average + now.exp() / world.rounds
    return average, now.exp(), least, counts.view(preferences.shape)


def counted(preferences: Tensor, first: Tensor, second: Tensor, streams: Streams) -> Tensor:
    """Compare pairs (S, X, n) once each and return (S, X, A, A) wins of the first index over the second."""
    n_responses = preferences.shape[-1]
    cells = torch.stack([first * n_responses + second, second * n_responses + first], dim=-1)
    won = streams.rand(*first.shape[1:]) < preferences.flatten(2).gather(-1, cells[..., 0])
    wins = torch.stack([won, ~won], dim=-1).to(preferences.dtype)
    blank = torch.zeros_like(preferences).flatten(2)
    return blank.scatter_add(-1, cells.flatten(2), wins.flatten(2)).view_as(preferences)


def solved(wins: Tensor) -> Tensor:
    """Solve the game of smoothed win shares by multiplicative weights; return (S, X, A) the average strategy."""
    share = (wins + 1) / (wins + wins.transpose(-1, -2) + 2)
    logits, average = torch.zeros_like(share[..., 0]), torch.zeros_like(share[..., 0])
    for _ in range(500):
        policy = logits.softmax(dim=-1)
        average, logits = average + policy / 500, logits + 0.2 * (share @ policy[..., None])[..., 0]
    return average


def bradley_terry(preferences: Tensor, policy: Tensor) -> Tensor:
    """Fit (S, X, A) scores to the preferences between draws from a policy (S, X, A), without sampling."""
    scores = torch.zeros_like(policy, requires_grad=True)
    weight = policy[..., None] * policy[..., None, :]
    for _ in adam_steps([scores], 200, learning_rate=0.1):
        loss = soft_label_dpo_loss(scores[..., None] - scores[..., None, :], preferences)
        torch.autograd.backward((weight * loss).sum())
    return scores.detach()


figure = partial(
    dots,
    series={"exploitability": "exploitability/{}"},
    rows={
        "reference": "reference",
        "uniform": "uniform policy",
        "bt_best": "best score per response",
        "bt_best_uniform": "the same, uniform pairs",
        "dno": "DNO, average",
        "dno_last": "DNO, last round",
        "dno_uniform_start": "DNO, uniform start",
        "fixed_opponent": "fixed opponent",
        "hard": "hard labels",
        "hard_small_steps": "hard labels, small steps",
        "solved": "game solved",
        "solved_uniform": "game solved, 528 comparisons",
        "flipped": "targets turned around",
    },
    label="win rate of the best response − ½",
)
