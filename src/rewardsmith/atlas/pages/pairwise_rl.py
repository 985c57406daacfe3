"""Comparisons with an anchor undo offsets per prompt; subtracting the prompt's mean score does so at least as well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import pi

import torch
from torch import Tensor
from torch.nn import functional as F

from rewardsmith.atlas.criteria import All, LowerBound, PairedGain
from rewardsmith.atlas.figures import dots
from rewardsmith.atlas.page import rows
from rewardsmith.measures import prompt_offset_sensitivity
from rewardsmith.objectives import bt_loss, pairwise_verdict_loss
from rewardsmith.worlds import Streams
from rewardsmith.worlds.batched_mlp import BatchedMLP
from rewardsmith.worlds.prefix_tree import PrefixTree, additive_gold, drawn, mean_gold, mean_kl, of, supervised, trained
from rewardsmith.worlds.training import adam_steps

CRITERION = All(
    LowerBound("accuracy/pairwise", over="accuracy/bt_ridge", above=0.1),
    LowerBound("error/bt_ridge", over="error/pairwise", above=0.02),
    LowerBound("gold/bt_no_offset", over="gold/bt", above=0.4),
    LowerBound("gold/pairwise", over="gold/bt", above=0.4),
    LowerBound("gold/pairwise", over="gold/one_order", above=0.4),
    # The simple control: the same scores, less their mean over the responses drawn for a prompt.
    PairedGain("gold/bt_prompt_mean", over="gold/pairwise", at_least=0.0),
)


@dataclass(frozen=True, slots=True)
class World:
    """Prompts with 256 responses, preferences with a cycle in the first token, and scores with an offset per prompt."""

    n_prompts: int = 6  # prompts
    length: int = 4  # tokens of a response
    gold_sd: float = 0.8  # standard deviation of gold over responses, in log-odds, where preferences have a cycle
    cycle: float = 2.0  # c, the log-odds that the first tokens' cycle adds at most
    rl_gold_sd: float = 1.5  # standard deviation of gold in the second part, without a cycle
    n_pairs: int = 200  # labeled pairs per prompt, in both parts
    n_test: int = 500  # fresh pairs per prompt
    winner_first: float = 0.8  # share of pairs that show the winner first, to the judge that sees one order
    width: int = 64  # of both hidden layers
    judge_steps: int = 100  # of Adam
    batch: int = 240  # pairs per step, of all prompts
    ridge: float = 0.03  # weight of the squared norm of the linear model
    offset: float = 20.0  # s, standard deviation of the offset that a scalar score has per prompt
    beta: float = 0.05  # weight of the KL
    rl_steps: int = 100  # of Adam
    n_drawn: int = 6  # responses per prompt and step
    learning_rate: float = 3e-3  # of Adam


def experiments(seeds: Sequence[int], world: World, *, broken: bool = False) -> list[dict[str, float]]:
    """Train judges and scalars on preferences with a cycle; then policies on comparisons and on scores with offsets."""
    tree, streams = PrefixTree(world.n_prompts, 4, world.length), Streams(seeds)
    return rows(compared(tree, streams, world, broken) | optimized(tree, streams, world, broken))


def compared(tree: PrefixTree, streams: Streams, world: World, broken: bool) -> dict[str, dict[str, Tensor]]:
    """Return accuracy and squared error of verdicts on fresh pairs, against the true probability, by arm."""
    gold = additive_gold(tree, streams, sd=world.gold_sd).sum(dim=-1)
    angle = tree.responses[:, 0] * (2 * pi / tree.n_tokens)

    def log_odds(first: Tensor, second: Tensor) -> Tensor:
        return of(gold, first) - of(gold, second) + world.cycle * torch.sin(angle[first] - angle[second])

    uniform = partial(streams.randint, len(tree.responses), 1, tree.n_prompts)
    a, b, test = uniform(world.n_pairs), uniform(world.n_pairs), (uniform(world.n_test), uniform(world.n_test))
    label = (streams.rand(*a.shape[1:]) < log_odds(a, b).sigmoid()).double()
    judges, scalar = trained_judges(tree, streams, a, b, label, world)
    both, mean, single = verdicts(tree, judges, *test)
    arms = {"pairwise": single if broken else both, "one_order_averaged": mean, "one_order": single}
    everything = torch.arange(len(tree.responses)).expand(*a.shape[:3], -1)
    with torch.no_grad():
        scores = scalar(shown(tree, everything)).view(gold.shape).double()
    for arm, of_all in (("bt", scores), ("bt_ridge", ridge(tree, a, b, label, world.ridge))):
        arms[arm] = of(of_all, test[0]) - of(of_all, test[1])
    every = gold[..., :, None] - gold[..., None, :] + world.cycle * torch.sin(angle[:, None] - angle)
    borda = every.sigmoid().mean(dim=-1)  # the best scalar that preferences give
    truth = log_odds(*test)
    error = {arm: (z.sigmoid() - truth.sigmoid()).square().mean(dim=(1, 2, 3)) for arm, z in arms.items()}
    arms["borda"] = of(borda, test[0]) - of(borda, test[1])
    accuracy = {arm: ((z > 0) == (truth > 0)).double().mean(dim=(1, 2, 3)) for arm, z in arms.items()}
    return {"accuracy": accuracy, "error": error}


def optimized(tree: PrefixTree, streams: Streams, world: World, broken: bool) -> dict[str, dict[str, Tensor]]:
    """Return gold and KL of policies that are trained on each reward, and how much of it the prompt explains."""
    gold = additive_gold(tree, streams, sd=world.rl_gold_sd).sum(dim=-1)
    start = tree.policy(streams, width=world.width)
    texts = drawn((0.5 * gold).log_softmax(dim=-1), 120, streams)
    reference = supervised(tree, start, texts, steps=120, learning_rate=3e-3)
    with torch.no_grad():
        ref = tree.logps(tree.next_token(reference).double())
    a, b = (drawn(ref, world.n_pairs, streams) for _ in range(2))
    label = (streams.rand(*a.shape[1:]) < (of(gold, a) - of(gold, b)).sigmoid()).double()
    judges, scalar = trained_judges(tree, streams, a, b, label, world)
    everything = torch.arange(len(tree.responses)).expand(*a.shape[:3], -1)
    anchor = drawn(ref, 1, streams)
    both, _, single = verdicts(tree, judges, everything, anchor.expand_as(everything))
    with torch.no_grad():
        scores = scalar(shown(tree, everything)).view(gold.shape).double()
    offset = scores + world.offset * streams.randn(1, tree.n_prompts, 1)
    at_anchor = of(offset, anchor)
    rewards = {
        "gold": gold,
        "bt_no_offset": scores,
        "bt": offset,
        "bt_prompt_mean": offset,
        "bt_anchored": (offset - at_anchor).sigmoid(),
        "bt_anchored_elsewhere": (offset - at_anchor.roll(1, dims=2)).sigmoid(),
        "pairwise": (single if broken else both).sigmoid(),
        "one_order": single.sigmoid(),
    }
    table = torch.cat(list(rewards.values()), dim=1)
    centered = torch.tensor([arm == "bt_prompt_mean" for arm in rewards])[:, None, None]

    def loss(policies: BatchedMLP) -> Tensor:
        logps = tree.logps(tree.next_token(policies))
        with torch.no_grad():
            index = drawn(logps, world.n_drawn, streams)
            drew = of(table, index)
            drew = torch.where(centered, drew - drew.mean(dim=-1, keepdim=True), drew)
            drew = drew - drew.mean(dim=(-2, -1), keepdim=True)
            white = drew / drew.std(dim=(-2, -1), keepdim=True).clamp_min(1e-6)  # over the whole batch
            credit = white - world.beta * of(logps - ref, index)
        return -(credit * of(logps, index)).mean(dim=(-2, -1))

    start = reference.take([0] * len(rewards))
    policies = trained(start, loss, steps=world.rl_steps, learning_rate=world.learning_rate)
    with torch.no_grad():
        logps = tree.logps(tree.next_token(policies).double())
    found = {"gold": dict(zip(rewards, mean_gold(logps, gold).unbind(1), strict=True))}
    found["kl"] = dict(zip(rewards, mean_kl(logps, ref).unbind(1), strict=True))
    found["offset_share"] = {}
    sample = drawn(ref, 64, streams)
    for arm in ("bt_no_offset", "bt", "pairwise"):
        seen = of(rewards[arm], sample)[:, 0]
        found["offset_share"][arm] = torch.tensor([prompt_offset_sensitivity(one.numpy()).value for one in seen])
    return found


def shown(tree: PrefixTree, *answers: Tensor) -> Tensor:
    """Return (S, 1, X · n, d) inputs: the prompt and the tokens of one or two answers, (S, 1, X, n) each."""
    tokens = F.one_hot(tree.responses, tree.n_tokens).flatten(1)
    prompts = torch.eye(tree.n_prompts, dtype=torch.float64)[:, None].expand(*answers[0].shape, -1)
    return torch.cat([prompts, *(tokens[answer] for answer in answers)], dim=-1).flatten(2, 3)


def trained_judges(
    tree: PrefixTree, streams: Streams, a: Tensor, b: Tensor, label: Tensor, world: World
) -> tuple[BatchedMLP, BatchedMLP]:
    """Train two judges on pairs (S, 1, X, n), in both orders and in one, and a scalar by Bradley-Terry.

    label: (S, 1, X, n), 1 where the answer of `a` is better.
    """
    first, second, one, other = (shown(tree, *of_pair)[:, 0] for of_pair in ((a, b), (b, a), (a,), (b,)))
    y = label.flatten(1).double()
    as_is = (streams.rand(y.shape[1]) < world.winner_first) == (y > 0.5)  # shows `a` first
    sizes = (world.width, world.width, 1)
    judges = BatchedMLP((first.shape[-1], *sizes), lead=(len(streams), 1), streams=streams).take([0, 0])
    scalar = BatchedMLP((one.shape[-1], *sizes), lead=(len(streams), 1), streams=streams)
    seed = torch.arange(len(streams))[:, None]
    for _ in adam_steps([*judges.parameters(), *scalar.parameters()], world.judge_steps, learning_rate=3e-3):
        at = seed, streams.randint(y.shape[1], world.batch)
        right, shows_a = y[at], as_is[at]
        ab, ba = (judges(x[at][:, None]) for x in (first, second))
        seen = F.binary_cross_entropy_with_logits(
            torch.where(shows_a, ab[:, 1], ba[:, 1]), torch.where(shows_a, right, 1 - right), reduction="none"
        )
        winner = right[:, None] > 0.5
        s, t = (scalar(x[at][:, None]) for x in (one, other))
        fit = pairwise_verdict_loss(ab[:, 0], ba[:, 0], right, consistency=0.1) + seen
        ranked = bt_loss(torch.where(winner, s, t), torch.where(winner, t, s))
        torch.autograd.backward((fit + ranked[:, 0]).mean(dim=-1).sum())
    return judges, scalar


@torch.no_grad()
def verdicts(tree: PrefixTree, judges: BatchedMLP, first: Tensor, second: Tensor) -> list[Tensor]:
    """Return log-odds (S, 1, X, n) that the first is better: of both orders, of one averaged over both, and of one."""
    shape = (-1, 2, *first.shape[2:])
    ab, ba = (judges(shown(tree, *pair)).view(shape).double() for pair in ((first, second), (second, first)))
    averaged = ((ab.sigmoid() + 1 - ba.sigmoid()) / 2).logit(eps=1e-9)
    return [averaged[:, :1], averaged[:, 1:], ab[:, 1:]]


def ridge(tree: PrefixTree, a: Tensor, b: Tensor, label: Tensor, weight: float) -> Tensor:
    """Return (S, 1, X, N) scores that add up over a prompt's bigrams, by Bradley-Terry with a squared penalty."""
    table = torch.zeros(*a.shape[:3], int(tree.bigrams.max()) + 1, dtype=torch.float64, requires_grad=True)
    for _ in adam_steps([table], 200, learning_rate=3e-2):
        scores = table[..., tree.bigrams].sum(dim=-1)
        chosen, rejected = of(scores, torch.where(label > 0.5, a, b)), of(scores, torch.where(label > 0.5, b, a))
        losses = bt_loss(chosen, rejected).mean(dim=-1) + weight * table.square().sum(dim=-1)
        torch.autograd.backward(losses.mean(dim=(-2, -1)).sum())
    return table.detach()[..., tree.bigrams].sum(dim=-1)


figure = partial(dots, series={"gold": "gold/{}"}, label="gold of policies")
