"""Outputs of T segments, each true or not and relevant or not, in which certain key segments have to appear."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from rewardsmith.worlds.streams import Streams, sample_index


class Outputs(NamedTuple):
    """Outputs of S seeds: prompt (S, 1, n) and tokens (S, A, n, T), both int64; A is 1 where arms share them."""

    prompt: Tensor
    tokens: Tensor


class Aspects(NamedTuple):
    """What outputs (S, A, n) are worth: fact and relevant (S, A, n, T) of ±1, complete (S, A, n) in [0, 1]."""

    fact: Tensor
    relevant: Tensor
    complete: Tensor


class Worth(NamedTuple):
    """(S, A) exact means over prompts of what policies write; gold is the weighted sum of the other three."""

    gold: Tensor
    fact: Tensor
    relevant: Tensor
    complete: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class SegmentTask:
    """P prompts, outputs of T segments, each one of V tokens.

        gold = 0.5 · mean_t(±fact) + 0.3 · mean_t(±relevant) + 0.3 · (2 · share of key tokens present − 1)

    fact, relevant: (S, P, T, V) ±1 for each token at each place. keys: (S, P, K) tokens that have to appear.
    weights: the three of gold.
    """

    fact: Tensor
    relevant: Tensor
    keys: Tensor
    weights: tuple[float, float, float]

    @classmethod
    def sample(
        cls,
        streams: Streams,
        *,
        n_prompts: int = 20,
        n_segments: int = 8,
        n_tokens: int = 12,
        n_keys: int = 3,
        good_rate: float = 0.4,
        weights: tuple[float, float, float] = (0.5, 0.3, 0.3),
    ) -> SegmentTask:
        """A task per seed."""
        shape = (n_prompts, n_segments, n_tokens)
        fact, relevant = ((streams.rand(*shape) < good_rate).to(streams.dtype) * 2 - 1 for _ in range(2))
        keys = streams.rand(n_prompts, n_tokens).argsort(dim=-1)[..., :n_keys]
        return cls(fact, relevant, keys, weights)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(P, T, V)."""
        return self.fact.shape[1], self.fact.shape[2], self.fact.shape[3]

    def aspects(self, outputs: Outputs) -> Aspects:
        """What outputs are worth."""
        fact, relevant = (self.look_up(table, outputs) for table in (self.fact, self.relevant))
        keys = self.keys[torch.arange(len(self.keys))[:, None, None], outputs.prompt]  # (S, 1, n, K)
        present = (outputs.tokens[..., None] == keys[..., None, :]).any(dim=-2)  # (S, A, n, K)
        return Aspects(fact, relevant, present.to(self.fact.dtype).mean(dim=-1))

    def gold(self, aspects: Aspects) -> Tensor:
        """(S, A, n) true value."""
        w_fact, w_relevant, w_complete = self.weights
        return (
            w_fact * aspects.fact.mean(-1)
            + w_relevant * aspects.relevant.mean(-1)
            + w_complete * (2 * aspects.complete - 1)
        )

    def look_up(self, table: Tensor, outputs: Outputs) -> Tensor:
        """(S, A, n, T) entries of a (S, P, T, V) table at each segment of the outputs."""
        seed = torch.arange(len(table))[:, None, None, None]
        place = torch.arange(self.shape[1])
        return table[seed, outputs.prompt[..., None], place, outputs.tokens]

    def uniform(self, n: int, streams: Streams) -> Outputs:
        """n outputs of the untrained policy, the prompts in turn."""
        n_prompts, n_segments, n_tokens = self.shape
        prompt = (torch.arange(n) % n_prompts).expand(len(streams), 1, -1)
        return Outputs(prompt, streams.randint(n_tokens, n, n_segments)[:, None])

    def worth(self, logits: Tensor) -> Worth:
        """(S, A) exact means of what policies with logits (S, A, P, T, V) write."""
        policy = logits.softmax(dim=-1)
        fact, relevant = ((policy * table[:, None]).sum(-1).mean(dim=(-1, -2)) for table in (self.fact, self.relevant))
        keys = self.keys[:, None, :, None, :].expand(*policy.shape[:-1], -1)
        missing = (1 - policy.gather(-1, keys)).prod(dim=-2)  # (S, A, P, K) segments are drawn independently
        complete = (1 - missing).mean(dim=(-1, -2))
        w_fact, w_relevant, w_complete = self.weights
        gold = w_fact * fact + w_relevant * relevant + w_complete * (2 * complete - 1)
        return Worth(gold, fact, relevant, complete)


Credit = Callable[[Outputs, Streams], Tensor]
"""(S, A, n, T) what each segment of the outputs is credited with, before the KL term and the baseline."""


def train_segments(
    task: SegmentTask,
    rewards: Credit,
    *,
    streams: Streams,
    n_arms: int,
    returns: Callable[[Tensor], Tensor],
    updates: int,
    snapshots: tuple[int, ...],
    batch_size: int = 64,
    beta: float = 0.02,
    learning_rate: float = 0.3,
) -> dict[int, Worth]:
    """REINFORCE from uniform policies with returns to go, a baseline per place, and Adam; arms share their draws.

        A_t = G_t − mean over the batch of G_t,   G_t = Σ_{u≥t} ( r_u − β log π(a_u)/π_ref(a_u) )

    Args:
        rewards: what arms (S, A, n, T) are paid.
        returns: (B, T) rewards to (B, T) returns to go.
        snapshots: after how many updates to measure.

    Returns:
        snapshot → what the policies then write is worth.
    """
    n_prompts, n_segments, n_tokens = task.shape
    logits = torch.zeros(len(streams), n_arms, n_prompts, n_segments, n_tokens, dtype=streams.dtype)
    optimizer = torch.optim.Adam([logits], lr=learning_rate)
    log_reference = -torch.tensor(float(n_tokens), dtype=streams.dtype).log()
    seed, arm = torch.arange(len(streams))[:, None, None], torch.arange(n_arms)[:, None]
    found: dict[int, Worth] = {}
    for update in range(1, updates + 1):
        prompt = streams.randint(n_prompts, 1, batch_size)
        log_policy = logits.log_softmax(dim=-1)[seed, arm, prompt]  # (S, A, n, T, V)
        policy = log_policy.exp()
        tokens = sample_index(policy, streams.rand(1, batch_size, n_segments).expand(policy.shape[:-1]))
        outputs = Outputs(prompt, tokens)
        log_ratio = log_policy.gather(-1, tokens[..., None]).squeeze(-1) - log_reference
        paid = rewards(outputs, streams) - beta * log_ratio
        to_go = returns(paid.flatten(0, 2)).view_as(paid)
        advantage = to_go - to_go.mean(dim=2, keepdim=True)
        ascent = advantage[..., None] * (F.one_hot(tokens, n_tokens) - policy) / batch_size
        logits.grad = torch.zeros_like(logits).index_put_(
            (seed.expand(-1, n_arms, batch_size), arm.expand(len(streams), n_arms, batch_size),
             prompt.expand(-1, n_arms, -1)), -ascent, accumulate=True,
        )  # fmt: skip
        optimizer.step()
        if update in snapshots:
            found[update] = task.worth(logits)
    return found
