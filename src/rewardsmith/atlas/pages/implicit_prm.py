"""Rewards trained on outcomes find wrong tokens, no better than fine-tuning on the right chains or a value network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from rewardsmith.atlas.criteria import All, LowerBound, PairedGain
from rewardsmith.atlas.figures import dots
from rewardsmith.atlas.page import rows
from rewardsmith.measures import auroc
from rewardsmith.objectives import bt_loss, implicit_ce_loss
from rewardsmith.worlds import Streams
from rewardsmith.worlds.batched_mlp import BatchedMLP
from rewardsmith.worlds.prefix_tree import PrefixTree, drawn, of, supervised, trained
from rewardsmith.worlds.response_pool import best_of_n

CRITERION = All(
    LowerBound("auc/ce", over="auc/log_reference", above=0.1),
    LowerBound("found/ce", over="found/log_reference", above=0.03),
    LowerBound("best_16/ce", over="best_16/log_reference", above=0.15),
    # The simple control: the same network, fine-tuned on the right chains alone.
    PairedGain("auc/sft_on_right", over="auc/ce", at_least=0.0),
)


@dataclass(frozen=True, slots=True)
class World:
    """Chains of tokens, each valid or not after the token before it; a chain is right if all of its tokens are."""

    n_prompts: int = 6  # prompts
    length: int = 6  # tokens of a chain, each of them a step
    n_valid: int = 3  # of 4 tokens, drawn anew for every prompt, position and token before
    shown_valid: float = 0.75  # share of valid tokens in the demonstrations; .75 of 3 in 4 is uniform
    n_demos: int = 150  # demonstrations a prompt, for the reference
    n_rollouts: int = 64  # labeled roll-outs a prompt
    n_scarce: int = 16  # of them, in the arms with few
    n_test: int = 256  # fresh roll-outs a prompt
    n_continued: int = 8  # continuations behind every labeled prefix, for the Monte Carlo labels
    width: int = 48  # of both hidden layers
    steps: int = 240  # of Adam, for log-ratios
    sft_steps: int = 40  # of Adam, on the right roll-outs
    value_steps: int = 160  # of Adam, for networks of values
    learning_rate: float = 2e-3  # of Adam
    value_learning_rate: float = 5e-3  # of Adam, for networks of values and the reference
    beta: float = 1.0  # β of the log-ratio


def experiments(seeds: Sequence[int], world: World, *, broken: bool = False) -> list[dict[str, float]]:
    """Train token rewards on outcomes, and ask whether they find the first wrong token of fresh chains."""
    tree, streams = PrefixTree(world.n_prompts, 4, world.length), Streams(seeds)
    valid = valid_tokens(tree, streams, world.n_valid)
    right = valid.all(dim=-1).double()
    shown = torch.where(valid, world.shown_valid / world.n_valid, (1 - world.shown_valid) / (4 - world.n_valid))
    start, rate = tree.policy(streams, width=world.width), world.value_learning_rate
    demos = drawn(shown.log().sum(dim=-1), world.n_demos, streams)
    reference = supervised(tree, start, demos, steps=100, learning_rate=rate)
    with torch.no_grad():
        table = tree.next_token(reference)
    start, reference = start.float(), reference.float()  # from here on no draw depends on rounding
    logps = tree.logps(table)
    index, test = (drawn(logps, n, streams) for n in (world.n_rollouts, world.n_test))
    outcome = of(right, index)
    if broken:
        outcome = outcome.flatten(1).gather(1, streams.randperm(outcome[0].numel())).view_as(outcome)

    losses: dict[str, Callable[[BatchedMLP], Tensor]] = {}
    for suffix, n in {"": world.n_rollouts, "_scarce": world.n_scarce}.items():
        reward = partial(log_ratio, tree.reader(index[..., :n]), of(logps, index[..., :n]), world.beta)
        losses["ce" + suffix] = partial(ce, reward, outcome[..., :n])
        losses["dpo" + suffix] = partial(dpo, reward, outcome[..., :n])
    losses["sft_on_right"] = partial(sft, tree.reader(index), outcome)
    read, read_values, known = tree.reader(test), tree.reader(test, normalized=False), tree.token_logps(table, test)
    tokens = {"log_reference": known, "counts": token_counts(tree, index, outcome, test)}  # (S, 1, X, n, T) rewards
    for arm, loss in losses.items():
        steps = world.sft_steps if arm == "sft_on_right" else world.steps
        policy = trained(reference, loss, steps=steps, learning_rate=world.learning_rate)
        with torch.no_grad():
            tokens[arm] = world.beta * (read(policy) - known)
    levels = dict(tokens)  # whose minimum scores a chain

    chance = torch.logit(outcome.mean(dim=(1, 2, 3)))[:, None, None, None, None]
    continued = streams.rand(*index.shape[2:], world.length, world.n_continued)[:, None]
    labels = {
        "value": outcome[..., None].expand(*index.shape, world.length),
        "monte_carlo": (continued < prefix_values(tree, logps, right, index)[..., None]).double().mean(dim=-1),
    }
    for arm, label in labels.items():
        loss = partial(value_loss, tree.reader(index, normalized=False), label.float())
        network = trained(start, loss, steps=world.value_steps, learning_rate=rate)
        with torch.no_grad():
            levels[arm] = read_values(network).double()
        tokens[arm] = levels[arm].diff(dim=-1, prepend=chance.expand_as(levels[arm][..., :1]))
    tested = torch.stack([of(one, test) for one in valid.unbind(-1)], dim=-1)
    return rows(judged_on(tokens, levels, tested, of(right, test)))


def log_ratio(read: Callable[[BatchedMLP], Tensor], before: Tensor, beta: float, policy: BatchedMLP) -> Tensor:
    """Return (S, M, X, n) rewards r = β log π/π_ref of roll-outs, whose log π_ref is `before`."""
    return beta * (read(policy).sum(dim=-1) - before)


def ce(reward: Callable[[BatchedMLP], Tensor], right: Tensor, policy: BatchedMLP) -> Tensor:
    """Return (S, M) mean cross-entropy of outcomes (S, 1, X, n)."""
    return implicit_ce_loss(reward(policy), right).mean(dim=(-2, -1))


def dpo(reward: Callable[[BatchedMLP], Tensor], right: Tensor, policy: BatchedMLP) -> Tensor:
    """Return (S, M) mean loss of direct preference optimization over all pairs of a right and a wrong roll-out."""
    pairs, r = right[..., :, None] * (1 - right[..., None, :]), reward(policy)
    losses = bt_loss(r[..., :, None].expand_as(pairs), r[..., None, :].expand_as(pairs))
    return (pairs * losses).sum(dim=(-3, -2, -1)) / pairs.sum(dim=(-3, -2, -1)).clamp_min(1)


def sft(read: Callable[[BatchedMLP], Tensor], right: Tensor, policy: BatchedMLP) -> Tensor:
    """Return (S, M) mean negative log-likelihood of the right roll-outs."""
    return -(right * read(policy).sum(dim=-1)).sum(dim=(-2, -1)) / right.sum(dim=(-2, -1)).clamp_min(1)


def value_loss(read: Callable[[BatchedMLP], Tensor], label: Tensor, network: BatchedMLP) -> Tensor:
    """Return (S, M) mean cross-entropy of a label per token (S, 1, X, n, T), hard or soft."""
    return F.binary_cross_entropy_with_logits(read(network), label, reduction="none").mean(dim=(-3, -2, -1))


def valid_tokens(tree: PrefixTree, streams: Streams, n_valid: int) -> Tensor:
    """Draw which tokens are valid, (S, 1, X, N, T): n_valid of each prompt, position and token before."""
    place = streams.rand(tree.n_prompts, tree.length, tree.n_tokens + 1, tree.n_tokens).argsort(dim=-1)
    return (place < n_valid).flatten(2)[:, None, :, tree.bigrams]


def prefix_values(tree: PrefixTree, logps: Tensor, right: Tensor, index: Tensor) -> Tensor:
    """Return the exact chance (S, 1, X, n, T) that the reference continues each prefix of roll-outs to a right chain.

    Responses that share their first t tokens stand next to one another.
    """
    found = []
    for t in range(1, tree.length + 1):
        block = tree.n_tokens ** (tree.length - t)
        shape = (*logps.shape[:-1], -1, block)
        mass, good = (p.view(shape).sum(dim=-1) for p in (logps.exp(), logps.exp() * right))
        found.append((good / mass).gather(-1, index // block))
    return torch.stack(found, dim=-1)


def token_counts(tree: PrefixTree, index: Tensor, outcome: Tensor, test: Tensor) -> Tensor:
    """Return log shares of right roll-outs, by prompt, position, token before and token: (right + .2) / (all + 1)."""
    seen, worth = tree.bigrams[index], outcome[..., None].expand(*outcome.shape, tree.length)
    empty = torch.zeros(*index.shape[:3], int(tree.bigrams.max()) + 1, dtype=outcome.dtype)
    right, every = (empty.scatter_add(-1, seen.flatten(3), w.flatten(3)) for w in (worth, torch.ones_like(worth)))
    share = ((right + 0.2) / (every + 1)).log()
    return share.gather(-1, tree.bigrams[test].flatten(3)).view(*test.shape, tree.length)


def judged_on(
    tokens: dict[str, Tensor], levels: dict[str, Tensor], valid: Tensor, right: Tensor
) -> dict[str, dict[str, list[float]]]:
    """Return AUC of tokens against valid ones, share of first errors found, and best of 16, by arm and seed."""
    first = ~valid & ((~valid).cumsum(dim=-1) == 1)
    asked, wrong, seeds = valid | first, right == 0, range(len(right))
    found: dict[str, dict[str, list[float]]] = {"auc": {}, "found": {}, "best_16": {}}
    for arm, rewards in tokens.items():
        confidence, hit = rewards.sigmoid(), first.gather(-1, rewards.argmin(dim=-1, keepdim=True))[..., 0]
        found["auc"][arm] = [auroc(confidence[s][asked[s]], valid[s][asked[s]].double()) for s in seeds]
        found["found"][arm] = [hit[s][wrong[s]].double().mean().item() for s in seeds]
        found["best_16"][arm] = best_of_n(levels[arm].amin(dim=-1), right, [16]).mean(dim=(1, 2, 3)).tolist()
    return found


figure = partial(
    dots,
    series={"AUC of tokens": "auc/{}", "first error found": "found/{}", "best of 16": "best_16/{}"},
    rows={
        "log_reference": "reference's likelihood",
        "counts": "table of counts",
        "ce": "cross-entropy",
        "dpo": "DPO",
        "ce_scarce": "cross-entropy, 16 roll-outs",
        "dpo_scarce": "DPO, 16 roll-outs",
        "sft_on_right": "fine-tuned on right ones",
        "value": "value network",
        "monte_carlo": "… on Monte Carlo labels",
    },
    label="share",
)
