"""A language model whose responses can all be listed, so that gold, KL and win rates are exact.

Responses have T tokens of V and no end token, so X prompts have X · V^T of them. A policy is a perceptron that reads
the prompt and the prefix. Seeds S and arms M are its leading dimensions; values per response are (S, M or 1, X, N).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from rewardsmith.worlds.batched_mlp import BatchedMLP
from rewardsmith.worlds.streams import Streams
from rewardsmith.worlds.training import adam_steps


@dataclass(frozen=True)
class PrefixTree:
    """All responses to all prompts, and the prefixes that they share.

    n_prompts, n_tokens, length: X, V and T; N = V^T responses.
    n_flags: kinds of instruction beside the prompt, each a one-hot input of the policy; see `policy_table`.

    >>> tree = PrefixTree(n_prompts=1, n_tokens=2, length=2)
    >>> tree.responses.tolist(), tree.prefixes.tolist()
    ([[0, 0], [0, 1], [1, 0], [1, 1]], [[0, 1], [0, 1], [0, 2], [0, 2]])
    """

    n_prompts: int
    n_tokens: int = 4
    length: int = 4
    n_flags: int = 0

    @cached_property
    def responses(self) -> Tensor:
        """(N, T) int64 tokens of each response, in lexicographic order."""
        return torch.cartesian_prod(*[torch.arange(self.n_tokens)] * self.length).view(-1, self.length)

    @cached_property
    def prefixes(self) -> Tensor:
        """(N, T) int64 index of the prefix before each token; the empty prefix is 0, and shorter ones come first."""
        first = torch.tensor([sum(self.n_tokens**k for k in range(t)) for t in range(self.length)])
        place = [torch.zeros(len(self.responses), dtype=torch.int64)]
        for t in range(1, self.length):
            place.append(place[-1] * self.n_tokens + self.responses[:, t - 1])
        return torch.stack(place, dim=1) + first

    @cached_property
    def bigrams(self) -> Tensor:
        """(N, T) int64 index of position, token before (V for none) and token, in a table of T · (V + 1) · V."""
        before = F.pad(self.responses[:, :-1], (1, 0), value=self.n_tokens)
        return (torch.arange(self.length) * (self.n_tokens + 1) + before) * self.n_tokens + self.responses

    @property
    def n_prefixes(self) -> int:
        """K, the prefixes of a prompt."""
        return sum(self.n_tokens**t for t in range(self.length))

    @cached_property
    def _prefix_inputs(self) -> Tensor:
        """(K, T · (V + 1)) one-hot tokens of each prefix by position; the last entry of a position is "none yet"."""
        tokens = torch.full((self.n_prefixes, self.length), self.n_tokens)
        for t in range(self.length):
            for k in range(t):
                tokens[self.prefixes[:, t], k] = self.responses[:, k]
        return F.one_hot(tokens, self.n_tokens + 1).flatten(1)

    def inputs(self, flag: int | None = None, dtype: torch.dtype = torch.float64) -> Tensor:
        """Return (X · K, d) inputs of a policy at every prefix of every prompt, under one instruction or none."""
        prompts = torch.eye(self.n_prompts, dtype=torch.int64).repeat_interleave(self.n_prefixes, dim=0)
        parts = [prompts, self._prefix_inputs.repeat(self.n_prompts, 1)]
        if self.n_flags:
            flags = torch.zeros(len(prompts), self.n_flags, dtype=torch.int64)
            if flag is not None:
                flags[:, flag] = 1
            parts.append(flags)
        return torch.cat(parts, dim=1).to(dtype)

    def policy(self, streams: Streams, *, width: int = 64, n_models: int = 1) -> BatchedMLP:
        """Draw (S, M) perceptrons with two hidden layers, from inputs to V logits."""
        n_inputs = self.n_prompts + self._prefix_inputs.shape[1] + self.n_flags
        return BatchedMLP((n_inputs, width, width, self.n_tokens), lead=(len(streams), n_models), streams=streams)

    def next_token(self, policy: BatchedMLP, flag: int | None = None) -> Tensor:
        """Return (S, M, X, K, V) log-probabilities of the next token at every prefix."""
        x = self.inputs(flag, policy.biases[0].dtype)[None, None].expand(policy.lead[0], 1, -1, -1)
        logits: Tensor = policy(x)
        return logits.log_softmax(dim=-1).view(*policy.lead, self.n_prompts, self.n_prefixes, self.n_tokens)

    def reader(
        self, index: Tensor, flag: int | None = None, *, normalized: bool = True
    ) -> Callable[[BatchedMLP], Tensor]:
        """Return a function of policies that gives (S, M, X, n, T) token log-probabilities of some responses.

        It runs the policy on the prefixes of these responses alone, each once: for training on a small set.

        Args:
            index: (S, M or 1, X, n) int64 responses.
            normalized: whether to subtract the log-sum-exp over tokens; without it networks give values.
        """
        prompts = torch.arange(self.n_prompts)[:, None, None] * self.n_prefixes
        places = (prompts + self.prefixes[index]).flatten(2)  # (S, M or 1, X · n · T) among all X · K
        used = torch.zeros(*places.shape[:2], self.n_prompts * self.n_prefixes, dtype=torch.bool)
        used.scatter_(2, places, True)
        rows = used.long().argsort(dim=2, descending=True, stable=True)[..., : int(used.sum(dim=2).max())]
        cells = (used.cumsum(dim=2) - 1).gather(2, places) * self.n_tokens + self.responses[index].flatten(2)
        inputs = self.inputs(flag)[rows]  # (S, M or 1, R, d)

        def read(policy: BatchedMLP) -> Tensor:
            logits: Tensor = policy(inputs.to(policy.biases[0].dtype))
            flat = (logits.log_softmax(dim=-1) if normalized else logits).flatten(2)
            found = flat.gather(2, cells.expand(*flat.shape[:2], -1))
            return found.view(*flat.shape[:2], *index.shape[2:], self.length)

        return read

    def token_logps(self, next_token: Tensor, index: Tensor | None = None) -> Tensor:
        """Return log π(y_t | x, y_<t) of responses' tokens.

        Args:
            next_token: (S, M, X, K, V).
            index: (S, M or 1, X, n) int64 responses; all N if None.

        Returns:
            (S, M, X, n, T).
        """
        cells = self.prefixes * self.n_tokens + self.responses  # (N, T)
        flat = next_token.flatten(-2)
        if index is None:
            return flat[..., cells]
        picked = cells[index].expand(*flat.shape[:3], -1, -1)
        return flat.gather(-1, picked.flatten(-2)).view(picked.shape)

    def logps(self, next_token: Tensor, index: Tensor | None = None) -> Tensor:
        """Return log π(y|x), (S, M, X, n), as `token_logps` summed over tokens."""
        if index is not None:
            return self.token_logps(next_token, index).sum(dim=-1)
        total: Tensor = next_token[..., :1, :]  # (..., 1, V), then (..., V^t, V) for the prefixes of t tokens
        first = 1
        for t in range(1, self.length):
            here = next_token[..., first : first + self.n_tokens**t, :]
            total = total.flatten(-2)[..., None] + here
            first += self.n_tokens**t
        return total.flatten(-2)


class Pairs(NamedTuple):
    """Labeled pairs, each (S, M or 1, X, n) int64 responses."""

    chosen: Tensor
    rejected: Tensor


def additive_gold(tree: PrefixTree, streams: Streams, *, sd: float = 1.5, shared: float = 0.0) -> Tensor:
    """Draw a gold reward per response that adds up over tokens: position weights plus bigram weights.

    Args:
        sd: its standard deviation over a prompt's responses.
        shared: share w of the variance that all prompts have in common, from 0 to 1.

    Returns:
        (S, 1, X, N, T) gold of each token, of mean 0 over each prompt's responses; sum over the last for the response.
    """
    shape = tree.length, tree.n_tokens + 1, tree.n_tokens  # position, token before (the last is none), token
    private, common = streams.randn(tree.n_prompts, *shape), streams.randn(1, *shape)
    weights = (1 - shared) ** 0.5 * private + shared**0.5 * common  # (S, X, T, V + 1, V)
    gold = weights.flatten(2)[..., tree.bigrams]  # (S, X, N, T)
    gold = gold - gold.mean(dim=2, keepdim=True)
    scaled: Tensor = sd * gold / gold.sum(dim=-1).std(dim=-1, correction=0)[..., None, None]
    return scaled[:, None]


def mean_gold(logps: Tensor, gold: Tensor) -> Tensor:
    """Return E_π[gold], averaged over the prompts: (S, M, X, N) log-probabilities to (S, M)."""
    return (logps.exp() * gold).sum(dim=-1).mean(dim=-1)


def mean_kl(logps: Tensor, ref_logps: Tensor) -> Tensor:
    """Return KL(π ‖ π_ref) in nats, averaged over the prompts: (S, M, X, N) to (S, M)."""
    return (logps.exp() * (logps - ref_logps)).sum(dim=-1).mean(dim=-1)


def drawn(logps: Tensor, n: int, streams: Streams) -> Tensor:
    """Draw n responses per prompt, (S, M, X, n) int64; all arms M share their random numbers."""
    uniform = streams.rand(1, logps.shape[2], n).expand(-1, logps.shape[1], -1, -1)
    found = torch.searchsorted(logps.exp().cumsum(dim=-1), uniform.contiguous(), right=True)
    return found.clamp(max=logps.shape[-1] - 1)  # a sum that rounds to below 1


def of(values: Tensor, index: Tensor) -> Tensor:
    """Return the values (S, M or 1, X, N) of responses (S, M or 1, X, n)."""
    arms = max(values.shape[1], index.shape[1])
    return values.expand(-1, arms, -1, -1).gather(-1, index.expand(-1, arms, -1, -1))


def labeled(gold: Tensor, first: Tensor, second: Tensor, streams: Streams) -> Pairs:
    """Label pairs by Bradley and Terry's model of the gold reward: P(first is chosen) = σ(gold₁ − gold₂).

    Args:
        gold: (S, 1, X, N). first, second: (S, M or 1, X, n) responses.
    """
    wins = streams.rand(*first.shape[1:]) < torch.sigmoid(of(gold, first) - of(gold, second))
    return Pairs(torch.where(wins, first, second), torch.where(wins, second, first))


def trained(
    policy: BatchedMLP,
    loss: Callable[[BatchedMLP], Tensor],
    *,
    steps: int,
    learning_rate: float = 1e-3,
    every: Callable[[int, BatchedMLP], None] | None = None,
) -> BatchedMLP:
    """Train a copy of the policies by full-batch Adam; `loss` returns (S, M), and their sum is minimized.

    every: is called with the number of steps done and the policies, before the first step and after each.
    """
    learner = copy.deepcopy(policy)
    for step in adam_steps(learner.parameters(), steps, learning_rate=learning_rate):
        if every is not None:
            with torch.no_grad():
                every(step, learner)
        torch.autograd.backward(loss(learner).sum())
    if every is not None:
        with torch.no_grad():
            every(steps, learner)
    return learner


def supervised(
    tree: PrefixTree,
    policy: BatchedMLP,
    index: Tensor,
    *,
    steps: int,
    flag: int | None = None,
    learning_rate: float = 1e-3,
) -> BatchedMLP:
    """Train a copy of the policies on the likelihood of responses (S, M or 1, X, n)."""
    read = tree.reader(index, flag)
    return trained(
        policy, lambda learner: -read(learner).sum(-1).mean(dim=(-2, -1)), steps=steps, learning_rate=learning_rate
    )
