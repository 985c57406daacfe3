"""Responses of a few segments whose later ones matter less, and pairs drawn chain-wise, by reuse or from trees."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from rewardsmith.data import leaf_paths, sample_tree_pairs
from rewardsmith.worlds.batched_mlp import BatchedMLP
from rewardsmith.worlds.preference_world import Pairs
from rewardsmith.worlds.streams import Streams

Shape = Literal["chain", "reuse", "tree"]
_REFERENCE = 4096  # draws on which gold is standardized


class BestOf(NamedTuple):
    """(S, M) gold of what each model picks: of independent responses in their standard deviations above the mean, and
    among responses with one prefix in those of that prefix."""

    unrelated: Tensor
    prefix: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class SegmentedResponses:
    """A response is L segments in R^d, drawn from N(0, I), and gold is a sum of soft steps in each.

        gold = Σ_l λ_l Σ_i tanh(W_l s_l)_i / std        W ~ N(0, scale²/d)

    directions: (S, L, h, d) W. importance: (L,) λ. std: (S,) that of the sum.
    """

    directions: Tensor
    importance: Tensor
    std: Tensor

    @classmethod
    def sample(
        cls,
        streams: Streams,
        *,
        importance: Sequence[float] = (1.0, 0.3, 0.1),
        d: int = 6,
        n_units: int = 8,
        scale: float = 2.0,
    ) -> SegmentedResponses:
        """A world per seed: its own W."""
        weights = torch.tensor(list(importance), dtype=streams.dtype)
        directions = streams.randn(len(weights), n_units, d) * (scale / math.sqrt(d))
        unit = cls(directions, weights, torch.ones(len(streams), dtype=streams.dtype))
        drawn = streams.randn(_REFERENCE, len(weights), d)
        return cls(directions, weights, unit.gold(drawn).std(dim=-1))

    @property
    def shape(self) -> tuple[int, int]:
        """(L, d)."""
        return self.directions.shape[1], self.directions.shape[-1]

    def gold(self, responses: Tensor) -> Tensor:
        """(S, n) true value of responses (S, n, L, d)."""
        steps = torch.einsum("snld,slhd->snlh", responses, self.directions).tanh().sum(dim=-1)
        return (steps @ self.importance) / self.std[:, None]

    def pairs(self, n: int, shape: Shape, *, streams: Streams, seeds: Sequence[int], flip: float = 0.0) -> Pairs:
        """n labeled pairs per seed, the label by gold but for a share of `flip`.

        chain: every response in one pair. reuse: eight independent ones per prompt, and eight pairs among them. tree:
        eight leaves of a binary tree of three levels, and eight pairs among them, by `data.sample_tree_pairs`.

        Args:
            seeds: the streams' seeds, from which the pairs of leaves are drawn.
        """
        n_segments, d = self.shape
        if shape == "chain":
            x = streams.randn(n, 2, n_segments, d)
        else:
            n_groups = -(-n // 8)
            leaves = self._leaves(n_groups, shape, streams)  # (S, groups, 8, L, d)
            picks = torch.tensor([_picks(seed, n_groups, n_segments) for seed in seeds])  # (S, groups, 8, 2)
            seed, group = torch.arange(len(streams))[:, None, None, None], torch.arange(n_groups)[:, None, None]
            x = leaves[seed, group, picks].flatten(1, 2)[:, :n]  # (S, n, 2, L, d)
        gold = self.gold(x.flatten(1, 2)).view(len(streams), n, 2)
        flipped = streams.rand(n) < flip
        first = (gold[..., 0] > gold[..., 1]) ^ flipped
        order = torch.where(first[..., None], torch.tensor([0, 1]), torch.tensor([1, 0]))
        flat = x.flatten(-2).gather(2, order[..., None].expand(-1, -1, -1, n_segments * d))
        gold = gold.gather(2, order)
        return Pairs(flat[:, :, 0], flat[:, :, 1], gold[..., 0], gold[..., 1], flipped)

    def _leaves(self, n_groups: int, shape: Shape, streams: Streams) -> Tensor:
        """(S, groups, 2^L, L, d) responses of one prompt; of a tree, those under one node share its segment."""
        n_segments, d = self.shape
        paths = leaf_paths(depth=n_segments)
        if shape == "reuse":
            return streams.randn(n_groups, len(paths), n_segments, d)
        levels = []
        for level in range(n_segments):
            nodes = streams.randn(n_groups, 2 ** (level + 1), d)
            levels.append(nodes.repeat_interleave(2 ** (n_segments - level - 1), dim=2))
        return torch.stack(levels, dim=3)

    def trees(self, n: int, *, streams: Streams) -> Tensor:
        """(S, n, 2^L, L, d) the leaves of n binary trees, in the order of `data.leaf_paths`."""
        return self._leaves(n, "tree", streams)

    @torch.no_grad()
    def best_of(
        self, models: BatchedMLP, *, streams: Streams, n_prompts: int = 200, n: int = 64, n_prefix: int = 16
    ) -> BestOf:
        """What best-of-n by each model's score is worth in gold, on responses drawn anew."""
        n_segments, d = self.shape
        wide = self._picked(models, streams.randn(n_prompts, n, n_segments, d))
        shared = streams.randn(n_prompts, 1, n_segments - 1, d).expand(-1, -1, n_prefix, -1, -1)
        last = streams.randn(n_prompts, n_prefix, 1, d)
        picked, mean, std = self._picked(models, torch.cat([shared, last], dim=3))
        return BestOf(wide[0].mean(-1), ((picked - mean) / std).mean(-1))

    def _picked(self, models: BatchedMLP, candidates: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(S, M, P) gold of the picks, and (S, 1, P) mean and spread of gold among a prompt's candidates."""
        n_seeds, n_prompts, n = candidates.shape[:3]
        gold = self.gold(candidates.flatten(1, 2)).view(n_seeds, 1, n_prompts, n)
        scores = models(candidates.flatten(1, 2).flatten(-2)[:, None]).view(n_seeds, -1, n_prompts, n)
        picks = scores.argmax(dim=-1, keepdim=True)
        picked = gold.expand(*scores.shape).gather(-1, picks).squeeze(-1)
        return picked, gold.mean(dim=-1), gold.std(dim=-1)


def _picks(seed: int, n_groups: int, depth: int) -> list[list[tuple[int, int]]]:
    generator, paths = random.Random(seed), leaf_paths(depth=depth)
    return [
        [(pair.first, pair.second) for pair in sample_tree_pairs(paths, len(paths), generator=generator)]
        for _ in range(n_groups)
    ]
